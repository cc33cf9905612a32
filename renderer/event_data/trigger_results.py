"""Reads the stored results of the high-level trigger (HLT), in both layouts of basf2.

From release 04 on, an event has two results per line, after and before the prescale; earlier, only the one after it.
Source: basf2 `mdst/dataobjects/include/SoftwareTriggerResult.h`, and the rule for versions up to 4 in `linkdef.h`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import awkward
import numpy as np
import uproot
from numpy.typing import NDArray

from renderer.event_data.root_file import InputError, LackingError, Tree, name_nearest
from renderer.event_data.trigger_map import MapError, read_maps

FINAL = "final"
BEFORE_PRESCALE = "before_prescale"
"""The two decisions of a line."""

ACCEPT = 1

_OBJECT = "SoftwareTriggerResult"
_FIRST = ".first"
_AFTER, _BEFORE, _ALONE = ".second.first", ".second.second", ".second"
_DESCRIBED = 1000
_BYTES = uproot.AsJagged(uproot.AsDtype(np.uint8))


class ResultLayout(Enum):
    """Which results a file stores: none, two per line, or only the one after the prescale."""

    NONE = "none"
    BOTH = "after and before the prescale"
    FINAL = "after the prescale only"


@dataclass(frozen=True, slots=True)
class StoredResults:
    """The layout of a file's results, and the names of its lines in their stored order."""

    layout: ResultLayout
    lines: tuple[str, ...]


@dataclass(slots=True)
class Decisions:
    """The decisions of consecutive events.

    `values` maps (line, decision) to one number per event: 1 accept, 0 no result, -1 reject. `unstored` maps each line to
    the number of events that do not store it; their value is 0. `lines` are all lines that any of the events stores.
    """

    values: dict[tuple[str, str], NDArray[np.int8]] = field(default_factory=dict)
    unstored: dict[str, int] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def describe_results(tree: Tree) -> StoredResults:
    """The layout and the lines of a tree's results, from its first 1,000 entries.

    Raises:
        InputError: the way in which they are stored is not known.
    """
    results = find_results(tree)
    if results is None:
        return StoredResults(ResultLayout.NONE, ())
    read = results.read(0, min(_DESCRIBED, tree.entries), ()) if tree.entries else Decisions()
    return StoredResults(results.layout, read.lines)


def find_results(tree: Tree) -> Results | None:
    """The results of a tree; None if it stores none.

    Raises:
        InputError: the way in which they are stored is not known.
    """
    below = {key: key.removeprefix(_OBJECT) for key in tree.keys if key.startswith(_OBJECT)}
    members = {key: rest for key, rest in below.items() if rest[:1] in (".", "/") and "m_results" in rest}
    names = [key for key, rest in members.items() if rest.endswith(_FIRST) and not rest.endswith(_AFTER)]
    if names:
        stem = names[0].removesuffix(_FIRST)
        branches = {end: tree.tree[stem + end] for end in (_AFTER, _BEFORE, _ALONE) if stem + end in members}
        if {_AFTER, _BEFORE} <= branches.keys():
            kinds = {FINAL: branches[_AFTER], BEFORE_PRESCALE: branches[_BEFORE]}
            return SplitResults(tree, tree.tree[names[0]], kinds)
        if _ALONE in branches:
            return SplitResults(tree, tree.tree[names[0]], {FINAL: branches[_ALONE]})
    alone = [key for key in below if not tree.tree[key].branches]
    whole = [key for key in alone if key in members] or [key for key in alone if below[key] in ("", ".")]
    if whole:
        return MappedResults(tree, (tree.tree[whole[0]],))
    if below:
        raise InputError(f"{tree.label} stores HLT results in a way that is not known: {', '.join(below)}")
    return None


def need_results(tree: Tree, decisions: Iterable[tuple[str, str]]) -> Results:
    """The results of a tree; `decisions` are the wanted lines and decisions.

    Raises:
        LackingError: the tree stores no results, or not the wanted ones before the prescale.
        InputError: the way in which they are stored is not known.
    """
    results = find_results(tree)
    if results is None:
        raise LackingError(f"{tree.label} has no branch {_OBJECT}: the file holds no HLT result")
    if results.layout is ResultLayout.FINAL and any(kind == BEFORE_PRESCALE for _, kind in decisions):
        said = f"{tree.label} stores HLT results {ResultLayout.FINAL.value}, as releases before 04 do"
        hint = f"`decision: {BEFORE_PRESCALE}` cannot be read from it; write `decision: {FINAL}`"
        raise LackingError(f"{said}: {hint}")
    return results


