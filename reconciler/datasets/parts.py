"""A dataset of the detector as a whole: its registered files, and what campaigns produce for it. Only reads, row by row."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from reconciler.datasets.contents import DatasetFile, DeclaredHead, RunContent, stream_files, stream_runs
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import RunSet


@dataclass(frozen=True, slots=True)
class DatasetPart:
    """A dataset, or what a step produces for a dataset of the detector. `declared` is what its campaign declares of it.

    `elsewhere` are the run keys that count in an earlier part, even if nothing exists of them there.
    """

    name: DatasetName
    declared: DeclaredHead | None = None
    elsewhere: Collection[int] = field(default=(), repr=False)


class _OfRun(Protocol):
    @property
    def run(self) -> int: ...


OfRunT = TypeVar("OfRunT", bound=_OfRun)


def stream_part_files(
    connection: Connection, parts: Sequence[DatasetPart], runs: RunSet | None = None
) -> Iterator[DatasetFile]:
    """Yields the files of all parts, sorted by run; of a run that several parts have, those of the first."""
    return _merge(parts, lambda part: stream_files(connection, part.name, runs, part.declared))


def stream_part_runs(
    connection: Connection, parts: Sequence[DatasetPart], runs: RunSet | None = None
) -> Iterator[RunContent]:
    """Yields what the parts have of each run, sorted by run; of a run that several parts have, what the first has."""
    return _merge(parts, lambda part: stream_runs(connection, part.name, runs, part.declared))


def _merge(
    parts: Sequence[DatasetPart], stream: Callable[[DatasetPart], Iterator[OfRunT]]
) -> Iterator[OfRunT]:
    def number(place: int, part: DatasetPart) -> Iterator[tuple[int, OfRunT]]:
        return ((place, one) for one in stream(part) if one.run not in part.elsewhere)

    if len(parts) == 1:
        yield from stream(parts[0])
        return
    streams = (number(place, part) for place, part in enumerate(parts))
    merged = heapq.merge(*streams, key=lambda pair: (pair[1].run, pair[0]))
    run = first = None
    for place, one in merged:
        if one.run != run:
            run, first = one.run, place
        if place == first:
            yield one
