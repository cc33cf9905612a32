"""Opens the source of global tags at an address or in a file; also reads snapshots of b2prod as a source."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.conditions.database_file import DatabaseFile
from reconciler.conditions.metadata_file import MetadataFile
from reconciler.conditions.rest import RestSource
from reconciler.conditions.source import TagSource, UnknownTag, refuse_contradictions
from reconciler.outside.errors import SourceUnavailable, foreseeing
from schemas.conditions.snapshot import FIRST_LINE, Snapshot, read_snapshot
from schemas.files.text import decode_text

SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """The single tag in a snapshot file; the file may have any name."""

    path: Path

    def fetch(self, name: str) -> Snapshot:
        """The tag in the file, with the id and state that its header states."""
        with foreseeing(f"{self.path} cannot be read"):
            content = self.path.read_bytes().removeprefix(BOM_UTF8)
        snapshot, findings = read_snapshot(str(self.path), _find_name(content), content, any_state=True)
        if snapshot is None:
            raise SourceUnavailable("; ".join(str(finding) for finding in findings[:3]))
        if snapshot.name != name:
            raise UnknownTag(f"{self.path} holds the tag {snapshot.name}, not {name}")
        refuse_contradictions(str(self.path), snapshot.iovs)
        return replace(snapshot, source=self.path.name, retrieved="", above=0)


def _find_name(content: bytes) -> str:
    for line in content[:10_000].decode("utf-8", "replace").splitlines():
        if line.startswith("# name: "):
            return line.removeprefix("# name: ")
        if not line.startswith("#"):
            break
    return f"a global tag: the header has no `# name: …` below `{FIRST_LINE}`"


def open_source(where: str, token: str | None = None) -> TagSource:
    """The source at an http(s) address or in a file; the beginning of a file tells its kind.

    Raises:
        SourceUnavailable: the file cannot be read or is of no known kind, or the address or token cannot be used.
    """
    if where.startswith(("http://", "https://")):
        return RestSource(where, token)
    path = Path(where)
    with foreseeing(f"{where} cannot be read"), path.open("rb") as stream:
        beginning = stream.read(4096)
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
