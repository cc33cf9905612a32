"""Fills a histogram for each quantity of a job, in chunks, and writes them as a ROOT file of TH1D and as JSON.

Contents are numbers of entries, which doubles add exactly: the chunks in which events are read make no difference. Titles are
no part of what determines an output, so a histogram has its expression as title.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boost_histogram
import numpy as np
import uproot
from numpy.typing import NDArray

from renderer.event_data.event_file import ERROR_FLAG, Chunk, EventFile, open_events
from renderer.event_data.event_numbers import EventNumbers
from renderer.event_data.quantity_branches import QuantityBranches, QuantityColumn, read_column
from renderer.event_data.root_file import InputError, explain_damage
from renderer.histograms.task import HistogramTask
from renderer.skims.cut_evaluation import calculate
from renderer.skims.task import SkimInput
from schemas.files.canonical import canonical_json
from schemas.manifest.step import HISTOGRAMS
from schemas.skims.quantity import EVENT, Quantity


@dataclass(slots=True)
class _Filled:
    """A quantity and its histogram so far."""

    quantity: Quantity
    histogram: Any


class HistogramFiller:
    """Reads the inputs of a job once, and writes its files; `parts` maps the name of a file to where it is written."""

    def __init__(self, task: HistogramTask, folder: Path, parts: Mapping[str, Path]) -> None:
        self.numbers = EventNumbers(f"{task.experiment}:{task.run}")
        self._task = task
        self._folder = folder
        self._parts = parts
        self._filled = [_Filled(quantity, _make_histogram(quantity)) for quantity in task.quantities]
        self._events = 0
        self._rows = 0
        self._flagged: int | None = 0  # None: a file does not tell

    def fill(self) -> dict[str, Any]:
        """Reads the inputs and writes the files; returns `events_read`, `rows_read`, `record` and `outputs` of the report.

        Raises:
            InputError: an input cannot be used, or does not have its registered number of events.
            RepeatedEventsError: an event occurs twice.
            OSError: the files cannot be written.
        """
        for given in self._task.inputs:
            self._read(given)
        for file, part in self._parts.items():
            if file.endswith(".json"):
                part.write_bytes(canonical_json(self._describe()) + b"\n")
            else:
                with uproot.recreate(part) as written:
                    for one in self._filled:
                        written[one.quantity.name] = one.histogram
        outputs = {file: {"kind": HISTOGRAMS, "events": None} for file in self._parts}
        return {"events_read": self._events, "rows_read": self._rows, "record": {}, "outputs": outputs}

    def _read(self, given: SkimInput) -> None:
        task = self._task
        if task.most is not None and self._events >= task.most:
            return
        left = None if task.most is None else task.most - self._events
        parts: list[NDArray[np.generic]] = []
        events = rows = 0
        with open_events(self._folder / given.path, given.name, task.tree) as file:
            found = [
                QuantityBranches(file.tree, one.quantity).found if file.entries else {}
                for one in self._filled
            ]
            branches = {branch.name: branch for some in found for branch in some.values()}
            flag = file.tree.find_scalar(ERROR_FLAG) if ERROR_FLAG in file.tree.keys else None
            if flag is None and file.entries:
                self._flagged = None
            beside = [*branches.values(), *([] if flag is None else [flag])]
            for chunk in file.read_chunks(beside=beside, most=left):
                chunk.check_run(file.name, task.experiment, task.run)
                self._take(file, chunk, branches, found)
                if flag is not None and self._flagged is not None:
                    self._flagged += _count_flagged(file, chunk, flag)
                parts.append(chunk.columns["event"][chunk.begins])
                events += chunk.events
                rows += len(chunk)
        if task.most is None:
            given.check_events(events, rows)
        self.numbers.add(given.name, parts)
        self._events += events
        self._rows += rows

    def _take(
        self, file: EventFile, chunk: Chunk, branches: Mapping[str, Any], found: list[dict[str, Any]]
    ) -> None:
        """Fills the events of a chunk."""
        with explain_damage(file.name):
            read = {
                name: read_column(file.tree, branch, chunk.start, chunk.start + len(chunk))
                for name, branch in branches.items()
            }
            for one, some in zip(self._filled, found, strict=True):
                columns = {name: read[branch.name] for name, branch in some.items()}
                one.histogram.fill(_list_entries(file.name, one.quantity, columns, chunk))

    def _describe(self) -> dict[str, Any]:
        """The histograms as JSON data. `counts` are the entries of the bins; `below` and `above` those outside of them.

        `error_flagged` is the number of events with an error flag; it is left out where a file does not have this branch.
        """
        task = self._task
        flagged = {} if self._flagged is None else {"error_flagged": self._flagged}
        return {
            "schema": "histograms/1",
            "experiment": task.experiment,
            "run": task.run,
            "events": self._events,
            **flagged,
            "quantities": {one.quantity.name: _describe(one) for one in self._filled},
        }


def _count_flagged(file: EventFile, chunk: Chunk, flag: Any) -> int:
    """The number of events of a chunk that have an error flag."""
    with explain_damage(file.name):
        flags = file.tree.read(flag, chunk.start, chunk.start + len(chunk), "np")
    return int(np.count_nonzero(flags[chunk.begins]))


def _make_histogram(quantity: Quantity) -> Any:
    bins = quantity.bins
    axis = boost_histogram.axis.Regular(bins.number, bins.low, bins.high)
    histogram: Any = boost_histogram.Histogram(axis, storage=boost_histogram.storage.Double())
    described = quantity.describe()
    members = f" of {quantity.of}" if quantity.of else ""
    histogram.title = (
        f"number of {quantity.count}" if quantity.count else f"{described['expression']}{members}"
    )
    return histogram


def _list_entries(
    name: str, quantity: Quantity, columns: Mapping[str, QuantityColumn], chunk: Chunk
) -> NDArray[np.float64]:
    """The entries of a quantity for the events of a chunk.

    Raises:
        InputError: the lists of an event have several lengths.
    """
    if quantity.count is not None:
        column = columns[quantity.count]
        numbers = column.values if column.counts is None else column.counts
        return numbers[chunk.begins].astype(np.float64)
    assert quantity.formula is not None
    counts = next((one.counts for one in columns.values() if one.counts is not None), None)
    if counts is None:
        values = calculate(quantity.formula, {key: one.values for key, one in columns.items()}, len(chunk))
        return values[chunk.begins] if quantity.per == EVENT else values
    spread = {}
    for key, one in columns.items():
        if one.counts is not None and not np.array_equal(one.counts, counts):
            entry = chunk.start + int(np.argmax(one.counts != counts))
            said = f"the lists that {quantity.name} needs have several lengths"
            raise InputError(f"{name}, entry {entry}: {said}")
        spread[key] = one.values if one.counts is not None else np.repeat(one.values, counts)
    return calculate(quantity.formula, spread, int(counts.sum()))


def _describe(one: _Filled) -> dict[str, Any]:
    contents = [int(number) for number in one.histogram.values(flow=True)]
    below, *counts, above = contents
    return {**one.quantity.describe(), "below": below, "counts": counts, "above": above}
