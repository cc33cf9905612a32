"""A snapshot of ours, a file NAME.iov, as a source of its tag."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path

from reconciler.conditions.source import Tag, UnknownTag, refuse_contradictions
from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import FIRST_LINE, Snapshot, read_snapshot


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """The one tag in a file NAME.iov; the file may have any name."""

    path: Path

    def fetch(self, name: str) -> Tag:
        """The tag in the file, with the id and state that its header states."""
        snapshot = self.read()
        if snapshot.name != name:
            raise UnknownTag(f"{self.path} holds the tag {snapshot.name}, not {name}")
        refuse_contradictions(str(self.path), snapshot.iovs)
        return Tag(name, snapshot.state, snapshot.iovs, snapshot.id, self.path.name)

    def read(self) -> Snapshot:
        """The snapshot in the file, whatever tag it is of.

        Raises:
            SourceUnavailable: the file cannot be read, or is not a whole snapshot.
        """
        try:
            content = self.path.read_bytes().removeprefix(BOM_UTF8)
        except OSError as error:
            raise SourceUnavailable(f"{self.path} cannot be read: {error.strerror}") from error
        snapshot, findings = read_snapshot(str(self.path), _find_name(content), content, any_state=True)
        if snapshot is None:
            raise SourceUnavailable("; ".join(str(finding) for finding in findings[:3]))
        return snapshot


def _find_name(content: bytes) -> str:
    for line in content[:10_000].decode("utf-8", "replace").splitlines():
        if line.startswith("# name: "):
            return line.removeprefix("# name: ")
        if not line.startswith("#"):
            break
    return f"a global tag: the header has no `# name: …` below `{FIRST_LINE}`"
