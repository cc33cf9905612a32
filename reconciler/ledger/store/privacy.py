"""Only the owner may read the state, because it holds nonces, paths and addresses."""

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
    """Makes the state folder, and the file of the ledger if it is a file. Only the owner may use them.

    A folder with a ledger, or an empty one, is closed to others. A folder with other content stays as it is;
    only our files and folders in it are closed.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = state.folder
    try:
        os.makedirs(folder.parent, exist_ok=True)
        os.mkdir(folder, FOLDER_MODE)
        os.chmod(folder, FOLDER_MODE)  # the umask may have removed bits
    except FileExistsError:
        if not folder.is_dir():
            raise
        if state.database.exists() or not os.listdir(folder):
            _close(folder, FOLDER_MODE)
    for inner in (state.attempts, state.batches, state.editions, state.kept):
        _close(inner, FOLDER_MODE)
    if state.server is not None:
        return
    if state.database.is_symlink() and not state.database.exists():
        raise OSError(errno.ELOOP, "it is a symbolic link to nothing", str(state.database))
    with contextlib.suppress(FileExistsError):
        # SQLite would use the umask; its files beside this one get the same mode as this one
        os.close(os.open(state.database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
    for suffix in ("", "-wal", "-shm", "-journal"):
        _close(state.database.with_name(state.database.name + suffix), FILE_MODE)


def is_open(path: Path) -> bool:
    """Whether others than the owner may use a file or folder; False if it does not exist."""
    try:
        return bool(os.stat(path).st_mode & _OTHERS)
    except OSError:
        return False


def _close(path: Path, mode: int) -> None:
    """Closes a path to others. Paths of other users stay as they are, and `doctor` reports them."""
    with contextlib.suppress(OSError):
        if is_open(path) and not os.stat(path).st_mode & stat.S_ISVTX:
            os.chmod(path, mode)
