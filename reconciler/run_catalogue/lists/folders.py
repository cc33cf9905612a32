"""Files of events in a folder, and in all folders below it."""

from __future__ import annotations

import os
from pathlib import Path

from renderer.event_data.sroot_parts import read_part


def is_event_file(name: str) -> bool:
    """Whether a file of that name holds events: a ROOT file, or raw data in the sequential format of the DAQ."""
    return name.endswith(".root") or read_part(name) is not None


def list_event_files(folder: Path) -> list[Path]:
    """The paths of all files of events below a folder, sorted; folders behind symbolic links too, each folder once.

    Raises:
        OSError: a folder below cannot be listed, so that files in it would be missing without a word.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        linked: list[str] = []
        for start in waiting:
            for here, folders, names in os.walk(start, onerror=_raise):
                status = os.stat(here)
                if (status.st_dev, status.st_ino) in seen:
                    folders.clear()
                    continue
                seen.add((status.st_dev, status.st_ino))
                linked += [path for name in folders if os.path.islink(path := os.path.join(here, name))]
                found += [Path(here, name) for name in names if is_event_file(name)]
        waiting = linked  # what has a place of its own keeps it
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
