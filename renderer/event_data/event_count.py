"""What a file of events holds: how many events, of which run, and which stand there more than once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderer.event_data.event_file import IDENTITY, Chunk, EventFile
from renderer.event_data.root_file import InputError, Tree
from renderer.event_data.sroot_file import read_sroot
from renderer.event_data.sroot_parts import read_part
from renderer.event_data.trigger_results import StoredResults, describe_tree
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
    counter = _Counter()
    if read_part(name) is not None:
        for chunk in read_sroot(path, name):
            counter.add(chunk)
        return EventCount(counter.rows, counter.rows, tuple(sorted(counter.runs)))
    with EventFile(path, name, tree) as file:
        for chunk in file.read_chunks():
            counter.add(chunk)
        return counter.end(_describe(file.tree), candidates=bool(file.candidates))


def _describe(tree: Tree) -> StoredResults | None:
    try:
        return describe_tree(tree)
    except InputError:
        return None


class _Counter:
    def __init__(self) -> None:
        self.rows = 0
        self.runs: set[int] = set()
        self.parts: list[NDArray[np.uint32]] = []

    def add(self, chunk: Chunk) -> None:
        """Counts the rows of a chunk."""
        experiment, run, event = (chunk.columns[name] for name in IDENTITY)
        self.rows += len(chunk)
        for found in np.unique(experiment.astype(np.int64) << 32 | run.astype(np.int64)).tolist():
            if len(self.runs) < _RUNS:
                self.runs.add(found)
        self.parts.append(event[chunk.begins].astype(np.uint32))

    def end(self, results: StoredResults | None, *, candidates: bool) -> EventCount:
        """What came of it."""
        runs = tuple(sorted(self.runs))
        found = np.concatenate([np.zeros(0, np.uint32), *self.parts])
        self.parts.clear()
        if len(runs) > 1:  # equal numbers are different events
            return EventCount(len(found), self.rows, runs, results=results)
        found.sort()
        repeated = np.unique(found[1:][found[1:] == found[:-1]])
        events = len(found) - int(np.count_nonzero(found[1:] == found[:-1]))
        example = int(repeated[0]) if len(repeated) else None
        return EventCount(events, self.rows, runs, len(repeated), example, results, candidates)


def tell_repeated(count: EventCount) -> str | None:
    """What is wrong with a file in which events stand more than once; None where none does."""
    if not count.repeated:
        return None
    (run,) = count.runs
    number = "1 event stands" if count.repeated == 1 else f"{count.repeated:,} events stand"
    example = f"{format_run(run)}:{count.example}"
    hint = "; the rows of an event stand together, each with another candidate" if count.candidates else ""
    return f"{number} in it more than once, as {example} does: its {count.rows:,} rows are {count.events:,} events{hint}"
