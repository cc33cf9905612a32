"""The port behind which global tags are read, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import Iov, Snapshot, freeze_tag


class UnknownTag(Exception):
    """The source answers, and has no global tag of that name: a slip of the author, not a failure of the source."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A global tag as a source gave it. `id` and `state` are the conditions database's; `source` says where it was read."""

    name: str
    state: str
    iovs: tuple[Iov, ...]
    id: int | None = None
    source: str = ""

    def freeze(self, retrieved: str = "") -> Snapshot:
        """The snapshot of the tag, read at the time `retrieved`."""
        return freeze_tag(
            self.name, self.state, self.iovs, tag_id=self.id, source=self.source, retrieved=retrieved
        )


class TagSource(Protocol):
    """Where global tags can be read."""

    def fetch(self, name: str) -> Tag:
        """The whole tag.

        Raises:
            UnknownTag: there is no such tag.
            SourceUnavailable: it could not be read in full; never is less than the whole tag returned.
        """
        ...


def refuse_contradictions(where: str, iovs: Iterable[Iov]) -> None:
    """Ensures that a payload's revision has one checksum: it never changes in the conditions database.

    Raises:
        SourceUnavailable: it has two, so what was read is not what is there.
    """
    checksums: dict[tuple[str, str], str] = {}
    for iov in iovs:
        known = checksums.setdefault((iov.payload, iov.revision), iov.checksum)
        if known != iov.checksum:
            both = f"{known} and {iov.checksum}"
            raise SourceUnavailable(f"{where}: {iov.payload} r{iov.revision} has two checksums, {both}")
