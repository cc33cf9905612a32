"""Publishing: verified files go to their final places, never over another file, and survive a crash half-way."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from reconciler.ledger.database import SourceUnavailable
from reconciler.orders import Move
from reconciler.workspace import Workspace, digest_content

CLOSED = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT)
)
"""What a file system says that takes nothing at all now."""


class PublishingRefused(Exception):
    """A final place holds another file, or the verified file is gone: nothing was overwritten."""


class StorageClosed(SourceUnavailable):
    """A storage takes nothing now, of whichever unit."""


def check_storage(storage: str) -> None:
    """Ensures that a storage, in which something is, is there: what is to be mounted is an empty folder before it is.

    Raises:
        StorageClosed: it is not.
    """
    try:
        with os.scandir(storage) as entries:
            if next(entries, None) is None:
                raise StorageClosed(f"the storage {storage} is empty, as if it were not mounted")
    except OSError as error:
        raise StorageClosed(f"the storage {storage} is not there: {error.strerror}") from error


def publish(moves: Iterable[Move], workspace: Workspace) -> None:
    """Puts every file at its final place; what an interrupted run has put there already is accepted if it is the same.

    Raises:
        PublishingRefused: nothing was overwritten; the message names the file.
        StorageClosed: the storage takes nothing now; the next turn goes on from here.
        SourceUnavailable: this place cannot be written now; the next turn tries it again.
    """
    folders: dict[Path, str] = {}
    for move in moves:
        source = workspace.path(move.attempt) / move.path
        folder = Path(move.storage, move.folder)
        final = folder / move.path
        try:
            _make_folders(folder)
            if final.is_symlink() or final.exists():
                if not _is_same(final, move):
                    raise PublishingRefused(f"{final} exists and is another file; it was left as it is")
            else:
                _place(source, final, folder / f".{move.path}.{move.attempt}")
        except FileNotFoundError:
            raise PublishingRefused(f"{source} was verified, and is gone before it was published") from None
        except OSError as error:  # also where the file came just now: the next turn looks at it
            raise _judge(error, final, move.storage) from error
        folders[folder] = move.storage
    for folder, storage in folders.items():
        try:
            _sync(folder)
        except OSError as error:
            raise _judge(error, folder, storage) from error


def _judge(error: OSError, place: Path, storage: str) -> SourceUnavailable:
    """Whether it is the storage that takes nothing, or only this place in it."""
    closed = error.errno in CLOSED or not os.path.isdir(storage) or not os.access(storage, os.W_OK | os.X_OK)
    kind = StorageClosed if closed else SourceUnavailable
    return kind(f"{place} cannot be written now: {error.strerror}")


def _is_same(final: Path, move: Move) -> bool:
    """Whether the file itself, and not what a link points to, is the one that is to be there."""
    found = final.lstat()
    return (
        stat.S_ISREG(found.st_mode) and found.st_size == move.size and digest_content(final) == move.checksum
    )


def _place(source: Path, final: Path, beside: Path) -> None:
    """Links `final` to the file: a hard link is the one form of rename that fails where a file exists.

    Where the storage is another file system, the file is first copied to `beside`, next to its final place.
    """
    _sync(source)
    try:
        os.link(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        try:
            shutil.copyfile(source, beside)
            _sync(beside)
            os.link(beside, final)
        finally:
            beside.unlink(missing_ok=True)


def _make_folders(folder: Path) -> None:
    """Makes a folder and its parents, each on disk before something is put into it."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        _sync(parent.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
