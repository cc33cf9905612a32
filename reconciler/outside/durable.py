"""What is on disk also after a crash of the machine."""

from __future__ import annotations

import os


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a file, or the names in a folder, are on disk.

    Raises:
        OSError: it is not there, or its disk is broken.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
