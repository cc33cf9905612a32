"""Reads events of ROOT files in chunks: experiment, run, event, variables, and decisions of the high-level trigger (HLT).

An entry (a row) of a tree is an event, except in ntuples of candidates: there an event has one row per candidate, one
after another. Events are counted, not rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderer.event_data.root_file import InputError, LackingError, Tree, explain_damage, find_tree, open_file
from renderer.event_data.trigger_results import Decisions, check_lines, need_results

IDENTITY = ("experiment", "run", "event")

OBJECTS = ("EventMetaData/m_experiment", "EventMetaData/m_run", "EventMetaData/m_event")
"""The branches of experiment, run and event in files with objects of basf2: mdst, cdst, dst …"""

ERROR_FLAG = "EventMetaData/m_errorFlag"
"""The branch with the errors of an event, as bits (basf2 `EventMetaData::EventErrorFlag`); 0: none was found."""

_LAYOUTS = (OBJECTS, ("__experiment__", "__run__", "__event__"), IDENTITY)
_CANDIDATE, _CANDIDATES = "__candidate__", "__ncandidates__"

TYPES: tuple[np.dtype[Any], ...] = (np.dtype(np.int32), np.dtype(np.int32), np.dtype(np.uint32))
"""The types of experiment, run and event in basf2 `framework/dataobjects/include/EventMetaData.h`."""

_CHUNK_EVENTS = 100_000
_CHUNK_BYTES = 32 << 20
_CLUSTER_BYTES = 128 << 20
"""Up to this size, baskets that end together are read at once: to read a part of a basket takes as long as all of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file, from entry `start` on.

    `columns` has experiment, run, event and the requested variables, one number per row; `decisions` has those of the
    requested HLT lines. `begins` is true for the first row of an event; an event may begin in the chunk before.
    """

    start: int
    columns: Mapping[str, NDArray[np.generic]]
    begins: NDArray[np.bool_]
    decisions: Decisions = field(default_factory=Decisions)

    def __len__(self) -> int:
        return len(self.begins)

    @property
    def events(self) -> int:
        """The number of events that begin in this chunk."""
        return int(self.begins.sum())

    def check_run(self, name: str, experiment: int, run: int) -> None:
        """Ensures that all events are of one run; `name` is the file's name in messages.

        Raises:
            InputError: an event is of another run.
        """
        experiments, runs, events = (self.columns[column] for column in IDENTITY)
        strange = (experiments != experiment) | (runs != run)
        if strange.any():
            first = int(np.argmax(strange))
            said = f"{name}: event {events[first]} belongs to {experiments[first]}:{runs[first]}"
            raise InputError(f"{said}, the job is for {experiment}:{run}")


class EventFile:
    """An open file of events; `entries` is the number of rows in its `tree`.

    `identity` are the names of the branches of experiment, run and event; it may be empty if the tree has no entries.
    `candidates` are the names of the branches that number candidates, empty if the file is not an ntuple of them.
    """

    def __init__(self, file: Any, name: str, tree: str | None) -> None:
        self.name = name
        self.compression: int = file.file.fCompress
        self.tree = Tree(find_tree(file, name, tree), name)
        self.entries = self.tree.entries
        self.identity = self._find_identity()
        self.candidates = tuple(key for key in (_CANDIDATE, _CANDIDATES) if key in self.tree.keys)

    @property
    def holds_objects(self) -> bool:
        """Whether its entries hold objects of basf2."""
        return self.identity == OBJECTS or (not self.identity and "EventMetaData" in self.tree.keys)

    def _find_identity(self) -> tuple[str, ...]:
        for layout in _LAYOUTS:
            if all(branch in self.tree.keys for branch in layout):
                return layout
        if not self.entries:
            return ()
        layouts = "; or ".join(", ".join(layout) for layout in _LAYOUTS)
        raise LackingError(f"{self.tree.label} does not say which events it holds: it needs {layouts}")

    def read_chunks(
        self,
        variables: Sequence[str] = (),
        decisions: Sequence[tuple[str, str]] = (),
        beside: Iterable[Any] = (),
        most: int | None = None,
    ) -> Iterator[Chunk]:
        """The events in file order, in chunks of about 100,000 rows or 32 MB; `beside` are further branches that count.

        If the branches' baskets end together, chunks end there, up to 128 MB. With `most`, only the first so many events.

        Raises:
            LackingError: the file lacks a branch or a line.
            InputError: the file is damaged, or an experiment, run or event has an impossible number.
        """
        if not self.entries:
            return
        with explain_damage(self.name):
            tree = self.tree
            identity = [tree.find_scalar(branch) for branch in self.identity]
            columns = {name: tree.find_scalar(name) for name in variables if name not in IDENTITY}
            candidate = tree.find_scalar(_CANDIDATE) if _CANDIDATE in self.candidates else None
            rows = _CandidateRows()
            results = need_results(tree, decisions) if decisions else None
            stored = results.branches if results is not None else ()
            lines: dict[str, None] = {}
            read = {id(branch): branch for branch in (*identity, *columns.values(), *stored, *beside)}
            end = self.entries if most is None else self._find_end(most, identity, candidate)
            for start, stop in self._divide([*read.values()], end):
                values = {
                    name: self._read_number(branch, kind, start, stop)
                    for name, branch, kind in zip(IDENTITY, identity, TYPES, strict=True)
                }
                values |= {name: tree.read(branch, start, stop, "np") for name, branch in columns.items()}
                begins = np.ones(stop - start, np.bool_)
                if candidate is not None:
                    places = tree.read(candidate, start, stop, "np").astype(np.float64)
                    begins = rows.find_begins(values["event"], places)
                decided = results.read(start, stop, decisions) if results is not None else Decisions()
                lines |= dict.fromkeys(decided.lines)
                yield Chunk(start, values, begins, decided)
            check_lines(tree.label, (line for line, _ in decisions), lines)

    def _find_end(self, most: int, identity: Sequence[Any], candidate: Any | None) -> int:
        """The number of entries that hold the first `most` events."""
        if candidate is None:
            return min(most, self.entries)
        rows, seen = _CandidateRows(), 0
        _, _, event = identity
        for start, stop in self._divide([event, candidate], self.entries):
            places = self.tree.read(candidate, start, stop, "np").astype(np.float64)
            begins = np.flatnonzero(rows.find_begins(self._read_number(event, TYPES[2], start, stop), places))
            if seen + len(begins) > most:
                return start + int(begins[most - seen])
            seen += len(begins)
        return self.entries

    def _divide(self, branches: Sequence[Any], end: int) -> Iterator[tuple[int, int]]:
        """Ranges of entries before `end` to read at once; they include the first number, and not the second."""
        size = max(1, sum(branch.uncompressed_bytes for branch in branches))
        step = max(1, min(_CHUNK_EVENTS, _CHUNK_BYTES * self.entries // size))
        longest = _CLUSTER_BYTES * self.entries // size
        ends = sorted(set.intersection(*(set(branch.entry_offsets) for branch in branches)))
        start = 0
        while start < end:
            stop = min(start + step, end)
            place = bisect_right(ends, stop)
            if place and ends[place - 1] > start:
                stop = ends[place - 1]
            elif place < len(ends) and ends[place] - start <= longest:
                stop = min(ends[place], end)
            yield start, stop
            start = stop

    def _read_number(self, branch: Any, kind: np.dtype[Any], start: int, stop: int) -> NDArray[np.generic]:
        """Numbers of experiments, runs or events, as integers of type `kind`."""
        found = self.tree.read(branch, start, stop, "np")
        with np.errstate(invalid="ignore"):
            right = (found >= 0) & (found <= np.iinfo(kind).max)
            if found.dtype.kind == "f":
                right &= found == np.floor(found)
        if not right.all():
            place = int(np.argmin(right))
            said = f"{self.tree.label}, entry {start + place}: {branch.name} is {found[place]}"
            raise InputError(f"{said}, which is not a whole number from 0 to {np.iinfo(kind).max}")
        return np.asarray(found.astype(kind))


class _CandidateRows:
    """Finds the rows of an ntuple of candidates that begin an event; calls must be in the order of the rows.

    basf2 numbers the candidates of an event from 0 (`analysis/modules/VariablesToNtuple`); later programs may drop or sort
    them. An event ends before a row with another event number, and before a candidate's number that it already has.
    """

    def __init__(self) -> None:
        self._event: int | None = None
        self._seen: set[float] = set()

    def find_begins(self, events: NDArray[np.generic], places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """One boolean per row: whether it begins an event; `places` are the candidates' numbers."""
        begins = np.zeros(len(events), np.bool_)
        for row, (event, place) in enumerate(zip(events.tolist(), places.tolist(), strict=True)):
            if event != self._event or place in self._seen or place != place:  # noqa: PLR0124 -- true for NaN, which is never a candidate's number
                begins[row] = True
                self._event, self._seen = event, set()
            self._seen.add(place)
        return begins


