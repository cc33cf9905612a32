"""Checksums of files, by the algorithms that registrations of files use."""

from __future__ import annotations

import hashlib
import zlib
from io import BufferedReader, FileIO
from pathlib import Path

_BLOCK = 1 << 20


def digest_content(file: Path) -> str:
    """The checksum of a file's bytes, `sha256:…`; raises OSError if the file cannot be read."""
    with file.open("rb") as stream:
        return digest_stream(stream)


def digest_stream(stream: BufferedReader | FileIO, most: int | None = None) -> str:
    """The checksum `sha256:…` of an open file from its current position, of at most `most` bytes, since a file may grow."""
    if most is None:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    found, room = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    while most and (count := stream.readinto(room[:most])):
        found.update(room[:count])
        most -= count
    return f"sha256:{found.hexdigest()}"


def digest_file(path: Path, algorithm: str) -> str | None:
    """The checksum of a file's bytes, `adler32:…`, `crc32:…` or as `hashlib` names it; None for another algorithm."""
    with path.open("rb") as stream:
        if algorithm in ("adler32", "crc32"):
            add, value = (zlib.adler32, 1) if algorithm == "adler32" else (zlib.crc32, 0)
            while block := stream.read(_BLOCK):
                value = add(block, value)
            return f"{algorithm}:{value:08x}"
        if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
            return None
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"
