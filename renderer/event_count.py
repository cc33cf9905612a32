"""What a file of events holds: how many events, of which run, and which stand there more than once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderer.event_file import EventFile
from renderer.root_file import InputError, Tree
from renderer.sroot_file import read_sroot
from renderer.sroot_parts import read_part
from renderer.trigger_results import StoredResults, describe_tree
from schemas.runs import format_run

CANDIDATE = "__candidate__"
"""The branch that numbers the rows of an event in basf2's ntuples, one row a candidate."""

_RUNS = 100
"""Runs that are told apart; whoever reads files of one run needs no more."""


@dataclass(frozen=True, slots=True)
class EventCount:
    """What was counted: `events` are distinct ones, `rows` what the file has of them.

    `runs` are the keys of the runs that the events are of, at most 100, sorted. `repeated` events stand there more than
    once, `example` is the number of one; in an ntuple of candidates those with one candidate twice, and in the DAQ's
    format none, since there each record counts. `results` are those of the HLT, None where the file is of a format
    without them or stores them in a way that is not known.
    """

    events: int
    rows: int
    runs: tuple[int, ...]
    repeated: int = 0
    example: int | None = None
    results: StoredResults | None = None


def count_events(path: Path, name: str, tree: str | None = None) -> EventCount:
    """Counts the events of a ROOT file, or of one in the DAQ's sequential format, as its name says.

    Takes 16 bytes of memory for each row while it sorts them. `name` is what messages call the file, `tree` as in
    `read_events`.

    Raises:
        InputError: the file is missing, cut short or damaged, lacks the tree or what says which events these are, or
            has numbers of them that are none.
    """
    if read_part(name) is not None:
        counter = _Counter(candidates=False)
        for chunk in read_sroot(path, name):
            counter.add(chunk.columns)
        return EventCount(counter.rows, counter.rows, tuple(sorted(counter.runs)))
    with EventFile(path, name, tree) as file:
        candidates = CANDIDATE in file.candidates
        counter = _Counter(candidates=candidates)
        for chunk in file.read_chunks((CANDIDATE,) if candidates else ()):
            counter.add(chunk.columns)
        return counter.end(_describe(file.tree))


def _describe(tree: Tree) -> StoredResults | None:
    try:
        return describe_tree(tree)
    except InputError:
        return None


class _Counter:
    def __init__(self, *, candidates: bool) -> None:
        self.candidates = candidates
        self.rows = 0
        self.runs: set[int] = set()
        self.parts: list[NDArray[np.unsignedinteger]] = []

    def add(self, columns: dict[str, NDArray[np.generic]]) -> None:
        """Counts the rows of a chunk."""
        self.rows += len(columns["event"])
        keys = columns["experiment"].astype(np.int64) << 32 | columns["run"].astype(np.int64)
        for found in np.unique(keys).tolist():
            if len(self.runs) < _RUNS:
                self.runs.add(found)
        events = columns["event"].astype(np.uint32)
        if self.candidates:
            numbers = columns[CANDIDATE].astype(np.uint32)
            self.parts.append(events.astype(np.uint64) << np.uint64(32) | numbers)
        else:
            self.parts.append(events)

    def end(self, results: StoredResults | None) -> EventCount:
        """What came of it."""
        runs = tuple(sorted(self.runs))
        if not self.parts or len(runs) > 1:  # of several runs, equal numbers are different events
            return EventCount(self.rows, self.rows, runs, results=results)
        found = self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)
        self.parts.clear()
        found.sort()
        doubled = found[1:][found[1:] == found[:-1]]
        if self.candidates:
            found, doubled = found >> np.uint64(32), doubled >> np.uint64(32)
        events = int(np.count_nonzero(found[1:] != found[:-1])) + 1
        repeated = np.unique(doubled)
        example = int(repeated[0]) if len(repeated) else None
        return EventCount(events, self.rows, runs, len(repeated), example, results)


def tell_repeated(count: EventCount) -> str | None:
    """What is wrong with a file in which events stand more than once; None where none does."""
    if not count.repeated:
        return None
    (run,) = count.runs
    number = "1 event stands" if count.repeated == 1 else f"{count.repeated:,} events stand"
    example = f"{format_run(run)}:{count.example}"
    return f"{number} in it more than once, as {example} does: its {count.rows:,} rows are {count.events:,} events"