@contextmanager
def open_events(path: Path, name: str, tree: str | None) -> Iterator[EventFile]:
    """Opens a file of events; `read_events` explains `tree` and `name`.

    Raises:
        LackingError: the file lacks the tree, or the branches of experiment, run and event.
        InputError: the file is missing, damaged or not a ROOT file.
    """
    with ExitStack() as opened:
        with explain_damage(name):
            events = EventFile(opened.enter_context(open_file(path, name)), name, tree)
        yield events


def read_events(
    path: Path, name: str, tree: str | None, variables: Iterable[str], decisions: Iterable[tuple[str, str]]
) -> Iterator[Chunk]:
    """The events of a file in file order, in chunks of about 100,000 rows or 32 MB; no chunk for a file without events.

    The tree is `tree`; if that is None, the tree named `tree`, then `events`, then the only one. Experiment, run and event
    are in branches as in mdst files (EventMetaData), as in basf2's ntuples (`__experiment__` …), or with plain names. A
    file without events needs only the tree. `name` is the file's name in messages.

    Raises:
        LackingError: the file lacks the tree, a branch or a line.
        InputError: the file is missing, damaged or not a ROOT file, or an experiment, run or event has an impossible number.
    """
    with open_events(path, name, tree) as events:
        yield from events.read_chunks(tuple(variables), tuple(decisions))
