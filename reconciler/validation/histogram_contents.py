"""The histograms of the runs of two datasets, summed over runs while they are read. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.validation.histogram_statistics import Entries, compare_means, compare_shapes
from schemas.files.canonical import digest
from schemas.manifest.runs import format_run
from schemas.skims.quantity import Quantity

MOST_ENTRIES = 2**53
"""The largest number of entries of a bin: those are counted in doubles, which hold each whole number up to it."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """`definition` is what `Quantity.describe` gives; `entries` are those below the bins, of each bin, and above."""

    definition: Mapping[str, Any]
    entries: Entries


@dataclass(frozen=True, slots=True)
class RunHistograms:
    """What is known of the histograms of one run: `found` by quantity, or why they are not known.

    `checksums` are those of the files, as the ledger has them. `flagged` is the number of events with an error flag, None if
    the files do not tell it.
    """

    events: int = 0
    found: Mapping[str, Histogram] = field(default_factory=dict)
    unknown: str = ""
    checksums: tuple[str, ...] = ()
    flagged: int | None = None


@dataclass(frozen=True, slots=True)
class RunColumns:
    """A quantity in single runs of which both sides have entries, one entry of each column for each run.

    `squared`, `freedom`, `shift` and `error` are those of the tests of the run's shape and of its mean.
    """

    runs: NDArray[np.int64]
    entries: NDArray[np.int64]
    against: NDArray[np.int64]
    squared: NDArray[np.float64]
    freedom: NDArray[np.float64]
    shift: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HistogramPair:
    """The histograms of a quantity on both sides, over the run keys `runs` of which both are known.

    `events` are the numbers of events of these runs. `unknown` has the other runs, by the reason. `lost` are runs in which only
    the reference has entries, and `won` those in which only the new side has, each with the number of these entries.
    """

    quantity: Quantity
    runs: tuple[int, ...]
    one: Entries
    other: Entries
    events: tuple[int, int]
    columns: RunColumns
    unknown: Mapping[str, tuple[int, ...]]
    lost: tuple[tuple[int, int], ...]
    won: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class HistogramPairs:
    """The pairs of all quantities. `unknown` has the runs of which a file is not known, by the reason; `digests` are those of the files' checksums.

    `flagged` maps the keys of runs to the numbers of events with an error flag, here and there, where both are known.
    """

    pairs: tuple[HistogramPair, ...]
    unknown: Mapping[str, tuple[int, ...]]
    digests: tuple[str, str]
    flagged: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def parse_histograms(data: Any, experiment: int, run: int) -> RunHistograms:
    """What the JSON data of a file of this run say.

    Raises:
        ValueError: they are not the histograms of this run.
    """
    try:
        if data["schema"] != "histograms/1":
            raise ValueError("it has another schema than histograms/1")
        if (data["experiment"], data["run"]) != (experiment, run):
            raise ValueError(f"it has histograms of the run {data['experiment']}:{data['run']}")
        events, flagged = data["events"], data.get("error_flagged")
        found = {name: _parse_histogram(one) for name, one in data["quantities"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is not a file of histograms") from error
    if type(events) is not int or events < 0:
        raise ValueError("its number of events is not a count")
    if flagged is not None and not (type(flagged) is int and 0 <= flagged <= events):
        raise ValueError("its number of error-flagged events is not a count of some of its events")
    return RunHistograms(events, found, flagged=flagged)


def _parse_histogram(data: Mapping[str, Any]) -> Histogram:
    definition = {key: value for key, value in data.items() if key not in ("below", "counts", "above")}
    entries = [data["below"], *data["counts"], data["above"]]
    if not all(type(one) is int and 0 <= one <= MOST_ENTRIES for one in entries):
        raise ValueError("its contents are not counts")
    if len(entries) != definition["bins"][0] + 2:
        raise ValueError("it has another number of contents than of bins")
    return Histogram(definition, np.array(entries, dtype=np.int64))


def pair_histograms(
    rows: Iterable[tuple[int, RunHistograms, RunHistograms]],
    quantities: Sequence[Quantity],
    names: Sequence[str],
) -> HistogramPairs:
    """Sums the histograms of both sides over runs. `rows` are run key, new side, reference; `names` are those of the sides."""
    sums = [_Sums(one, names) for one in quantities]
    unknown: dict[str, list[int]] = {}
    checksums: tuple[dict[str, Sequence[str]], ...] = ({}, {})
    flagged: dict[int, tuple[int, int]] = {}
    for run, *sides in rows:
        for name, side, listed in zip(names, sides, checksums, strict=True):
            listed[format_run(run)] = [side.unknown, *side.checksums]
            if side.unknown:
                _note(unknown, f"{name}: {side.unknown}", run)
        here, there = (side.flagged for side in sides)
        if here is not None and there is not None:
            flagged[run] = (here, there)
        if not any(side.unknown for side in sides):
            for one in sums:
                one.add(run, sides[0], sides[1])
    grouped = {reason: tuple(runs) for reason, runs in sorted(unknown.items())}
    return HistogramPairs(
        tuple(one.finish() for one in sums), grouped, (digest(checksums[0]), digest(checksums[1])), flagged
    )


def _note(unknown: dict[str, list[int]], reason: str, run: int) -> None:
    """Adds a run to those of a reason, once if both sides are the same dataset."""
    runs = unknown.setdefault(reason, [])
    if run not in runs[-1:]:
        runs.append(run)


class _Sums:
    """The sums of one quantity so far."""

    def __init__(self, quantity: Quantity, names: Sequence[str]) -> None:
        self._quantity, self._names = quantity, names
        self._definition = quantity.describe()
        self._sides = [np.zeros(quantity.bins.number + 2, dtype=np.int64) for _ in names]
        self._events = [0, 0]
        self._runs = array("q")
        self._counted = array("q")  # run, entries, against
        self._tested = array("d")  # squared, freedom, shift, error
        self._unknown: dict[str, list[int]] = {}
        self._alone: list[list[tuple[int, int]]] = [[], []]

    def add(self, run: int, one: RunHistograms, other: RunHistograms) -> None:
        """Adds a run of which the files of both sides were read."""
        found = []
        for name, side in zip(self._names, (one, other), strict=True):
            histogram = side.found.get(self._quantity.name)
            if histogram is None:
                _note(self._unknown, f"{name}: it has no such histogram", run)
            elif histogram.definition != self._definition:
                changed = self._tell_changed(histogram.definition)
                _note(self._unknown, f"{name}: made with {changed} than the criteria's", run)
            else:
                found.append(histogram.entries)
        if len(found) < 2:
            return
        self._runs.append(run)
        for place, (entries, side) in enumerate(zip(found, (one, other), strict=True)):
            self._sides[place] += entries
            self._events[place] += side.events
        totals = [int(entries.sum()) for entries in found]
        if 0 in totals:
            if totals[1]:
                self._alone[0].append((run, totals[1]))
            elif totals[0]:
                self._alone[1].append((run, totals[0]))
            return
        shape = compare_shapes(found[0], found[1])
        self._counted.extend((run, *totals))
        shift = (0.0, 1.0)  # without a mean on both sides
        if found[0][1:-1].any() and found[1][1:-1].any():
            mean = compare_means(found[0], found[1], self._quantity.bins)
            shift = (mean.shift, mean.error)
        self._tested.extend((shape.squared, shape.freedom, *shift))

    def _tell_changed(self, definition: Mapping[str, Any]) -> str:
        keys = definition.keys() | self._definition.keys()
        changed = sorted(key for key in keys if definition.get(key) != self._definition.get(key))
        return f"other {' and '.join(f'`{key}`' for key in changed)}"

    def finish(self) -> HistogramPair:
        """The sums, and the tests of single runs."""
        counted = np.array(self._counted, dtype=np.int64).reshape(-1, 3).T
        tested = np.array(self._tested, dtype=np.float64).reshape(-1, 4).T
        return HistogramPair(
            self._quantity,
            tuple(self._runs),
            self._sides[0],
            self._sides[1],
            (self._events[0], self._events[1]),
            RunColumns(*counted, *tested),
            {reason: tuple(runs) for reason, runs in sorted(self._unknown.items())},
            tuple(self._alone[0]),
            tuple(self._alone[1]),
        )
