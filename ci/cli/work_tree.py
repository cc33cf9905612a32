"""Writes files into the work tree, never through a symbolic link."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ci.cli.exits import WrongUse
from reconciler.outside.errors import GuardRefused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_files(root: Path, files: Mapping[str, bytes]) -> None:
    """Writes files (path below `root` → content) and creates their folders. If one is refused, none is written.

    A checkout may come from anybody: a link in it could redirect the write to another file of the person who signs, pulls or
    resolves. An existing file is replaced; other names (hard links) of it keep the old content.

    Raises:
        GuardRefused: a file, or a folder in its path, is a symbolic link, or not a plain file or folder.
        WrongUse: a file cannot be written.
    """
    for file in files:
        with _opened(root, file) as (folder, name):
            _refuse_strange(folder, name, file)
    for file, content in files.items():
        with _opened(root, file) as (folder, name):
            part = f".git-b2prod-{secrets.token_hex(8)}"
            try:
                created = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(part, created, 0o666, dir_fd=folder), "wb") as stream:
                    stream.write(content)
                os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise WrongUse(f"{file} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _opened(root: Path, file: str) -> Iterator[tuple[int, str]]:
    """Yields a descriptor of the file's folder, and its name. Each folder is opened inside the one before, against replacement."""
    *parts, name = file.split("/")
    if not name or not {"", ".", ".."}.isdisjoint(parts):
        raise GuardRefused(f"{file!r} is not a path below the work tree")
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise WrongUse(f"{root} cannot be opened: {error.strerror}") from error
    try:
        for number, part in enumerate(parts, 1):
            here = "/".join(parts[:number])
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                _refuse_strange(folder, part, here, stat.S_IFDIR)
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                raise WrongUse(f"{here} cannot be opened: {error.strerror}") from error
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def _refuse_strange(folder: int, name: str, file: str, kind: int = stat.S_IFREG) -> None:
    try:
        found = stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    if found == kind:
        return
    what = "a symbolic link" if found == stat.S_IFLNK else "not a plain file or folder"
    raise GuardRefused(f"{file} is {what}: nothing was written; look where it leads, and `git rm` it")
