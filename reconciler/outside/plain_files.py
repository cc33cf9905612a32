"""Reads and creates files in folders where jobs write: only plain files, up to a size, without waiting or following links."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path


class NotPlain(Exception):
    """The file is a link, a pipe or a folder, or larger than it may be."""


def open_plain(file: Path) -> FileIO:
    """A plain file, open to be read.

    Raises:
        NotPlain: it is not a plain file: opening a pipe might wait for ever, and a link can lead to files of others.
        OSError: there is no such file, or it cannot be read.
    """
    if not stat.S_ISREG(os.lstat(file).st_mode):
        raise NotPlain(f"{file.name} is not a plain file")
    opened = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(opened).st_mode):  # it was replaced in between
        os.close(opened)
        raise NotPlain(f"{file.name} is not a plain file")
    return FileIO(opened)


def read_plain(file: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes.

    Raises:
        NotPlain: it is not a plain file, or larger.
        OSError: there is no such file, or it cannot be read.
    """
    with open_plain(file) as stream:
        content = bytearray()
        while part := stream.read(most + 1 - len(content)):
            content += part
            if len(content) > most:
                raise NotPlain(f"{file.name} is larger than {most:,} bytes")
        return bytes(content)


def create_plain(file: str | os.PathLike[str], mode: int, folder: int | None = None) -> FileIO:
    """A new file, open for writing. `folder`: the descriptor of the folder where it is made; `file` is then only a name.

    Raises:
        OSError: the name exists already, also as a link, or the file cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return FileIO(os.open(file, flags, mode, dir_fd=folder), "w")
