"""Puts files into a folder of their own, for people and programs outside: completely or not at all, and reads them back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.outside.new_folder import place_folder
from reconciler.outside.plain_files import NotPlain, create_plain, open_plain

_BLOCK = 1024**2
_MODE = 0o444

Source = bytes | Path
"""The content of a file, or a plain file that is copied."""


def deliver(files: Mapping[str, Source], sums: Mapping[str, str], target: Path) -> bool:
    """Makes the folder `target` with these files, and reads it back; False if it was there with just these.

    `sums` has the md5 sum of each file: what is copied must still have it.

    Raises:
        GuardRefused: something else is there; nothing was changed.
        SourceUnavailable: a file cannot be read or written, or is not what it was.
    """

    def fill(folder: Path) -> None:
        for name, source in sorted(files.items()):
            if _write(source, folder / name) != sums[name]:
                raise SourceUnavailable(
                    f"{source if isinstance(source, Path) else name} changed while it was copied"
                )

    try:
        new = not (os.path.lexists(target) and any(os.listdir(target)))
        if new:
            place_folder(target, fill)
    except FileExistsError:
        new = False  # another process was faster
    except NotPlain as error:
        raise SourceUnavailable(str(error)) from error
    except OSError as error:
        raise SourceUnavailable(f"{target} cannot be written: {error.strerror}") from error
    differences = list(_compare(sums, target))
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise GuardRefused(f"{target} holds something else: {differences[0]}{more}; choose another folder")
    return new


def sum_bytes(content: bytes) -> str:
    """The md5 sum of a content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _write(source: Source, target: Path) -> str:
    """Writes a file; returns the md5 sum of what was written."""
    digest = hashlib.md5(usedforsecurity=False)
    with create_plain(target, _MODE) as stream:
        for part in [source] if isinstance(source, bytes) else _read_blocks(source):
            digest.update(part)
            view = memoryview(part)
            while view:
                view = view[stream.write(view) :]
    return digest.hexdigest()


def _read_blocks(file: Path) -> Iterator[bytes]:
    with open_plain(file) as stream:
        while part := stream.read(_BLOCK):
            yield part


def _compare(sums: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yields in what a folder differs from what it should hold."""
    try:
        there = set(os.listdir(folder))
        yield from (f"{name} is not one of its files" for name in sorted(there - sums.keys()))
        for name, wanted in sorted(sums.items()):
            if name not in there:
                yield f"{name} is not there"
                continue
            digest = hashlib.md5(usedforsecurity=False)
            for part in _read_blocks(folder / name):
                digest.update(part)
            if digest.hexdigest() != wanted:
                yield f"{name} has another content"
    except NotPlain as error:
        yield str(error)
    except OSError as error:
        yield f"it cannot be read: {error.strerror}"
