"""Compares two global tags, or two chains of global tags: IoV by IoV, and for given runs.

The comparison goes along the boundaries of IoVs; runs are only counted between them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Literal

from schemas.conditions.iov import Interval, merge_intervals, touches_any
from schemas.conditions.snapshot import Iov, Rank, Snapshot, rank_iov, sweep

Kind = Literal["added", "removed", "changed"]

Ranked = tuple[Rank, Iov]
"""An IoV, behind the rank by which the lowest one is used."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The payload that jobs use for run keys from `first` up to, without, `end`; `place` is its tag's index in the chain."""

    first: int
    end: int
    revision: str
    checksum: str
    place: int = 0


@dataclass(frozen=True, slots=True)
class PayloadUse:
    """A change in the use of one payload for run keys from `first` up to, without, `end`.

    It touches the runs `runs[lower:upper]` of the comparison.
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
    """All changes, sorted by payload and run, and the sorted run keys that the caller gave."""

    changes: tuple[PayloadUse, ...]
    runs: Sequence[int]

    def touched(self) -> Iterator[int]:
        """The runs that any change touches, sorted, each once."""
        begin = 0
        for lower, upper in sorted({(change.lower, change.upper) for change in self.changes}):
            yield from self.runs[max(lower, begin) : upper]
            begin = max(begin, upper)


def compare(
    before: Sequence[Snapshot], after: Sequence[Snapshot], runs: Sequence[int] | None = None
) -> TagComparison:
    """The changes in the payloads that jobs use between two chains of tags, and the `runs` (sorted run keys) they touch.

    The first tag of a chain that has a payload wins. A payload is its checksum: a new revision of the same content is not a
    change.
    """
    keys = () if runs is None else runs
    old, new = group_ranked(before), group_ranked(after)
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
    """The IoVs that only `before` has, and the IoVs that only `after` has, both sorted; hidden IoVs are included.

    IoVs are equal by payload, checksum and ends, not by revision (basf2 `framework/scripts/conditions_db/__init__.py`).
    With `within`, IoVs that are valid for no run there are left out.
    """
    wanted = None if within is None else merge_intervals(within)

    def list_only(one: Snapshot, other: Snapshot) -> tuple[Iov, ...]:
        known = {_identify(iov) for iov in other.iovs}
        only = (iov for iov in one.iovs if _identify(iov) not in known)
        here = (iov for iov in only if wanted is None or touches_any(iov.first, iov.end, wanted))
        return tuple(sorted(here, key=attrgetter("payload", "first", "end", "revision")))

    return list_only(before, after), list_only(after, before)


def _identify(iov: Iov) -> tuple[str, str, int, int]:
    return iov.payload, iov.checksum, iov.first, iov.end


def group_ranked(chain: Sequence[Snapshot]) -> Mapping[str, list[Ranked]]:
    """Payload → its IoVs in a chain of tags, each with its rank."""
    grouped: dict[str, list[Ranked]] = defaultdict(list)
    for place, snapshot in enumerate(chain):
        for iov in snapshot.iovs:
            grouped[iov.payload].append((rank_iov(iov, place), iov))
    return grouped


def _overlay(ranked: Sequence[Ranked]) -> tuple[Segment, ...]:
    """The segments of one payload, sorted and without overlaps."""
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
    """First key, end and both segments, wherever two lists of segments have different checksums."""
    borders = sorted({border for segment in (*before, *after) for border in (segment.first, segment.end)})
    for first, end in pairwise(borders):
        old, new = (_find_segment(segments, first) for segments in (before, after))
        if (old and old.checksum) != (new and new.checksum):
            yield first, end, old, new


def _find_segment(segments: Sequence[Segment], key: int) -> Segment | None:
    """The segment that contains a run key."""
    place = bisect_right(segments, key, key=attrgetter("first")) - 1
    return segments[place] if place >= 0 and key < segments[place].end else None
