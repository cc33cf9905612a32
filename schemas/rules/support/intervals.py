"""Arithmetic on run ranges of one experiment, both ends included."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from schemas.manifest import spans
from schemas.manifest.campaign import Selector
from schemas.manifest.runs import RUN_LIMIT, RunRange

Ranges = tuple[RunRange, ...]

SHOWN = 5
"""The largest number of ranges in a message."""


def unite(ranges: Iterable[RunRange]) -> Ranges:
    """The same runs as sorted ranges that do not overlap or touch."""
    return _fold(spans.unite(_unfold(ranges)))


def intersect(one: Iterable[RunRange], other: Iterable[RunRange]) -> Ranges:
    """The runs that are in both."""
    return _fold(spans.intersect(_unfold(one), _unfold(other)))


def subtract(ranges: Iterable[RunRange], without: Iterable[RunRange]) -> Ranges:
    """The runs that are in `ranges` and not in `without`.

    >>> [str(one) for one in subtract([RunRange(1, 9)], [RunRange(3, 4), RunRange(9, 12)])]
    ['1-2', '5-8']
    """
    return _fold(spans.subtract(_unfold(ranges), _unfold(without)))


def contain(ranges: Sequence[RunRange], run: int) -> bool:
    """Whether a run is in one of `ranges`, which are sorted and do not overlap."""
    place = bisect_right(ranges, run, key=lambda one: one.first) - 1
    return place >= 0 and run <= ranges[place].last


def take(selector: Selector) -> Ranges:
    """The runs that a selector may select; for an open one, all from its first run on."""
    first = selector.first
    ranges = selector.ranges if first is None else (RunRange(first, max(RUN_LIMIT, first)),)
    return subtract(ranges, selector.exclude)


def find_common(one: Selector, other: Selector, *narrowing: str) -> str:
    """The runs that both selectors may select, for a message; empty if there are none.

    Two selectors that set the same property of `narrowing`, without a common value, have no common runs.
    """
    narrowed = [(getattr(one, name), getattr(other, name)) for name in narrowing]
    apart = any(mine and theirs and not set(mine) & set(theirs) for mine, theirs in narrowed)
    if one.experiment != other.experiment or apart:
        return ""
    common = intersect(take(one), take(other))
    return show_ranges(common, one.experiment) if common else ""


def count(ranges: Iterable[RunRange]) -> int:
    """The number of runs in ranges that do not overlap."""
    return sum(item.last - item.first + 1 for item in ranges)


def show_ranges(ranges: Sequence[RunRange], experiment: int | None = None) -> str:
    """Ranges for a message, `3:529-613, 620`; after the first `SHOWN`, only the number of the other runs."""
    listed = ", ".join(map(str, ranges[:SHOWN]))
    rest = count(ranges[SHOWN:])
    if ranges and ranges[-1].last >= RUN_LIMIT and not rest:
        listed = f"{listed.removesuffix(str(ranges[-1]))}{ranges[-1].first} and all later ones"
    return ("" if experiment is None else f"{experiment}:") + listed + (f" and {rest} more" if rest else "")


def _unfold(ranges: Iterable[RunRange]) -> list[spans.Span]:
    return [(one.first, one.last + 1) for one in ranges]


def _fold(found: Iterable[spans.Span]) -> Ranges:
    return tuple(RunRange(first, end - 1) for first, end in found)
