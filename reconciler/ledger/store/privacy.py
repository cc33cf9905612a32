"""Who may look into the state: its owner alone, since nonces, paths and addresses are in it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from reconciler.ledger.store.state import State

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_state(state: State) -> None:
    """Makes the state folder, for its owner alone, and likewise the ledger's file, where it is one.

    A folder that has a ledger, or nothing, is closed; one that has other things besides is somebody's for more, and stays
    as it is: of it, what is ours is closed.

    Raises:
        OSError: it cannot be made.
    """
    folder = state.folder
    try:
        os.makedirs(folder.parent, exist_ok=True)
        os.mkdir(folder, FOLDER_MODE)
        os.chmod(folder, FOLDER_MODE)  # whatever the umask left
    except FileExistsError:
        if not folder.is_dir():
            raise
        if is_open(folder) and (state.database.exists() or not os.listdir(folder)):
            _close(folder, FOLDER_MODE)
    for inner in (state.attempts, state.batches):
        if is_open(inner):
            _close(inner, FOLDER_MODE)
    if state.server is not None:
        return
    if state.database.is_symlink() and not state.database.exists():
        raise OSError(errno.ELOOP, "it is a symbolic link to nothing", str(state.database))
    with contextlib.suppress(FileExistsError):
        # SQLite would make it as the umask says, and gives what lies beside it the same mode
        os.close(os.open(state.database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = state.database.with_name(state.database.name + suffix)
        if is_open(file):
            _close(file, FILE_MODE)


def is_open(path: Path) -> bool:
    """Whether others than its owner may do anything with a file or folder; not where there is none."""
    try:
        return bool(os.stat(path).st_mode & _OTHERS)
    except OSError:
        return False


def _close(path: Path, mode: int) -> None:
    with contextlib.suppress(OSError):  # it is another's, who closes it, or means it; `doctor` tells
        if not os.stat(path).st_mode & stat.S_ISVTX:
            os.chmod(path, mode)
