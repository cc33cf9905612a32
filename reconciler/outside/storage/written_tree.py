"""Writes files, folders and pointers below one folder, by descriptors: never through a link, and never over what is not ours."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from io import FileIO

from reconciler.outside.checksums import digest_stream
from reconciler.outside.plain_files import create_plain
from reconciler.outside.storage.storage_tree import OddFile, StorageTree

_BLOCK = 1 << 20
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderBusy(Exception):
    """Another process writes there at this moment."""


class WrittenTree(StorageTree):
    """A folder below which we write. What is found on the way must belong to this user."""

    def make_folder(self, path: str) -> None:
        """Makes a folder and those above it, as far as they are missing.

        Raises:
            OddFile: something else is there, or a folder of another user.
            SourceUnavailable: it cannot be done now.
        """
        with self._judging(path):
            self._make_folders(f"{path}/.")
            parts = path.split("/")
            for length in range(1, len(parts) + 1):
                with self._opened(f"{'/'.join(parts[:length])}/.") as (opened, _):
                    if os.fstat(opened).st_uid != os.geteuid():
                        raise OddFile(f"{self._tell('/'.join(parts[:length]))} belongs to another user")

    @contextlib.contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Only one process at a time is inside, for a folder; the lock ends with the process.

        Raises:
            FolderBusy: another one is inside.
        """
        with self._judging(folder), self._opened(f"{folder}/.") as (opened, _):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderBusy(f"another process writes to {self._tell(folder)} at this moment") from None
            yield

    def is_folder(self, path: str) -> bool:
        """Whether a folder of ours is there; False if nothing is.

        Raises:
            OddFile: something else is there.
            SourceUnavailable: it cannot be told now.
        """
        with self._judging(path):
            try:
                with self._opened(path) as (above, name):
                    found = self.stat(name, above)
            except FileNotFoundError:
                return False
        if not stat.S_ISDIR(found.st_mode):
            raise OddFile(f"{self._tell(path)} is a link, or no folder")
        if found.st_uid != os.geteuid():
            raise OddFile(f"{self._tell(path)} belongs to another user")
        return True

    def list_files(self, folder: str) -> dict[str, int]:
        """The files below a folder, by path below it, with their sizes; folders that are not there have none.

        Raises:
            OddFile: there is a link, a file of another user, or what is neither file nor folder.
            SourceUnavailable: it cannot be told now.
        """
        found: dict[str, int] = {}
        pending = [""]
        while pending:
            inner = pending.pop()
            path = f"{folder}/{inner}".rstrip("/")
            with (
                self._judging(path),
                contextlib.suppress(FileNotFoundError),
                self._opened(f"{path}/.") as (opened, _),
            ):
                for name in self.list_names(opened):
                    seen = self.stat(name, opened)
                    here = f"{inner}/{name}".lstrip("/")
                    if seen.st_uid != os.geteuid():
                        raise OddFile(f"{self._tell(f'{folder}/{here}')} belongs to another user")
                    if stat.S_ISDIR(seen.st_mode):
                        pending.append(here)
                    elif stat.S_ISREG(seen.st_mode):
                        found[here] = seen.st_size
                    else:
                        raise OddFile(f"{self._tell(f'{folder}/{here}')} is a link, or not a plain file")
        return found

    def read(self, path: str) -> bytes | None:
        """The content of a plain file; None if there is none.

        Raises:
            OddFile: something else is there.
            SourceUnavailable: it cannot be read now.
        """
        with self._judging(path):
            try:
                with self._read_plain(path) as stream:
                    return stream.readall()
            except FileNotFoundError:
                return None

    def digest(self, path: str) -> str:
        """The checksum `sha256:…` of a plain file.

        Raises:
            FileNotFoundError: there is none.
            OddFile: something else is there.
            SourceUnavailable: it cannot be read now.
        """
        with self._judging(path), self._read_plain(path) as stream:
            return digest_stream(stream)

    def write(self, path: str, content: bytes) -> None:
        """Writes a file completely or not at all, in place of one of ours that may be there.

        Raises:
            OddFile: something else is there.
            SourceUnavailable: it cannot be written now.
        """
        above, _, name = path.rpartition("/")
        self.remove_file(f"{above}/.{name}.part".lstrip("/"))  # of a process that was killed
        self.look_at_own(path, None)
        with self._judging(path), self._opened(path) as (folder, name):
            beside = f".{name}.part"
            with create_plain(beside, _FILE_MODE, folder) as stream:
                _write_all(stream, content)
                os.fsync(stream.fileno())
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def copy(self, source: FileIO, path: str) -> str:
        """Copies an open file to a new one; folders are made. Returns the checksum `sha256:…` of what was read.

        Raises:
            OddFile: something is there already.
            SourceUnavailable: it cannot be read or written now.
        """
        with self._judging(path):
            self._make_folders(path)
            with self._opened(path) as (folder, name):
                found = hashlib.sha256()
                try:
                    target = create_plain(name, _FILE_MODE, folder)
                except FileExistsError:
                    raise OddFile(f"{self._tell(path)} exists already") from None
                with target:
                    while block := source.read(_BLOCK):
                        found.update(block)
                        _write_all(target, block)
                    os.fsync(target.fileno())
        return f"sha256:{found.hexdigest()}"

    def rename_folder(self, source: str, target: str) -> None:
        """Renames a folder of ours, never over something.

        Raises:
            OddFile: something is at the target, or another thing was at the source.
            SourceUnavailable: it cannot be done now.
        """
        if not self.is_folder(source):
            raise OddFile(f"{self._tell(source)} is not there")
        seen = self.look(source)
        if seen is not None:
            self.rename(source, target, seen)
        self.sync(target.rpartition("/")[0])

    def read_pointer(self, path: str) -> str | None:
        """What a pointer of ours, a symbolic link, names; None if nothing is there.

        Raises:
            OddFile: something else is there, or another user's link.
            SourceUnavailable: it cannot be told now.
        """
        with self._judging(path):
            try:
                with self._opened(path) as (folder, name):
                    seen = self.stat(name, folder)
                    if not stat.S_ISLNK(seen.st_mode):
                        raise OddFile(f"{self._tell(path)} is not a symbolic link")
                    if seen.st_uid != os.geteuid():
                        raise OddFile(f"{self._tell(path)} belongs to another user")
                    return os.readlink(name, dir_fd=folder)
            except FileNotFoundError:
                return None

    def point(self, path: str, named: str) -> None:
        """Makes a pointer, or moves one at once: whoever looks finds the former or the new one.

        Raises:
            OddFile: what is there is no pointer of ours.
            SourceUnavailable: it cannot be done now.
        """
        self.read_pointer(path)
        above, _, name = path.rpartition("/")
        self.remove_pointer(f"{above}/.{name}.part".lstrip("/"))  # of a process that was killed
        with self._judging(path), self._opened(path) as (folder, name):
            beside = f".{name}.part"
            os.symlink(named, beside, dir_fd=folder)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def remove_pointer(self, path: str) -> None:
        """Removes a pointer of ours, if there is one.

        Raises:
            OddFile: what is there is no pointer of ours.
            SourceUnavailable: it cannot be done now.
        """
        if self.read_pointer(path) is not None:
            with self._judging(path), self._opened(path) as (folder, name):
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)

    def remove_file(self, path: str) -> None:
        """Removes a plain file of ours, if there is one.

        Raises:
            OddFile: something else is there.
            SourceUnavailable: it cannot be done now.
        """
        seen = self.look_at_own(path, None)
        if seen is not None:
            self.remove(path, seen)

    @contextlib.contextmanager
    def _read_plain(self, path: str) -> Iterator[FileIO]:
        with self._opened(path) as (folder, name):
            # a pipe would be waited for, and is refused after it was opened without waiting
            try:
                opened = os.open(name, _READ, dir_fd=folder)
            except OSError as error:
                if os.path.islink(self._tell(path)):
                    raise OddFile(f"{self._tell(path)} is a link") from error
                raise
            with FileIO(opened) as stream:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise OddFile(f"{self._tell(path)} is not a plain file")
                yield stream


def _write_all(stream: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[stream.write(left) :]
