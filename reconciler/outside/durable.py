"""Makes sure that data are on disk, also after a crash of the machine."""

from __future__ import annotations

import os


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a file, or the names in a folder, are on disk.

    Raises:
        OSError: there is no such file, or its disk is broken.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
