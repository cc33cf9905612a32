"""Arithmetic on sorted, disjoint or overlapping run ranges of one experiment, both ends included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.manifest.campaign import Selector
from schemas.manifest.runs import RUN_LIMIT, RunRange

Ranges = tuple[RunRange, ...]

SHOWN = 5
"""How many ranges a message lists."""


def unite(ranges: Iterable[RunRange]) -> Ranges:
    """The same runs as sorted ranges that neither overlap nor touch.

    >>> [str(one) for one in unite([RunRange(7, 9), RunRange(1, 3), RunRange(4, 5), RunRange(2, 2)])]
    ['1-5', '7-9']
    """
    united: list[RunRange] = []
    for item in sorted(ranges):
        if united and item.first <= united[-1].last + 1:
            united[-1] = RunRange(united[-1].first, max(united[-1].last, item.last))
        else:
            united.append(item)
    return tuple(united)


def intersect(one: Sequence[RunRange], other: Sequence[RunRange]) -> Ranges:
    """The runs that are in both; the arguments are as `unite` makes them.

    >>> [str(one) for one in intersect(unite([RunRange(1, 5)]), unite([RunRange(0, 1), RunRange(4, 9)]))]
    ['1', '4-5']
    """
    common: list[RunRange] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first, last = max(one[i].first, other[j].first), min(one[i].last, other[j].last)
        if first <= last:
            common.append(RunRange(first, last))
        if one[i].last < other[j].last:
            i += 1
        else:
            j += 1
    return tuple(common)


def subtract(ranges: Iterable[RunRange], without: Iterable[RunRange]) -> Ranges:
    """The runs that are in `ranges` and not in `without`.

    >>> [str(one) for one in subtract([RunRange(1, 9)], [RunRange(3, 4), RunRange(9, 12)])]
    ['1-2', '5-8']
    """
    holes = unite(without)
    left: list[RunRange] = []
    index = 0
    for item in unite(ranges):
        first = item.first
        while index < len(holes) and holes[index].last < first:
            index += 1
        at = index
        while at < len(holes) and holes[at].first <= item.last:
            if holes[at].first > first:
                left.append(RunRange(first, holes[at].first - 1))
            first = holes[at].last + 1
            at += 1
        index = max(index, at - 1)
        if first <= item.last:
            left.append(RunRange(first, item.last))
    return tuple(left)


def take(selector: Selector) -> Ranges:
    """The runs that a selector may choose: an open one has all from its first on."""
    ranges = (
        (RunRange(selector.first, max(RUN_LIMIT, selector.first)),)
        if selector.first is not None
        else selector.ranges
    )
    return subtract(ranges, selector.exclude)


def count(ranges: Iterable[RunRange]) -> int:
    """How many runs there are; the ranges are disjoint."""
    return sum(item.last - item.first + 1 for item in ranges)


def show_ranges(ranges: Sequence[RunRange], experiment: int | None = None) -> str:
    """Ranges for a message, `3:529-613, 620`; after the first few only how many runs there are besides."""
    listed = ", ".join(map(str, ranges[:SHOWN]))
    rest = count(ranges[SHOWN:])
    if ranges and ranges[-1].last >= RUN_LIMIT and not rest:
        listed = f"{listed.removesuffix(str(ranges[-1]))}{ranges[-1].first} and all later ones"
    return ("" if experiment is None else f"{experiment}:") + listed + (f" and {rest} more" if rest else "")
