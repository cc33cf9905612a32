"""Reads from a job JSON what the application `uproot` needs: run, inputs, and the selection of each output."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from renderer.event_data.root_file import InputError
from renderer.event_data.trigger_results import BEFORE_PRESCALE, FINAL
from schemas.skims.cut import parse_cut
from schemas.skims.cut_error import CutSyntaxError
from schemas.skims.cut_tree import Cut


class SkimError(Exception):
    """The reason why a job failed, with the class and scope of the failure; the class of a wrong job is `permanent`."""

    def __init__(self, message: str, kind: str = "permanent", scope: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.scope = scope

    def describe(self) -> dict[str, str]:
        """The failure in the report: class, message, and scope if there is one."""
        scope = {} if self.scope is None else {"scope": self.scope}
        return {"class": self.kind, "message": str(self), **scope}


@dataclass(frozen=True, slots=True)
class Selection:
    """The events that an output keeps: those of a cut, or those that an HLT line accepts (`line` is name and decision)."""

    file: str
    cut: Cut | None = None
    line: tuple[str, str] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the cut."""
        return tuple(self.cut.variables) if self.cut is not None else ()


@dataclass(frozen=True, slots=True)
class SkimInput:
    """A file to read. `events` is the registered number of events, None if it is not known."""

    name: str
    path: str
    events: int | None = None

    def check_events(self, events: int, rows: int) -> None:
        """Ensures that as many events were read as are registered; `rows` is only told.

        Raises:
            InputError: there were more or fewer.
        """
        if self.events is not None and events != self.events:
            held = f"{events:,} events" + (f" in {rows:,} rows" if rows != events else "")
            raise InputError(f"{self.name} holds {held}, and {self.events:,} are registered")


@dataclass(frozen=True, slots=True)
class Task:
    """A job. `tree` is None if it must be found; outputs keep the branches that match `keep`, all if it is empty.

    `most` is the number of events after which a trial ends; None means that all are read.
    """

    experiment: int
    run: int
    tree: str | None
    inputs: tuple[SkimInput, ...]
    selections: tuple[Selection, ...]
    keep: tuple[str, ...] = ()
    most: int | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of all cuts, sorted."""
        return tuple(sorted({name for item in self.selections for name in item.variables}))

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """The lines of the HLT that are read, each with its decision."""
        return tuple(dict.fromkeys(item.line for item in self.selections if item.line))


def read_task(job: Mapping[str, Any]) -> Task:
    """The task in a job JSON.

    Raises:
        SkimError: the job is wrong.
    """
    tree, inputs = read_source(job)
    skims = take(job, "skims", Mapping)
    selections = tuple(_read_output(item, skims) for item in take(job, "outputs", list))
    if not inputs or not selections:
        raise SkimError(f"the job has no {'outputs' if inputs else 'inputs'}")
    files = [selection.file for selection in selections]
    twice = sorted({file for file in files if files.count(file) > 1})
    if twice:
        raise SkimError(f"the job writes {twice[0]} twice")
    keep = take(job, "keep", list) if "keep" in job else []
    if not all(isinstance(pattern, str) for pattern in keep):
        raise SkimError("the job needs `keep`, a list of texts")
    experiment, run = take(job, "experiment", int), take(job, "run", int)
    most = take(job, "most_events", int) if "most_events" in job else None
    return Task(experiment, run, tree, inputs, selections, tuple(keep), most)


def read_source(job: Mapping[str, Any]) -> tuple[str | None, tuple[SkimInput, ...]]:
    """The tree that a job reads, None if it must be found, and its inputs.

    Raises:
        SkimError: the job is wrong.
    """
    parameters = take(job, "parameters", Mapping) if "parameters" in job else {}
    tree = take(parameters, "tree", str) if parameters.get("tree") is not None else None
    return tree, tuple(_read_input(item) for item in take(job, "inputs", list))


def take(data: Any, key: str, kind: type) -> Any:
    """The value of a key of a job, if it is of a kind: str, int, list or Mapping.

    Raises:
        SkimError: it is of another, or there is none.
    """
    value = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SkimError(f"the job needs `{key}`, {_KINDS[kind]}, not {value!r:.60}")
    return value


_KINDS = {str: "a text", int: "an integer", list: "a list", Mapping: "a map"}


def _read_input(item: Any) -> SkimInput:
    path = take(item, "path", str)
    events = take(item, "events", int) if item.get("events") is not None else None
    return SkimInput(take(item, "name", str) if "name" in item else path, path, events)


def _read_output(item: Any, skims: Mapping[str, Any]) -> Selection:
    file, name = take(item, "file", str), take(item, "skim", str)
    if os.path.basename(file) != file or not file.endswith(".root") or file.startswith("."):
        raise SkimError(f"output file {file!r} is not a plain name that ends in .root")
    if name not in skims:
        raise SkimError(f"output {file} asks for skim {name}; the job defines {', '.join(skims)}")
    definition = skims[name]
    if not isinstance(definition, Mapping) or ("cut" in definition) == ("line" in definition):
        raise SkimError(f"skim {name} needs either `cut` or `line`")
    if "line" in definition:
        return Selection(file, line=_read_line(name, definition))
    try:
        return Selection(file, cut=parse_cut(take(definition, "cut", str)))
    except CutSyntaxError as error:
        raise SkimError(f"the cut of skim {name} does not parse: {error}") from error


def _read_line(name: str, data: Mapping[str, Any]) -> tuple[str, str]:
    line, decision = take(data, "line", str), data.get("decision", FINAL)
    if decision not in {FINAL, BEFORE_PRESCALE}:
        raise SkimError(f"skim {name}: decision is `{FINAL}` or `{BEFORE_PRESCALE}`, not {decision!r:.60}")
    if decision == BEFORE_PRESCALE and line.endswith("&total_result"):
        raise SkimError(f"skim {name}: {line} exists only after the prescale; write `decision: {FINAL}`")
    return line, decision
