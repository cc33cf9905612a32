"""What lies in a folder that a file system may be mounted at: before it is, the folder is there and holds nothing."""

from __future__ import annotations

import os

MADE_BY_SYSTEMS = frozenset(("lost+found", ".snapshot", ".snapshots", ".Trash-0"))
"""What a file system has of itself, also one that nobody wrote to, or that was mounted in place of another."""


def holds_anything(folder: str | os.PathLike[str]) -> bool:
    """Whether something lies there that somebody put there.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    with os.scandir(folder) as entries:
        return any(entry.name not in MADE_BY_SYSTEMS for entry in entries)