def check_lines(name: str, lines: Iterable[str], stored: Collection[str]) -> None:
    """Checks that all `lines` are stored; `name` is the name of the file or tree in messages.

    Raises:
        LackingError: a line is not stored.
    """
    for line in lines:
        if line not in stored:
            raise LackingError(f"{name} has no HLT line `{line}`{name_nearest(line, stored)}")


@dataclass(frozen=True, slots=True)
class SplitResults:
    """Results in separate branches: `names` has the lines, and `kinds` maps each decision to the branch with its numbers."""

    tree: Tree
    names: Any
    kinds: Mapping[str, Any]

    @property
    def layout(self) -> ResultLayout:
        """Which results are stored."""
        return ResultLayout.BOTH if BEFORE_PRESCALE in self.kinds else ResultLayout.FINAL

    @property
    def branches(self) -> tuple[Any, ...]:
        """The branches with the results."""
        return (self.names, *self.kinds.values())

    def read(self, start: int, stop: int, wanted: Sequence[tuple[str, str]]) -> Decisions:
        """The decisions of at least one entry, from `start` to `stop`, without `stop`; `wanted` are pairs (line, decision).

        Raises:
            InputError: the numbers of results and of lines differ, or a branch ends before the tree.
        """
        names = self._read_names(start, stop)
        kinds = dict.fromkeys(kind for _, kind in wanted)
        values = {kind: self.tree.read(self.kinds[kind], start, stop, "ak") for kind in kinds}
        for kind in kinds:
            counts = awkward.num(names)
            if not awkward.all(awkward.num(values[kind]) == (counts if len(counts) > 1 else counts[0])):
                raise InputError(f"{self.tree.label} stores other numbers of HLT results than of lines")
        flat = awkward.to_list(names[0]) if len(names) == 1 else awkward.to_list(awkward.flatten(names))
        found = Decisions(lines=tuple(dict.fromkeys(flat)))
        for line, kind in wanted:
            found.values[line, kind], found.unstored[line] = pick_line(names, values[kind], line)
        return found

    def _read_names(self, start: int, stop: int) -> awkward.Array:
        """The lists of names of the entries; only one list if all entries have the same names.

        Names take long to decode, and most files repeat them in each event, so that their bytes are compared first.
        """
        raw = self.tree.read(self.names, start, stop, "ak", _BYTES)
        lengths = awkward.to_numpy(awkward.num(raw))
        uniform = (lengths == lengths[0]).all() and (awkward.to_numpy(raw) == awkward.to_numpy(raw[0])).all()
        return self.tree.read(self.names, start, start + 1 if uniform else stop, "ak")


def pick_line(names: awkward.Array, values: awkward.Array, line: str) -> tuple[NDArray[np.int8], int]:
    """A tuple: the value of `line` in each event, 0 if it is not stored, and the number of events that do not store it.

    `values` has one list per event; `names` has the lines of these values, one list per event or one list for all.
    """
    hits = names == line
    counts = awkward.to_numpy(awkward.sum(hits, axis=1))
    if len(hits) == 1:
        if not counts[0]:
            return np.zeros(len(values), np.int8), len(values)
        column = values[:, int(awkward.argmax(hits[0]))]
    else:
        column = awkward.sum(awkward.where(hits, values, 0), axis=1)
    return np.asarray(awkward.to_numpy(column).astype(np.int8)), int((counts == 0).sum())


@dataclass(frozen=True, slots=True)
class MappedResults:
    """Results after the prescale, as a map in the bytes of each entry."""

    tree: Tree
    branches: tuple[Any, ...]
    layout = ResultLayout.FINAL

    def read(self, start: int, stop: int, wanted: Sequence[tuple[str, str]]) -> Decisions:
        """The decisions of the entries from `start` to `stop`, without `stop`; `wanted` are pairs (line, decision).

        Raises:
            InputError: the bytes of an entry are not a map of results, or a branch ends before the tree.
        """
        (branch,) = self.branches
        raw = self.tree.read(branch, start, stop, "ak", _BYTES)
        values = {one: np.zeros(stop - start, np.int8) for one in wanted}
        unstored = {line: stop - start for line, _ in wanted}
        lines: dict[str, None] = {}
        try:
            for shape, entries, results in read_maps(raw):
                lines |= dict.fromkeys(shape.lines)
                for line in unstored.keys() & {*shape.lines}:
                    values[line, FINAL][entries] = results[:, shape.lines.index(line)]
                    unstored[line] -= len(entries)
        except MapError as error:
            where = f"{self.tree.label}, branch {branch.name}, entry {start + error.entry}"
            how = f"in a way that is not known ({branch.typename}): {error}"
            raise InputError(f"{where} stores HLT results {how}") from error
        return Decisions(values, unstored, tuple(lines))


Results = SplitResults | MappedResults
"""The stored results of a tree."""
