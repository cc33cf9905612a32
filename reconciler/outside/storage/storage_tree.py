"""The files of one storage, by descriptors: looked at, renamed and removed without following a link on the way.

A path is relative to the storage, and each of its folders is opened in the one before. So nobody who swaps a folder for a link
leads outside, and another file system that is mounted inside is noticed. An opened folder is used again until `forget`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from reconciler.outside.errors import SourceUnavailable

RENAME_NOREPLACE = 1
_UNABLE = frozenset((errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP))
_LIBC = ctypes.CDLL(None, use_errno=True)
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OddFile(Exception):
    """What is at a path is not what may be touched. The message says what it is."""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What is at a path: its inode, size in bytes, owner, number of names, and whether it is a plain file of this storage."""

    inode: int
    size: int
    owner: int
    names: int
    plain: bool


class StorageTree:
    """A storage whose files may be touched. It is closed by `close`, or as a context manager."""

    def __init__(self, root: str) -> None:
        """Opens the storage.

        Raises:
            SourceUnavailable: it cannot be opened.
        """
        self.root = root
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceUnavailable(f"the storage {root} cannot be opened: {error.strerror}") from error
        self._device = os.fstat(self._root).st_dev
        self._folders: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the storage."""
        self.forget()
        os.close(self._root)

    def forget(self) -> None:
        """Closes the folders that were opened: the next path is looked up anew, from the storage on."""
        for opened in self._folders.values():
            os.close(opened)
        self._folders.clear()

    def look(self, path: str) -> SeenFile | None:
        """What is at a path; None if nothing is there, as its folder says. `find_listed` asks in another way.

        Raises:
            OddFile: a folder on the way is a link, no folder, or on another file system.
            SourceUnavailable: it cannot be told now.
        """
        with self._judging(path):
            try:
                with self._opened(path) as (folder, name):
                    found = self.stat(name, folder)
            except FileNotFoundError:
                return None
        plain = stat.S_ISREG(found.st_mode) and found.st_dev == self._device
        return SeenFile(found.st_ino, found.st_size, found.st_uid, found.st_nlink, plain)

    def look_at_own(self, path: str, size: int | None) -> SeenFile | None:
        """As `look`, of a file that may be renamed or removed: plain, ours, of this size if it is known, without another name.

        Raises:
            OddFile: it is something else.
            SourceUnavailable: it cannot be told now.
        """
        seen = self.look(path)
        if seen is None:
            return None
        where = self._tell(path)
        if not seen.plain:
            raise OddFile(f"{where} is a link, a folder, or on another file system")
        if seen.owner != os.geteuid():
            raise OddFile(f"{where} belongs to another user")
        if seen.names > 1:
            raise OddFile(f"{where} has {seen.names} names (hard links): somebody else may use it")
        if size is not None and seen.size != size:
            raise OddFile(f"{where} has {seen.size:,} bytes, and {size:,} were published")
        return seen

    def find_listed(self, paths: Iterable[str]) -> set[str]:
        """Those of some paths that the listing of their folder has; each folder is listed once.

        A storage that says both that a file is not there and that it is listed proves no absence.

        Raises:
            OddFile: a folder on the way is a link, no folder, or on another file system.
            SourceUnavailable: it cannot be told now.
        """
        folders: dict[str, set[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, set()).add(name)
        found: set[str] = set()
        for folder, names in folders.items():
            self.forget()  # there may be more folders than a process may have open
            with self._judging(folder):
                found.update(f"{folder}/{name}".lstrip("/") for name in names & set(self._list(folder)))
        return found

    def _list(self, folder: str) -> list[str]:
        """What a folder lists; nothing if it is not there, by what the folder above it lists."""
        try:
            with self._opened(f"{folder}/.".lstrip("/")) as (opened, _):
                return self.list_names(opened)
        except FileNotFoundError:
            above, _, name = folder.rpartition("/")
            if name in self._list(above):
                told = "is listed, and cannot be opened: the storage answers oddly"
                raise OddFile(f"{self._tell(folder)} {told}") from None
            return []

    def rename(self, source: str, target: str, seen: SeenFile) -> None:
        """Renames the file that was `seen`, never over another one; folders of the target are made.

        Raises:
            OddFile: another file was there in between, or the target exists; the source is as it was.
            SourceUnavailable: it cannot be done now.
        """
        with self._judging(source), self._opened(source) as (here, name):
            if self._find_folder(target) is None:
                self._make_folders(target)
            with self._opened(target) as (there, new):
                try:
                    _rename(here, name, there, new)
                except FileExistsError:
                    raise OddFile(f"{self._tell(target)} exists already") from None
                except FileNotFoundError:
                    raise OddFile(f"{self._tell(source)} went away") from None
                if os.stat(new, dir_fd=there, follow_symlinks=False).st_ino != seen.inode:
                    _rename(there, new, here, name)
                    raise OddFile(f"{self._tell(source)} was exchanged in between")

    def remove(self, path: str, seen: SeenFile) -> None:
        """Removes the file that was `seen`.

        Raises:
            OddFile: another file is there now.
            SourceUnavailable: it cannot be done now.
        """
        with self._judging(path), self._opened(path) as (folder, name):
            try:
                if self.stat(name, folder).st_ino != seen.inode:
                    raise OddFile(f"{self._tell(path)} was exchanged in between")
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                raise OddFile(f"{self._tell(path)} went away") from None

    def make_folders(self, path: str) -> None:
        """Makes the folders of a path, as far as they are not there.

        Raises:
            OddFile: a folder on the way is a link, no folder, or on another file system.
            SourceUnavailable: it cannot be done now.
        """
        with self._judging(path):
            self._make_folders(path)

    def sync(self, folder: str) -> None:
        """Brings the entries of a folder to disk; a folder that is not there has none.

        Raises:
            SourceUnavailable: it cannot be done now.
        """
        self.forget()  # as in `find_listed`
        with (
            self._judging(folder),
            contextlib.suppress(FileNotFoundError),
            self._opened(f"{folder}/.") as (opened, _),
        ):
            os.fsync(opened)

    def remove_empty(self, folder: str) -> None:
        """Removes a folder and those above it, as far as they are empty."""
        self.forget()
        parts = folder.split("/")
        for length in range(len(parts), 0, -1):
            try:
                with self._opened("/".join(parts[:length])) as (above, name):
                    os.rmdir(name, dir_fd=above)
            except (OSError, OddFile):
                return

    def stat(self, name: str, folder: int) -> os.stat_result:
        """What a folder says of a name."""
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def list_names(self, folder: int) -> list[str]:
        """The names that a folder lists."""
        return os.listdir(folder)

    def _make_folders(self, path: str) -> None:
        parts = path.split("/")[:-1]
        for length in range(1, len(parts) + 1):
            inner = "/".join(parts[:length])
            if self._find_folder(inner + "/.") is None:
                with self._opened(inner) as (above, name), contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=above)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, str]]:
        """The descriptor of the last folder of a path, and the name in it, which is `.` for the folder itself."""
        *folders, name = path.split("/")
        if not name or path.startswith("/") or ".." in (*folders, name) or "" in folders:
            raise OddFile(f"{path!r} is not a path below the storage {self.root}")
        key = "/".join(folders)
        if key not in self._folders:
            self._folders[key] = self._open_folder(folders, path)
        yield self._folders[key], name

    def _open_folder(self, folders: Sequence[str], path: str) -> int:
        opened = os.dup(self._root)
        try:
            for folder in folders:
                inner = self._open_inner(opened, folder, path)
                os.close(opened)
                opened = inner
        except BaseException:
            os.close(opened)
            raise
        return opened

    def _find_folder(self, path: str) -> int | None:
        """The descriptor of the last folder of a path; None if it is not there."""
        try:
            with self._opened(path) as (folder, _):
                return folder
        except FileNotFoundError:
            return None

    def _open_inner(self, opened: int, folder: str, path: str) -> int:
        try:
            inner = os.open(folder, _OPEN, dir_fd=opened)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise OddFile(f"{folder} of {self._tell(path)} is a link, or no folder") from None
        if os.fstat(inner).st_dev != self._device:
            os.close(inner)
            raise OddFile(f"{folder} of {self._tell(path)} is on another file system")
        return inner

    def _tell(self, path: str) -> str:
        return os.path.join(self.root, path)

    @contextlib.contextmanager
    def _judging(self, path: str) -> Iterator[None]:
        """Turns an error of the file system into `SourceUnavailable`, but not that a file is not there."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SourceUnavailable(f"{self._tell(path)} cannot be reached now: {error.strerror}") from error


def _rename(here: int, name: str, there: int, new: str) -> None:
    """Renames a file, never over another one; by a hard link where the file system has no such rename."""
    if _LIBC.renameat2(here, os.fsencode(name), there, os.fsencode(new), RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number not in _UNABLE:
        raise OSError(number, os.strerror(number), name)
    os.link(name, new, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
    os.unlink(name, dir_fd=here)
