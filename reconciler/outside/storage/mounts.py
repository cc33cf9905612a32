"""Checks storages that may be mounted: as long as a file system is not mounted, its folder exists and is empty."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from reconciler.outside.errors import SourceUnavailable

MADE_BY_SYSTEMS = frozenset(("lost+found", ".snapshot", ".snapshots", ".Trash-0"))
"""Names that a file system makes itself, also if nobody ever wrote to it."""

MARKER = ".b2prod-place.json"
"""The file with which b2prod marks a storage: it names the place, and does not count as data."""


def holds_anything(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder holds something that a person or a program put there.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    with os.scandir(folder) as entries:
        return any(entry.name not in MADE_BY_SYSTEMS and entry.name != MARKER for entry in entries)


def find_trouble(storage: str) -> str | None:
    """What is wrong with a storage that should hold data, as words that follow its name; None if it holds something."""
    try:
        return None if holds_anything(storage) else "is empty, as if it were not mounted"
    except OSError as error:
        return f"is not there: {error.strerror}"


def list_files(storage: str, leaves_out: Callable[[str], bool]) -> Iterator[str]:
    """The paths of all files below a storage, in order; none if it does not exist. Links are not followed.

    A folder is left out if `leaves_out` is true for its name.

    Raises:
        SourceUnavailable: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise SourceUnavailable(f"{error.filename} cannot be read: {error.strerror}")

    if not os.path.lexists(storage):
        return
    for folder, folders, names in os.walk(storage, onerror=refuse):
        folders[:] = sorted(name for name in folders if not leaves_out(name))
        yield from (os.path.join(folder, name) for name in sorted(names))
