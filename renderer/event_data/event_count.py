"""What a file of events holds: how many events, of which run, and which stand there more than once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderer.event_data.event_file import IDENTITY, Chunk, open_events
from renderer.event_data.root_file import InputError
from renderer.event_data.sroot_file import read_sroot
from renderer.event_data.sroot_parts import read_part
from renderer.event_data.trigger_results import StoredResults, describe_results
from schemas.manifest.runs import format_run

_RUNS = 100
"""Runs that are told apart; whoever reads files of one run needs no more."""


@dataclass(frozen=True, slots=True)
class EventCount:
    """What was counted: `events` are distinct ones, `rows` what the file has of them.

    `runs` are the keys of the runs that the events are of, at most 100, sorted. `repeated` events stand there more than
    once, `example` is the number of one; in an ntuple of candidates those with one candidate twice, or whose rows do not
    stand together, and in the DAQ's format none, since there each record counts. `candidates` says
    that it is such an ntuple. `results` are those of the HLT, None where the file is of a format
    without them or stores them in a way that is not known.
    """

    events: int
    rows: int
    runs: tuple[int, ...]
    repeated: int = 0
    example: int | None = None
    results: StoredResults | None = None
    candidates: bool = False


def count_events(path: Path, name: str, tree: str | None = None) -> EventCount:
    """Counts the events of a ROOT file, or of one in the DAQ's sequential format, as its name says.

    Takes 8 bytes of memory for each event while it sorts them. `name` is what messages call the file, `tree` as in
    `read_events`.

    Raises:
        InputError: the file is missing, cut short or damaged, lacks the tree or what says which events these are, or
            has numbers of them that are none.
    """
    if read_part(name) is not None:
        rows, runs, _ = _gather(read_sroot(path, name))
        return EventCount(rows, rows, runs)
    with open_events(path, name, tree) as file:
        rows, runs, numbers = _gather(file.read_chunks())
        candidates = bool(file.candidates)
        try:
            results = describe_results(file.tree)
        except InputError:
            results = None
    if len(runs) > 1:  # equal numbers are different events
        return EventCount(len(numbers), rows, runs, results=results)
    numbers.sort()
    again = numbers[1:][numbers[1:] == numbers[:-1]]
    repeated = np.unique(again)
    example = int(repeated[0]) if len(repeated) else None
    return EventCount(len(numbers) - len(again), rows, runs, len(repeated), example, results, candidates)


def _gather(chunks: Iterable[Chunk]) -> tuple[int, tuple[int, ...], NDArray[np.uint32]]:
    """How many rows there are, the runs that they are of, and the numbers of the events that begin in them."""
    rows = 0
    runs: set[int] = set()
    parts = [np.zeros(0, np.uint32)]
    for chunk in chunks:
        experiment, run, event = (chunk.columns[name] for name in IDENTITY)
        rows += len(chunk)
        found = {*np.unique(experiment.astype(np.int64) << 32 | run.astype(np.int64)).tolist()}
        runs.update(sorted(found - runs)[: _RUNS - len(runs)])
        parts.append(event[chunk.begins].astype(np.uint32))
    return rows, tuple(sorted(runs)), np.concatenate(parts)


def tell_repeated(count: EventCount) -> str | None:
    """What is wrong with a file in which events stand more than once; None where none does."""
    if not count.repeated:
        return None
    (run,) = count.runs
    number = "1 event stands" if count.repeated == 1 else f"{count.repeated:,} events stand"
    example = f"{format_run(run)}:{count.example}"
    hint = "; the rows of an event stand together, each with another candidate" if count.candidates else ""
    return f"{number} in it more than once, as {example} does: its {count.rows:,} rows are {count.events:,} events{hint}"
