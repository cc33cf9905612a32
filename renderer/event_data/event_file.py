"""Events of ROOT files, in bounded chunks: identity, variables, and decisions of the high-level trigger (HLT).

One entry of a tree is one event, except in ntuples of candidates, where an event has as many entries as candidates were
found in it: these are its rows, which stand together. Events are counted, not rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from renderer.event_data.root_file import InputError, LackingError, Tree, explain_damage, find_tree, open_file
from renderer.event_data.trigger_results import Decisions, MissingLines, need_results

IDENTITY = ("experiment", "run", "event")

OBJECTS = ("EventMetaData/m_experiment", "EventMetaData/m_run", "EventMetaData/m_event")
"""The branches of the identity where basf2 stores its objects: mdst, cdst, dst …"""

_LAYOUTS = (OBJECTS, ("__experiment__", "__run__", "__event__"), IDENTITY)
_CANDIDATE, _CANDIDATES = "__candidate__", "__ncandidates__"

# Their types in basf2 `framework/dataobjects/include/EventMetaData.h`.
_TYPES = (np.dtype(np.int32), np.dtype(np.int32), np.dtype(np.uint32))

_CHUNK_EVENTS = 100_000
_CHUNK_BYTES = 32 << 20
_CLUSTER_BYTES = 128 << 20
"""Baskets of all branches that end together are read at once up to this size, since a part takes as long as all of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file, from entry `start` on.

    `columns` holds experiment, run, event and the variables that were asked for, one number per row; `decisions` are
    those of the HLT lines that were asked for. `begins` marks the rows with which an event begins; the others are further
    candidates of the event before them, whose first rows may be in the chunk before.
    """

    start: int
    columns: dict[str, NDArray[np.generic]]
    decisions: Decisions
    begins: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.begins)

    @property
    def events(self) -> int:
        """How many events begin here."""
        return int(self.begins.sum())


class EventFile:
    """A file of events, open: its tree, which entries are events, and what it holds of them.

    `tree` is the tree, `identity` the branches of experiment, run and event, empty in a tree without entries that does
    not have them; `candidates` are the branches that tell the rows of an event apart, as far as they are there.
    """

    def __init__(self, path: Path, name: str, tree: str | None) -> None:
        self.name = name
        self._opened = ExitStack()
        with explain_damage(name), ExitStack() as opened:
            file = opened.enter_context(open_file(path, name))
            self.compression: int = file.file.fCompress
            self.tree = Tree(find_tree(file, name, tree), name)
            self.identity = self._find_identity()
            keys = self.tree.keys
            self.candidates = tuple(key for key in (_CANDIDATE, _CANDIDATES) if key in keys)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def entries(self) -> int:
        """How many rows it has."""
        return self.tree.entries

    @property
    def holds_objects(self) -> bool:
        """Whether its entries are objects of basf2."""
        return self.identity == OBJECTS or (not self.identity and "EventMetaData" in self.tree.keys)

    def _find_identity(self) -> tuple[str, ...]:
        for layout in _LAYOUTS:
            if all(branch in self.tree.keys for branch in layout):
                return layout
        if not self.entries:
            return ()
        layouts = "; or ".join(", ".join(layout) for layout in _LAYOUTS)
        raise LackingError(
            f"{self.tree.label} does not say which events it holds: it needs the branches {layouts}"
        )

    def read_chunks(
        self,
        variables: Sequence[str] = (),
        decisions: Sequence[tuple[str, str]] = (),
        beside: Iterable[Any] = (),
    ) -> Iterator[Chunk]:
        """The events in file order, some 100,000 rows or 32 MB at a time of what is read here and of the branches `beside`.

        Where the branches' baskets end together, so do the chunks, as long as these stay below 128 MB.

        Raises:
            LackingError: the file lacks a branch or a line.
            InputError: the file is damaged, or a number is none of an experiment, run or event.
        """
        with explain_damage(self.name):
            if self.entries:
                yield from self._read_chunks(variables, decisions, tuple(beside))

    def _read_chunks(
        self, variables: Sequence[str], decisions: Sequence[tuple[str, str]], beside: tuple[Any, ...]
    ) -> Iterator[Chunk]:
        tree = self.tree
        identity = [tree.find_scalar(branch) for branch in self.identity]
        columns = {name: tree.find_scalar(name) for name in variables if name not in IDENTITY}
        candidate = tree.find_scalar(_CANDIDATE) if _CANDIDATE in self.candidates else None
        rows = _CandidateRows()
        results = need_results(tree, decisions) if decisions else None
        missing = MissingLines(tree, (line for line, _ in decisions))
        stored = results.branches if results is not None else ()
        read = {id(branch): branch for branch in (*identity, *columns.values(), *stored, *beside)}
        for start, stop in self._divide([*read.values()]):
            values = {
                name: self._read_number(branch, kind, start, stop)
                for name, branch, kind in zip(IDENTITY, identity, _TYPES, strict=True)
            }
            values |= {name: tree.read(branch, start, stop, "np") for name, branch in columns.items()}
            begins = np.ones(stop - start, np.bool_)
            if candidate is not None:
                places = tree.read(candidate, start, stop, "np").astype(np.float64)
                begins = rows.find_begins(values["event"], places)
            decided = results.read(start, stop, decisions) if results is not None else Decisions()
            missing.note(decided, stop - start)
            yield Chunk(start, values, decided, begins)
        missing.check()

    def _divide(self, branches: Sequence[Any]) -> Iterator[tuple[int, int]]:
        """Ranges of entries to read at once."""
        size = max(1, sum(branch.uncompressed_bytes for branch in branches))
        step = max(1, min(_CHUNK_EVENTS, _CHUNK_BYTES * self.entries // size))
        longest = _CLUSTER_BYTES * self.entries // size
        ends = _find_common_ends(branches)
        start = 0
        while start < self.entries:
            stop = min(start + step, self.entries)
            place = bisect_right(ends, stop)
            if place and ends[place - 1] > start:
                stop = ends[place - 1]
            elif place < len(ends) and ends[place] - start <= longest:
                stop = ends[place]
            yield start, stop
            start = stop

    def _read_number(self, branch: Any, kind: np.dtype[Any], start: int, stop: int) -> NDArray[np.generic]:
        """Numbers of experiments, runs or events, as integers of their type."""
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
    """Which rows of an ntuple of candidates begin an event, from one range of rows to the next.

    basf2 numbers the candidates of an event from 0 (`analysis/modules/VariablesToNtuple`), and whoever handles its ntuples
    may drop or sort them. An event ends where another follows, and before a candidate that it has already.
    """

    def __init__(self) -> None:
        self._event: int | None = None
        self._seen: set[float] = set()

    def find_begins(self, events: NDArray[np.generic], places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of some rows, one or more, begin an event; `places` are the candidates' numbers."""
        begins = np.ones(len(events), np.bool_)
        begins[1:] = events[1:] != events[:-1]
        begins[0] = events[0] != self._event
        rising = np.ones(len(events), np.bool_)
        rising[1:] = places[1:] > places[:-1]
        rising[0] = not self._seen or places[0] > max(self._seen)
        starts = np.flatnonzero(begins)
        doubtful = np.unique(np.searchsorted(starts, np.flatnonzero(~rising & ~begins), "right"))
        for group in doubtful.tolist():
            first = int(starts[group - 1]) if group else 0
            last = int(starts[group]) if group < len(starts) else len(events)
            seen = set() if group else set(self._seen)
            for row in range(first, last):
                place = float(places[row])
                if place in seen or place != place:  # noqa: PLR0124 -- a NaN numbers no candidate
                    begins[row] = True
                    seen.clear()
                seen.add(place)
        starts = np.flatnonzero(begins)
        left = places[starts[-1] :] if len(starts) else places
        self._event = int(events[-1])
        self._seen = set(left.tolist()) | (set() if len(starts) else self._seen)
        return begins


def _find_common_ends(branches: Iterable[Any]) -> list[int]:
    """The entries before which baskets of all the branches end."""
    common: set[int] | None = None
    for branch in branches:
        ends = set(branch.entry_offsets)
        common = ends if common is None else common & ends
    return sorted(common or ())


def read_events(
    path: Path, name: str, tree: str | None, variables: Iterable[str], decisions: Iterable[tuple[str, str]]
) -> Iterator[Chunk]:
    """The events of a file in file order, none for a file without events.

    Reads only the branches needed, some 100,000 rows or 32 MB at a time. The tree is `tree`, else the one
    named tree, else events, else the only one. Experiment, run and event are found in the layout of basf2's mdst
    (EventMetaData), of its ntuples (`__experiment__` …), or plain. In a file without events nothing but the tree is
    looked for. `name` is what messages call the file.

    Raises:
        LackingError: the file lacks the tree, a branch or a line.
        InputError: the file is missing, damaged or not a ROOT file, or a number is none of an experiment, run or event.
    """
    with EventFile(path, name, tree) as events:
        yield from events.read_chunks(tuple(variables), tuple(decisions))
