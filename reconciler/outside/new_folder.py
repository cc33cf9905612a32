"""Writes a folder completely or not at all, and never over something that is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from reconciler.outside.durable import sync


def place_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Makes the folder `target` with the plain files that `fill` writes into the folder that it is given.

    An empty folder may be there. After a crash at most a hidden folder beside it remains, whose name ends with `.part`.

    Raises:
        FileExistsError: something is there.
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f".{target.name}.{os.getpid()}.part"
    shutil.rmtree(beside, ignore_errors=True)  # of a process that had this number and died
    beside.mkdir()
    try:
        fill(beside)
        for name in sorted(os.listdir(beside)):
            sync(beside / name)
        sync(beside)
        try:
            os.rename(beside, target)  # of folders it replaces only an empty one
        except OSError as error:
            if os.path.lexists(target):
                raise FileExistsError(error.errno, "something is there", str(target)) from error
            raise
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync(target.parent)
