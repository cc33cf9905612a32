"""The embedded application `uproot`: skims of ROOT files by a cut or by a stored decision of the HLT.

    python -m renderer.skimming JOB.json

Runs in the folder of its attempt. An output holds the accepted events: all branches of their tree that can be written, or
those that the job keeps. Where the entries are objects of basf2, which only basf2 writes, it is an event list.
application.json comes last and by rename, so whoever sees it sees all outputs. Inputs are read in the order given. They
must hold as many events as are registered, all of the job's run, and each event once. Where there are more outputs than
files may be open at once, the inputs are read again for each so many.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from renderer.event_data.event_numbers import RECORD, RepeatedEventsError, write_record
from renderer.event_data.root_file import InputError, LackingError
from renderer.skims.outputs import Skimmer
from renderer.skims.task import SkimError, Task, read_task

REPORT = "application.json"

_SPARE = 32
"""Files that are open beside the outputs: the input, the streams, what libraries hold."""

_FAILED = 1
_USAGE = 3


def skim(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Do the job in `folder`, write its outputs and application.json there, and return what that file says.

    The report has `outputs`, `events_read`, `rows_read`, `record` (what else is worth knowing), and `failure`: None, or
    class and message. For each file, `outputs` has its `kind`, events or event list; `events`, the number accepted, and
    `rows`, more than these where a row is a candidate; and `runs`, rows of experiment, run, processed, accepted. The class
    of a failure is `input` if an input cannot be used, `permanent` if the job itself is wrong or events are there twice,
    `infrastructure` if the folder cannot be written. A branch or line that an input lacks is `permanent`, and of the scope
    `step`: the step's other jobs look for it too. After a failure no outputs are left.

    Raises:
        OSError: application.json cannot be written.
    """
    for name in (REPORT, RECORD):
        (folder / name).unlink(missing_ok=True)
    report: dict[str, Any] = {"outputs": {}, "events_read": 0, "failure": None}
    try:
        task = read_task(job)
        for described in _write_outputs(task, folder):
            report |= _join(report, described)
    except SkimError as failure:
        report["failure"] = failure.describe()
    _write_file(folder / REPORT, json.dumps(report, indent=1, sort_keys=True).encode())
    return report


def _write_outputs(task: Task, folder: Path) -> list[dict[str, Any]]:
    """Writes the outputs: what each pass over the inputs says of those that it wrote."""
    parts = {selection.file: folder / f"{selection.file}.part" for selection in task.selections}
    described = []
    try:
        for group in _divide_outputs(task):
            skimmer = Skimmer(group, folder, parts)
            described.append(skimmer.skim())
        for file, part in parts.items():
            os.replace(part, folder / file)
        _write_file(folder / RECORD, write_record(skimmer.numbers.files))
    except LackingError as error:
        raise SkimError(str(error), scope="step") from error
    except InputError as error:
        raise SkimError(str(error), "input") from error
    except RepeatedEventsError as error:
        raise SkimError(str(error)) from error
    except OSError as error:
        message = f"the outputs cannot be written: {error.strerror or error}"
        raise SkimError(message, "infrastructure") from error
    else:
        return described
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _divide_outputs(task: Task) -> Iterator[Task]:
    """The task in as many as must be done one after another, since each output is an open file."""
    most = max(1, _allow_files(len(task.selections) + _SPARE) - _SPARE)
    for start in range(0, len(task.selections), most):
        yield replace(task, selections=task.selections[start : start + most])


def _allow_files(wanted: int) -> int:
    """How many files this process may have open: as many as are wanted, where the machine lets it have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return soft


def _join(report: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """What a further pass over the same inputs says, beside what is known: other outputs, and what is worth a record."""
    record = {key: dict(told) for key, told in report.get("record", {}).items()}
    for key, told in described["record"].items():
        record.setdefault(key, {}).update(told)
    return {**described, "outputs": {**report["outputs"], **described["outputs"]}, "record": record}


def _write_file(file: Path, content: bytes) -> None:
    """Writes a file so that whoever sees it sees all of it."""
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)


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
