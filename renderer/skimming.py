"""The embedded application `uproot`: skims of ROOT files by a cut or by a stored decision of the HLT.

    python -m renderer.skimming JOB.json

Runs in the folder of its attempt. Every output is a ROOT file with a tree `events`: experiment, run, event, and the
variables that its cut uses, or the decision of its line. application.json comes last and by rename, so whoever sees it
sees all outputs. Inputs are read in the order given; an event that is in several of them is counted each time, since
only the catalogue of files knows which of two equal events is the wrong one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from renderer.event_file import (
    BEFORE_PRESCALE,
    FINAL,
    IDENTITY,
    Chunk,
    InputError,
    LackingError,
    read_events,
)
from renderer.selection import select
from schemas.cut import Cut, CutSyntaxError, parse_cut

REPORT = "application.json"
TREE = "events"

_FAILED = 1
_USAGE = 3
_IDENTITY_TYPES = {"experiment": np.int32, "run": np.int32, "event": np.int64}


class _SkimError(Exception):
    """Why the job failed: its class and scope, as job results have them, and a text."""

    def __init__(self, kind: str, message: str, scope: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.scope = scope

    def describe(self) -> dict[str, str]:
        """The failure as the report has it."""
        scope = {} if self.scope is None else {"scope": self.scope}
        return {"class": self.kind, "message": str(self), **scope}


@dataclass(frozen=True, slots=True)
class _Selection:
    """What one output keeps: the events of a cut, or those that a line accepts (`line` is name and decision)."""

    file: str
    cut: Cut | None = None
    line: tuple[str, str] | None = None

    @property
    def branches(self) -> dict[str, type]:
        types: dict[str, type] = dict(_IDENTITY_TYPES)
        for name in self.cut.variables if self.cut else ():
            types.setdefault(name, np.float64)
        return types | ({"decision": np.int8} if self.line else {})


@dataclass(frozen=True, slots=True)
class _Task:
    experiment: int
    run: int
    tree: str | None
    inputs: tuple[tuple[str, str], ...]
    selections: tuple[_Selection, ...]


@dataclass(slots=True)
class _Tally:
    read: int = 0
    accepted: dict[str, int] = field(default_factory=dict)


def skim(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Do the job in `folder`, write its outputs and application.json there, and return what that file says.

    The report has `outputs` (for each file: `events`, the number accepted, and `runs`, rows of experiment, run,
    processed, accepted), `events_read`, and `failure`: None, or class and message. The class is `input` if an input
    cannot be used, `permanent` if the job itself is wrong, `infrastructure` if the folder cannot be written. A branch or
    line that an input lacks is `permanent`, and of the scope `step`: the step's other jobs look for it too. After a
    failure no outputs are left.

    Raises:
        OSError: application.json cannot be written.
    """
    (folder / REPORT).unlink(missing_ok=True)
    report: dict[str, Any] = {"outputs": {}, "events_read": 0, "failure": None}
    try:
        task = _read_task(job)
        tally = _write_outputs(task, folder)
        report["events_read"] = tally.read
        for file, accepted in tally.accepted.items():
            runs = [[task.experiment, task.run, tally.read, accepted]]
            report["outputs"][file] = {"events": accepted, "runs": runs}
    except _SkimError as failure:
        report["failure"] = failure.describe()
    _write_report(report, folder)
    return report


def _write_outputs(task: _Task, folder: Path) -> _Tally:
    parts = {selection.file: folder / f"{selection.file}.part" for selection in task.selections}
    try:
        tally = _fill(task, folder, parts)
        for file, part in parts.items():
            os.replace(part, folder / file)
    except LackingError as error:
        raise _SkimError("permanent", str(error), "step") from error
    except InputError as error:
        raise _SkimError("input", str(error)) from error
    except OSError as error:
        message = f"the outputs cannot be written: {error.strerror or error}"
        raise _SkimError("infrastructure", message) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return tally


def _fill(task: _Task, folder: Path, parts: Mapping[str, Path]) -> _Tally:
    tally = _Tally(accepted=dict.fromkeys(parts, 0))
    variables = {name for item in task.selections if item.cut for name in item.cut.variables}
    lines = dict.fromkeys(item.line for item in task.selections if item.line)
    with ExitStack() as opened:
        trees = {
            item.file: opened.enter_context(uproot.recreate(parts[item.file])).mktree(TREE, item.branches)
            for item in task.selections
        }
        for name, path in task.inputs:
            for chunk in read_events(folder / path, name, task.tree, sorted(variables), lines):
                _check_run(task, name, chunk)
                tally.read += len(chunk)
                for item in task.selections:
                    kept = _keep(item, chunk)
                    accepted = len(kept["event"])
                    tally.accepted[item.file] += accepted
                    if accepted:
                        trees[item.file].extend(kept)
    return tally


