"""Sandboxes: the archives in which the files of a grid job are sent, in DIRAC's formats (`tar.zst`, `tar.bz2`)."""

from __future__ import annotations

import bz2
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import cramjam

from reconciler.engines.attempt_folders import replace_file

LIMIT = 100 * 2**20
"""The most bytes that DiracX takes for one sandbox."""
UNPACKED = 2**28
"""The most bytes that an unpacked sandbox may have."""
MEMBERS = 1000
"""The most files that a sandbox may have."""


class Broken(Exception):
    """An archive is not a valid sandbox; the text says why."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of files, given by name; the same files always give the same bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return bytes(cramjam.zstd.compress(stream.getvalue(), level=10))


def unpack(content: bytes, folder: Path, last: str, *, without_last: bool = False) -> None:
    """Writes the plain files of an archive into a folder, each whole, and the one called `last` after all others.

    It takes only files with plain names at the top of the archive, and replaces existing files. `without_last` omits `last`.

    Raises:
        Broken: it is not a sandbox, or holds too much: a few bytes could unpack to a full disk.
        OSError: the folder cannot be written.
    """
    try:
        plain = _decompress(content)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            members = [one for one in _list_members(archive) if one.isreg() and _is_plain(one.name)]
            members.sort(key=lambda one: os.path.normpath(one.name) == last)
            for member in members:
                if without_last and os.path.normpath(member.name) == last:
                    continue
                source = archive.extractfile(member)
                assert source is not None  # a regular file
                replace_file(folder / os.path.normpath(member.name), source.read())
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise Broken(f"the sandbox cannot be read: {error}") from error


def _list_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, as long as their stated sizes are within the limits; a sparse file may exceed its archive."""
    size = 0
    for count, member in enumerate(archive, 1):
        size += member.size
        if count > MEMBERS or member.size < 0 or size > UNPACKED:
            raise Broken(f"the sandbox holds more than {MEMBERS:,} files or {UNPACKED:,} bytes")
        yield member


def _decompress(content: bytes) -> bytes:
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return _decompress_zstd(content)
    if content.startswith(b"BZh"):
        stream = bz2.BZ2Decompressor()
        try:
            plain = stream.decompress(content, UNPACKED)
        except (OSError, ValueError) as error:
            raise Broken(f"the sandbox cannot be read: {error}") from error
        if not stream.eof:
            raise Broken(f"the sandbox is cut short, or holds more than {UNPACKED:,} bytes")
        return plain
    return content


def _decompress_zstd(content: bytes) -> bytes:
    """Decompresses into larger and larger buffers, up to the limit: cramjam has no limit of its own."""
    for room in (UNPACKED // 64, UNPACKED // 8, UNPACKED):
        plain = bytearray(room)
        try:
            return bytes(memoryview(plain)[: cramjam.zstd.decompress_into(content, plain)])
        except cramjam.DecompressionError as error:
            why = error
    raise Broken(f"the sandbox cannot be read, or holds more than {UNPACKED:,} bytes: {why}")


def _is_plain(name: str) -> bool:
    name = os.path.normpath(name)
    is_short = len(os.fsencode(name)) <= 200  # the file has a longer name while it is written
    return is_short and "/" not in name and name not in {"", ".", ".."} and not name.startswith(".")
