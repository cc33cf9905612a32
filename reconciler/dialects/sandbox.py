"""Sandboxes: the archives in which the files of a grid job travel, as DIRAC has them (`tar.zst`, `tar.bz2`)."""

from __future__ import annotations

import bz2
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cramjam

LIMIT = 100 * 2**20
"""Bytes that DiracX takes for one sandbox."""


class Broken(Exception):
    """An archive that is not what it should be; the text says how."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The bytes of a sandbox, and the SHA-256 sum by which it is known: equal files have an equal sum."""

    content: bytes
    checksum: str


def pack(files: Mapping[str, bytes]) -> Archive:
    """The archive of files by their names; the same bytes for the same files, whenever and by whomever."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    content = bytes(cramjam.zstd.compress(stream.getvalue(), level=10))
    return Archive(content, hashlib.sha256(content).hexdigest())


def unpack(content: bytes, folder: Path, last: str, *, without_last: bool = False) -> None:
    """Writes the plain files of an archive into a folder, each by rename, and the one called `last` after all others.

    Only what lies at the top of the archive under a plain name is taken. A file that is there already is replaced.

    Raises:
        Broken: it is no such archive.
        OSError: the folder cannot be written.
    """
    try:
        plain = _decompress(content)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            members = [one for one in archive.getmembers() if one.isreg() and _is_plain(one.name)]
            members.sort(key=lambda one: os.path.normpath(one.name) == last)
            for member in members:
                if without_last and os.path.normpath(member.name) == last:
                    continue
                source = archive.extractfile(member)
                assert source is not None  # a regular file
                target = folder / os.path.normpath(member.name)
                part = target.with_name(f".{target.name}.part")
                part.write_bytes(source.read())
                os.replace(part, target)
    except (tarfile.TarError, cramjam.DecompressionError, EOFError) as error:
        raise Broken(f"the sandbox cannot be read: {error}") from error


def _decompress(content: bytes) -> bytes:
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return bytes(cramjam.zstd.decompress(content))
    if content.startswith(b"BZh"):
        try:
            return bz2.decompress(content)
        except (OSError, ValueError) as error:
            raise Broken(f"the sandbox cannot be read: {error}") from error
    return content


def _is_plain(name: str) -> bool:
    name = os.path.normpath(name)
    return "/" not in name and name not in {"", ".", ".."} and not name.startswith(".")
