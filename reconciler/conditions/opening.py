"""Which source an address or a file is."""

from __future__ import annotations

from pathlib import Path

from reconciler.conditions.database_file import DatabaseFile
from reconciler.conditions.metadata_file import MetadataFile
from reconciler.conditions.rest import RestSource
from reconciler.conditions.snapshot_file import SnapshotFile
from reconciler.conditions.source import TagSource
from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import FIRST_LINE
from schemas.files.text import decode_text

SQLITE = b"SQLite format 3\0"


def open_source(where: str, token: str | None = None) -> TagSource:
    """The source at an http(s) address, or in a file, which is known by how it begins.

    Raises:
        SourceUnavailable: the file cannot be read, or is none that global tags are kept in.
    """
    if where.startswith(("http://", "https://")):
        return RestSource(where, token)
    path = Path(where)
    try:
        with path.open("rb") as stream:
            beginning = stream.read(4096)
    except OSError as error:
        raise SourceUnavailable(f"{where} cannot be read: {error.strerror}") from error
    if beginning.startswith(SQLITE):
        return MetadataFile(path)
    kinds = "a snapshot (.iov), nor what `b2conditionsdb download` writes, nor a database.txt"
    try:
        text = decode_text(beginning, cut=True)
    except ValueError as error:
        raise SourceUnavailable(f"{where} is neither {kinds}: {error}") from error
    if text.startswith(FIRST_LINE):
        return SnapshotFile(path)
    if any(line.startswith("dbstore/") for line in text.splitlines()):
        return DatabaseFile(path)
    raise SourceUnavailable(f"{where} is neither {kinds}")
