"""The port for reading global tags, and a check of what was read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import Iov, Snapshot


class UnknownTag(Exception):
    """The source has no global tag of that name: a mistake of the author, not a failure of the source."""


class TagSource(Protocol):
    """A place from which global tags can be read."""

    def fetch(self, name: str) -> Snapshot:
        """The whole tag, with its id and state in the conditions database, and where it was read.

        Raises:
            UnknownTag: there is no such tag.
            SourceUnavailable: the tag cannot be read in full; a part of a tag is never returned.
        """
        ...


def refuse_contradictions(where: str, iovs: Iterable[Iov]) -> None:
    """Checks that each revision of a payload has one checksum: revisions never change in the conditions database.

    Raises:
        SourceUnavailable: a revision has two checksums, so the answer of the source is wrong.
    """
    checksums: dict[tuple[str, str], str] = {}
    for iov in iovs:
        known = checksums.setdefault((iov.payload, iov.revision), iov.checksum)
        if known != iov.checksum:
            both = f"{known} and {iov.checksum}"
            raise SourceUnavailable(f"{where}: {iov.payload} r{iov.revision} has two checksums, {both}")
