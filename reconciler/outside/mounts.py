"""Storages that may be mounted: before the file system is mounted, its folder exists and is empty."""

from __future__ import annotations

import os

MADE_BY_SYSTEMS = frozenset(("lost+found", ".snapshot", ".snapshots", ".Trash-0"))
"""Names that a file system makes itself, also one to which nobody wrote."""

MARKER = ".b2prod-place.json"
"""The file by which b2prod marks a storage: it says which place this is, and counts as no data."""


def holds_anything(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder holds something that a person or a program put there.

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
