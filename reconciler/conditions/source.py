"""The port behind which global tags are read, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import Iov, Snapshot


class UnknownTag(Exception):
    """The source answers, and has no global tag of that name: a slip of the author, not a failure of the source."""


class TagSource(Protocol):
    """Where global tags can be read."""

    def fetch(self, name: str) -> Snapshot:
        """The whole tag, with its id and state in the conditions database, and where it was read.

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
