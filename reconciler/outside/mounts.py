"""What lies in a folder that a file system may be mounted at: before it is, the folder is there and holds nothing."""

from __future__ import annotations

import os

MADE_BY_SYSTEMS = frozenset(("lost+found", ".snapshot", ".snapshots", ".Trash-0"))
"""What a file system has of itself, also one that nobody wrote to, or that was mounted in place of another."""

MARKER = ".b2prod-place.json"
"""What a storage has of b2prod itself: it says which place this is, and is not data."""


def holds_anything(folder: str | os.PathLike[str]) -> bool:
    """Whether something lies there that somebody put there.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    with os.scandir(folder) as entries:
        return any(entry.name not in MADE_BY_SYSTEMS and entry.name != MARKER for entry in entries)


def find_trouble(storage: str) -> str | None:
    """What is wrong with a storage in which something should lie, as words that follow its name; None if nothing is."""
    try:
        return None if holds_anything(storage) else "is empty, as if it were not mounted"
    except OSError as error:
        return f"is not there: {error.strerror}"
