"""Arithmetic on spans of whole numbers, `(first, end)`; the end is not included.

Results are sorted, and their spans do not overlap or touch.
"""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def unite(spans: Iterable[Span]) -> list[Span]:
    """The numbers that are in any span.

    >>> unite([(7, 10), (1, 4), (4, 6), (2, 3)])
    [(1, 6), (7, 10)]
    """
    united: list[Span] = []
    for first, end in sorted(spans):
        if united and first <= united[-1][1]:
            united[-1] = united[-1][0], max(united[-1][1], end)
        else:
            united.append((first, end))
    return united


def subtract(spans: Iterable[Span], without: Iterable[Span]) -> list[Span]:
    """The numbers that are in `spans` and not in `without`.

    >>> subtract([(1, 10)], [(3, 5), (9, 13)])
    [(1, 3), (5, 9)]
    """
    holes, left = unite(without), list[Span]()
    at = 0
    for first, end in unite(spans):
        while at < len(holes) and holes[at][1] <= first:
            at += 1
        begin, upcoming = first, at
        while upcoming < len(holes) and holes[upcoming][0] < end:
            if begin < holes[upcoming][0]:
                left.append((begin, holes[upcoming][0]))
            begin = holes[upcoming][1]
            upcoming += 1
        if begin < end:
            left.append((begin, end))
    return left


def intersect(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """The numbers that are in `spans` and in `others`.

    >>> intersect([(1, 6)], [(0, 2), (4, 10)])
    [(1, 2), (4, 6)]
    """
    ones = unite(spans)
    return subtract(ones, subtract(ones, others))
