"""What differs between two global tags, or two chains of them: IoV by IoV, and where it matters to a run.

Everything is computed along the boundaries of IoVs; runs are only counted between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Literal

from schemas.conditions.iov import Interval, merge_intervals, touches_any
from schemas.conditions.snapshot import Iov, Rank, Snapshot, rank_iov, sweep

Kind = Literal["added", "removed", "changed"]

_Ranked = tuple[Rank, Iov]


@dataclass(frozen=True, slots=True)
class Segment:
    """The payload that jobs use from the run key `first` to before `end`; `place` is its tag's in the chain, from 0."""

    first: int
    end: int
    revision: str
    checksum: str
    place: int = 0


@dataclass(frozen=True, slots=True)
class PayloadUse:
    """The use of one payload that differs from the run key `first` to before `end`.

    `runs[lower:upper]` of the comparison are the runs that it touches.
    """

    payload: str
    first: int
    end: int
    before: Segment | None
    after: Segment | None
    lower: int = 0
    upper: int = 0

    @property
    def kind(self) -> Kind:
        """What happens to the payload there."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class TagComparison:
    """All changes, by payload and run, and the sorted run keys that were asked about."""

    changes: tuple[PayloadUse, ...]
    runs: Sequence[int]

    def touched(self) -> Iterator[int]:
        """The runs that any change touches, sorted, each once."""
        begin = 0
        for lower, upper in sorted({(change.lower, change.upper) for change in self.changes}):
            yield from self.runs[max(lower, begin) : upper]
            begin = max(begin, upper)


def compare(before: Snapshot, after: Snapshot, runs: Sequence[int] | None = None) -> TagComparison:
    """What a job gets otherwise from `after` than from `before`, and which of `runs` (sorted run keys) it touches.

    A payload is its checksum: a new revision of the same content is not a change.
    """
    return compare_chains((before,), (after,), runs)


def compare_chains(
    before: Sequence[Snapshot], after: Sequence[Snapshot], runs: Sequence[int] | None = None
) -> TagComparison:
    """As `compare`, for chains of tags, of which the first that has a payload wins."""
    keys = () if runs is None else runs
    old, new = _group(before), _group(after)
    changes: list[PayloadUse] = []
    for payload in sorted({*old, *new}):
        had, has = old.get(payload, []), new.get(payload, [])
        if had == has:
            continue
        for first, end, one, other in _pair(_overlay(had), _overlay(has)):
            lower, upper = bisect_left(keys, first), bisect_left(keys, end)
            changes.append(PayloadUse(payload, first, end, one, other, lower, upper))
    return TagComparison(tuple(changes), keys)


def list_differences(
    before: Snapshot, after: Snapshot, within: Sequence[Interval] | None = None
) -> tuple[tuple[Iov, ...], tuple[Iov, ...]]:
    """The IoVs that only `before` has, and those that only `after` has, whether or not another one hides them.

    IoVs are equal by payload, checksum and ends, not by revision (basf2 `framework/scripts/conditions_db/__init__.py`).
    With `within`, IoVs that hold for no run there are left out.
    """
    wanted = None if within is None else merge_intervals(within)
    known = [{_identify(iov) for iov in snapshot.iovs} for snapshot in (before, after)]
    removed, added = (
        tuple(
            sorted(
                (
                    iov
                    for iov in snapshot.iovs
                    if _identify(iov) not in others
                    and (wanted is None or touches_any(iov.first, iov.end, wanted))
                ),
                key=attrgetter("payload", "first", "end", "revision"),
            )
        )
        for snapshot, others in ((before, known[1]), (after, known[0]))
    )
    return removed, added


def _identify(iov: Iov) -> tuple[str, str, int, int]:
    return iov.payload, iov.checksum, iov.first, iov.end


def _group(chain: Sequence[Snapshot]) -> dict[str, list[_Ranked]]:
    """Payload → its IoVs, each with its rank."""
    grouped: dict[str, list[_Ranked]] = {}
    for place, snapshot in enumerate(chain):
        for iov in snapshot.iovs:
            grouped.setdefault(iov.payload, []).append((rank_iov(iov, place), iov))
    return grouped


def _overlay(ranked: Sequence[_Ranked]) -> tuple[Segment, ...]:
    """What is used where, sorted and apart."""
    segments: list[Segment] = []
    for first, end, (place, *_), iov in sweep(ranked):
        here = Segment(first, end, iov.revision, iov.checksum, place)
        if segments and replace(segments[-1], first=first, end=end) == here and segments[-1].end == first:
            segments[-1] = replace(segments[-1], end=end)
        else:
            segments.append(here)
    return tuple(segments)


def _pair(
    before: Sequence[Segment], after: Sequence[Segment]
) -> Iterator[tuple[int, int, Segment | None, Segment | None]]:
    """The stretches where two lists of segments have other checksums."""
    borders = sorted({border for segment in (*before, *after) for border in (segment.first, segment.end)})
    one = other = 0
    for first, end in pairwise(borders):
        while one < len(before) and before[one].end <= first:
            one += 1
        while other < len(after) and after[other].end <= first:
            other += 1
        old = before[one] if one < len(before) and before[one].first <= first else None
        new = after[other] if other < len(after) and after[other].first <= first else None
        if (old and old.checksum) != (new and new.checksum):
            yield first, end, old, new
