"""Reads a job's inputs one after another, and writes the events that each output accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from renderer.event_data.branches import Form, check_keep, describe_form
from renderer.event_data.event_file import IDENTITY, Chunk, EventFile, open_events
from renderer.event_data.event_numbers import EventNumbers
from renderer.event_data.root_file import InputError, explain_damage
from renderer.event_data.tree_writer import TreeWriter, read_code, read_column
from renderer.event_data.trigger_results import ACCEPT
from renderer.skims.cut_evaluation import select
from renderer.skims.event_list import EventListWriter
from renderer.skims.task import Selection, Task

EVENTS, EVENT_LIST = "events", "event list"
"""The kinds of outputs."""

_HELD_BYTES = 32 << 20
_SHOWN = 200


@dataclass(slots=True)
class _Output:
    """An open output; `last` is the number of the last accepted event, from 0 over all inputs."""

    selection: Selection
    writer: TreeWriter | EventListWriter | None = None
    events: int = 0
    rows: int = 0
    last: int = -1

    def count(self, accepted: NDArray[np.bool_], numbers: NDArray[np.int64]) -> None:
        """Counts the accepted rows and their events; `numbers` has for each row the number of its event."""
        self.rows += int(accepted.sum())
        events = np.unique(numbers[accepted])
        if len(events):
            self.events += len(events) - (int(events[0]) == self.last)
            self.last = int(events[-1])


class Skimmer:
    """Reads the inputs of a job once, and writes its outputs; `parts` maps the name of an output to its file."""

    def __init__(self, task: Task, folder: Path, parts: Mapping[str, Path]) -> None:
        self.numbers = EventNumbers(f"{task.experiment}:{task.run}")
        self._task = task
        self._folder = folder
        self._parts = parts
        self._outputs = [_Output(selection) for selection in task.selections]
        self._open = ExitStack()
        self._form: Form | None = None  # what is written of an event; None: an event list
        self._first: str | None = None
        self._events = 0
        self._entries = [0] * len(task.inputs)
        self._unstored: Counter[str] = Counter()
        self._empty: list[Form | None] = []

    def skim(self) -> dict[str, Any]:
        """Reads the inputs and writes the outputs; returns `events_read`, `rows_read`, `record` and `outputs` of the report.

        Raises:
            InputError: an input cannot be used, or does not have its registered number of events.
            RepeatedEventsError: an event occurs twice.
            OSError: the outputs cannot be written.
        """
        with self._open:
            for place in range(len(self._task.inputs)):
                self._read(place)
            if self._first is None:
                self._begin(next(iter(self._empty), None))
            for output in self._outputs:
                assert output.writer is not None
                output.writer.finish()
        return self._describe()

    def _read(self, place: int) -> None:
        given, most = self._task.inputs[place], self._task.most
        if most is not None and self._events >= most:
            return
        left = None if most is None else most - self._events
        with open_events(self._folder / given.path, given.name, self._task.tree) as file:
            form = self._find_form(file)
            if file.entries:
                self._settle(file.name, form)
            else:
                self._empty.append(form)
            parts: list[NDArray[np.generic]] = []
            events = rows = 0
            beside = [column.branch for column in form.columns] if form is not None else []
            for chunk in file.read_chunks(self._task.variables, self._task.lines, beside, left):
                chunk.check_run(file.name, self._task.experiment, self._task.run)
                self._take(place, file, chunk, form, self._events + events)
                parts.append(chunk.columns["event"][chunk.begins])
                events += chunk.events
                rows += len(chunk)
                self._unstored.update(chunk.decisions.unstored)
        if most is None:
            given.check_events(events, rows)
        self.numbers.add(given.name, parts)
        self._events += events
        self._entries[place] = rows

    def _describe(self) -> dict[str, Any]:
        task = self._task
        record: dict[str, Any] = {}
        if self._form is not None:
            for key, found in (("unwritten", self._form.unwritten), ("rewritten", self._form.rewritten)):
                if found:
                    record[key] = {name[:_SHOWN]: said[:_SHOWN] for name, said in found[:_SHOWN]}
                if len(found) > _SHOWN:
                    record[key][f"{len(found) - _SHOWN} others"] = ""
        if unstored := dict(+self._unstored):
            record["unstored"] = unstored
        return {
            "events_read": self._events,
            "rows_read": sum(self._entries),
            "record": record,
            "outputs": {
                output.selection.file: {
                    "kind": EVENT_LIST if self._form is None else EVENTS,
                    "events": output.events,
                    "rows": output.rows,
                    "runs": [[task.experiment, task.run, self._events, output.events]],
                }
                for output in self._outputs
            },
        }

    def _find_form(self, file: EventFile) -> Form | None:
        """The form in which a file's events are written; None if the output is an event list."""
        if file.holds_objects or not (file.entries or file.tree.keys):
            check_keep(file, self._task.keep)
            return None
        with explain_damage(file.name):
            return describe_form(file, self._task.keep)

    def _settle(self, name: str, form: Form | None) -> None:
        """Begins the outputs at the first file with events; later files must have the same form."""
        if self._first is None:
            self._first = name
            self._begin(form)
        elif (form is None) != (self._form is None):
            objects, branches = (name, self._first) if form is None else (self._first, name)
            said = f"{objects} holds objects of basf2, and {branches} numbers"
            raise InputError(f"{said}: one output cannot hold both")
        elif form is not None and self._form is not None:
            self._form.check_same(form)

    def _begin(self, form: Form | None) -> None:
        self._form = form
        inputs = [(one.name, str((self._folder / one.path).absolute())) for one in self._task.inputs]
        for output in self._outputs:
            path = self._parts[output.selection.file]
            if form is not None:
                code = read_code(form.compression)
                file = self._open.enter_context(uproot.recreate(path, compression=code))
                output.writer = TreeWriter(file, form, _HELD_BYTES // len(self._outputs))
            else:
                file = self._open.enter_context(uproot.recreate(path))
                branches = _list_branches(output.selection)
                output.writer = EventListWriter(file, inputs, self._entries, branches)

    def _take(self, place: int, file: EventFile, chunk: Chunk, form: Form | None, before: int) -> None:
        """Writes the accepted events of a chunk; `before` is the number of events before it."""
        # the first rows may belong to the last event of the chunk before
        numbers = before - 1 + np.cumsum(chunk.begins)
        accepted = [_accept(output.selection, chunk) for output in self._outputs]
        for output, mask in zip(self._outputs, accepted, strict=True):
            output.count(mask, numbers)
        wanted = np.flatnonzero(np.logical_or.reduce(accepted))
        if not len(wanted):
            return
        first, end = int(wanted[0]), int(wanted[-1]) + 1
        if form is None:
            for output, mask in zip(self._outputs, accepted, strict=True):
                assert isinstance(output.writer, EventListWriter)
                rows = np.flatnonzero(mask)
                values = _list_values(output.selection, chunk, rows)
                output.writer.extend(place, chunk.start + rows, values)
            return
        kept: list[dict[str, Any]] = [{} for _ in self._outputs]
        for column in form.columns:
            with explain_damage(file.name):
                values = read_column(file.tree, column, chunk.start + first, chunk.start + end)
            for part, mask in zip(kept, accepted, strict=True):
                part[column.name] = values[mask[first:end]]
        for output, part, mask in zip(self._outputs, kept, accepted, strict=True):
            assert isinstance(output.writer, TreeWriter)
            if mask.any():
                output.writer.extend(part)


def _accept(selection: Selection, chunk: Chunk) -> NDArray[np.bool_]:
    """The rows that a selection accepts."""
    if selection.cut is not None:
        return select(selection.cut, chunk.columns)
    assert selection.line is not None
    return np.asarray(chunk.decisions.values[selection.line] == ACCEPT)


def _list_branches(selection: Selection) -> dict[str, np.dtype[Any]]:
    """Branch → type of an event list's deciding values: the variables of the cut, or the decision of the line."""
    if selection.cut is None:
        return {"decision": np.dtype(np.int8)}
    return {name: np.dtype(np.float64) for name in selection.variables if name not in IDENTITY}


def _list_values(selection: Selection, chunk: Chunk, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The values of an event list for some rows of a chunk, by branch."""
    values = {name: chunk.columns[name][rows] for name in (*IDENTITY, *selection.variables)}
    if selection.line is not None:
        values["decision"] = chunk.decisions.values[selection.line][rows]
    return values
