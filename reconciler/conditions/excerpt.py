"""What tags hold for some runs, and nothing else: the conditions that go with a job of the grid."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from schemas.conditions.snapshot import Iov, Snapshot


def cut_snapshots(used: Iterable[tuple[Sequence[Snapshot], Sequence[int]]]) -> tuple[Snapshot, ...]:
    """The tags of a chain as far as runs use them; `used` has chains of the same tags, each with the runs that use it.

    What each run uses is what its own chain has, even where two chains have different snapshots of a tag. An IoV reaches
    from a run to the last one of all that are given up to which the payload is used without a break.
    """
    parts = [(chain, runs) for chain, runs in used if runs]
    everything = sorted({run for _, runs in parts for run in runs})
    place = {run: index for index, run in enumerate(everything)}
    cut = []
    for column in zip(*(chain for chain, _ in parts), strict=True):
        valid: dict[tuple[str, str, str], set[int]] = {}
        for snapshot, (_, runs) in zip(column, parts, strict=True):
            ordered = sorted(runs)
            for iov in snapshot.iovs:
                here = ordered[bisect_left(ordered, iov.first) : bisect_left(ordered, iov.end)]
                if here:
                    name = iov.payload, iov.revision, iov.checksum
                    valid.setdefault(name, set()).update(place[run] for run in here)
        iovs = [
            Iov(*name, everything[first], everything[last] + 1)
            for name, places in valid.items()
            for first, last in _join(places)
        ]
        cut.append(replace(column[0], iovs=tuple(sorted(iovs))))
    return tuple(cut)


def _join(places: set[int]) -> Iterator[tuple[int, int]]:
    """The stretches of numbers that follow one another, both ends included."""
    first = last = None
    for place in sorted(places):
        if first is None or last is None or place > last + 1:
            if first is not None and last is not None:
                yield first, last
            first = place
        last = place
    if first is not None and last is not None:
        yield first, last