def _keep(selection: _Selection, chunk: Chunk) -> dict[str, Any]:
    """The branches of the events that the selection accepts."""
    values: dict[str, Any] = dict(chunk.columns)
    if selection.cut is not None:
        mask = select(selection.cut, chunk.columns)
    else:
        assert selection.line is not None
        values["decision"] = chunk.decisions.values[selection.line]
        mask = values["decision"] == 1
    return {name: values[name][mask].astype(kind) for name, kind in selection.branches.items()}


def _check_run(task: _Task, name: str, chunk: Chunk) -> None:
    experiment, run, event = (chunk.columns[column] for column in IDENTITY)
    strange = (experiment != task.experiment) | (run != task.run)
    if strange.any():
        first = int(np.argmax(strange))
        raise _SkimError(
            "input",
            f"{name}: event {event[first]} belongs to {experiment[first]}:{run[first]}, "
            f"the job is for {task.experiment}:{task.run}",
        )


# -- the job


def _read_task(job: Mapping[str, Any]) -> _Task:
    parameters = _take(job, "parameters", Mapping) if "parameters" in job else {}
    inputs = tuple(_read_input(item) for item in _take(job, "inputs", list))
    skims = _take(job, "skims", Mapping)
    selections = tuple(_read_output(item, skims) for item in _take(job, "outputs", list))
    if not inputs or not selections:
        raise _SkimError("permanent", f"the job has no {'outputs' if inputs else 'inputs'}")
    files = [selection.file for selection in selections]
    twice = sorted({file for file in files if files.count(file) > 1})
    if twice:
        raise _SkimError("permanent", f"the job writes {twice[0]} twice")
    tree = _take(parameters, "tree", str) if parameters.get("tree") is not None else None
    return _Task(_take(job, "experiment", int), _take(job, "run", int), tree, inputs, selections)


def _take(data: Any, key: str, kind: type) -> Any:
    value = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _SkimError("permanent", f"the job needs `{key}`, {_KINDS[kind]}, not {value!r:.60}")
    return value


_KINDS = {str: "a text", int: "an integer", list: "a list", Mapping: "a map"}


def _read_input(item: Any) -> tuple[str, str]:
    path = _take(item, "path", str)
    return (_take(item, "name", str) if "name" in item else path, path)


def _read_output(item: Any, skims: Mapping[str, Any]) -> _Selection:
    file, name = _take(item, "file", str), _take(item, "skim", str)
    if os.path.basename(file) != file or not file.endswith(".root") or file.startswith("."):
        raise _SkimError("permanent", f"output file {file!r} is not a plain name that ends in .root")
    if name not in skims:
        raise _SkimError(
            "permanent", f"output {file} asks for skim {name}; the job defines {', '.join(skims)}"
        )
    definition = skims[name]
    if not isinstance(definition, Mapping) or ("cut" in definition) == ("line" in definition):
        raise _SkimError("permanent", f"skim {name} needs either `cut` or `line`")
    if "line" in definition:
        return _Selection(file, line=_read_line(name, definition))
    try:
        return _Selection(file, cut=parse_cut(_take(definition, "cut", str)))
    except CutSyntaxError as error:
        raise _SkimError("permanent", f"the cut of skim {name} does not parse: {error}") from error


def _read_line(name: str, data: Mapping[str, Any]) -> tuple[str, str]:
    line, decision = _take(data, "line", str), data.get("decision", FINAL)
    if decision not in {FINAL, BEFORE_PRESCALE}:
        raise _SkimError(
            "permanent", f"skim {name}: decision is `{FINAL}` or `{BEFORE_PRESCALE}`, not {decision!r:.60}"
        )
    if decision == BEFORE_PRESCALE and line.endswith("&total_result"):
        raise _SkimError(
            "permanent", f"skim {name}: {line} exists only after the prescale; write `decision: {FINAL}`"
        )
    return line, decision


# -- the report


def _write_report(report: Mapping[str, Any], folder: Path) -> None:
    part = folder / f"{REPORT}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / REPORT)


def main(arguments: list[str]) -> int:
    """The exit status: 0 done, 1 failed (application.json says why), 3 called wrongly."""
    if len(arguments) != 1:
        print("usage: python -m renderer.skimming JOB.json", file=sys.stderr)
        return _USAGE
    try:
        try:
            job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            job = None
            print(f"{arguments[0]} cannot be read: {error}", file=sys.stderr)
        failure = skim(job if isinstance(job, Mapping) else {}, Path.cwd())["failure"]
    except OSError as error:
        print(f"{REPORT} cannot be written: {error.strerror or error}", file=sys.stderr)
        return _FAILED
    if failure:
        print(failure["message"], file=sys.stderr)
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
