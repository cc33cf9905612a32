"""Whether a global tag differs from its base by exactly the payloads that calibration returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.conditions.comparison import PayloadUse, compare
from schemas.conditions.iov import Interval
from schemas.conditions.local_database import settle_overlaps
from schemas.conditions.snapshot import Snapshot

DifferenceKind = Literal["lacks", "holds", "differs", "hides"]


@dataclass(frozen=True, slots=True, order=True)
class TagDifference:
    """How a tag is not as expected, for run keys from `first` up to, without, `end`. Checksums are md5 sums.

    lacks: it has no such payload there. holds: it has one that nobody expected. differs: it has another content. hides: it has
    a content that nobody handed in, and another revision is used in its place.
    """

    payload: str
    first: int
    end: int
    kind: DifferenceKind
    expected: str | None
    found: str | None
    was_returned: bool

    def __str__(self) -> str:
        where = f"{self.payload}, {Interval(self.first, self.end).describe()}"
        if self.kind == "lacks":
            whose = "was returned" if self.was_returned else "was in the base"
            return f"{where}: the tag has none, and {self.expected} {whose}"
        if self.kind == "holds":
            return f"{where}: the tag has {self.found}, which is neither in the base nor was returned"
        if self.kind == "hides":
            return (
                f"{where}: the tag also has {self.found}, which nobody handed in; a higher revision is used"
            )
        whose = "was returned" if self.was_returned else "is that of the base"
        return f"{where}: the tag has {self.found}, and {self.expected} {whose}"


def compare_return(
    base: Snapshot, returned: Snapshot, pulled: Snapshot, release: str
) -> tuple[TagDifference, ...]:
    """What `pulled` holds, lacks or has otherwise than `base` with the `returned` payloads on top; empty if it is just that.

    What a job gets counts, run by run and by checksum: it does not matter how IoVs are cut, closed or numbered. Where lines of
    the returned local database overlap, the rule of `release` holds. The differences are sorted by payload and run.
    """
    settled = settle_overlaps(returned, release)
    differences = [_describe(one) for one in compare((settled, base), (pulled,)).changes]
    used = {(one.payload, one.found) for one in differences}
    known = {(iov.payload, iov.checksum) for iov in (*base.iovs, *returned.iovs)}
    names = {iov.payload for iov in returned.iovs}
    for iov in pulled.iovs:
        content = iov.payload, iov.checksum
        if content not in known and content not in used:
            where = iov.payload, iov.first, iov.end
            differences.append(TagDifference(*where, "hides", None, iov.checksum, iov.payload in names))
    return tuple(sorted(set(differences), key=lambda one: (one.payload, one.first, one.end, one.kind)))


def _describe(change: PayloadUse) -> TagDifference:
    before, after = change.before, change.after
    kind: DifferenceKind = "holds" if before is None else "lacks" if after is None else "differs"
    expected, found = (None if one is None else one.checksum for one in (before, after))
    # the chain that is expected has the returned payloads first
    was_returned = before.place == 0 if before is not None else False
    return TagDifference(change.payload, change.first, change.end, kind, expected, found, was_returned)
