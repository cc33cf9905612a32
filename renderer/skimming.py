"""The embedded application `uproot`: skims of ROOT files by a cut or by a stored decision of the HLT, and histograms of them.

    python -m renderer.skimming JOB.json

It runs in the folder of its attempt. An output has the accepted events, with all branches that can be written or with those
that the job keeps. A job with `quantities` fills a histogram for each instead. If the input holds objects of basf2, the output is an event list, since only basf2 can write such objects.
application.json is written last, in one step: when it exists, all outputs are complete. Inputs are read in their order.
They must have the registered number of events, all events must be of the job's run, and each event must occur once. If
the process cannot open all outputs at once, it writes them in groups, and reads the inputs once per group.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Read when numpy is loaded. A skim multiplies no matrices, and a thread for each processor costs CPU time and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from renderer.event_data.event_numbers import RECORD, EventNumbers, RepeatedEventsError, write_record
from renderer.event_data.root_file import InputError, LackingError
from renderer.skims.outputs import Skimmer
from renderer.skims.task import SkimError, Task, read_task

REPORT = "application.json"

_SPARE = 32
"""The number of files that may be open beside the outputs: the input, the streams, files of libraries."""

_FAILED = 1
_USAGE = 3


def skim(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes the outputs of a job and application.json into `folder`; returns the content of that file.

    The content has `outputs`, `events_read` and `failure`; after success also `rows_read` and `record` (remarks). `outputs`
    maps each file to `kind` (events, event list or histograms), `events` (how many are accepted, None for histograms), `rows` (more than `events` if a row
    is a candidate) and `runs` (a list of [experiment, run, events read, events accepted]). `failure` is None, or has
    message and class: `input` if an input cannot be used, `permanent` if the job is wrong or an event occurs twice,
    `infrastructure` if the folder cannot be written. If an input lacks a tree, branch or line, the class is `permanent`,
    with the scope `step`, since all jobs of the step need it. After a failure `outputs` is empty, and no partial file is left.

    Raises:
        OSError: application.json cannot be written.
    """
    for name in (REPORT, RECORD):
        (folder / name).unlink(missing_ok=True)
    report: dict[str, Any] = {"outputs": {}, "events_read": 0, "failure": None}
    try:
        for described in _fill(job, folder) if "quantities" in job else _skim(job, folder):
            report |= _join(report, described)
    except SkimError as failure:
        report["failure"] = failure.describe()
    _write_file(folder / REPORT, json.dumps(report, indent=1, sort_keys=True).encode())
    return report


def _skim(job: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Writes skims; returns the report of each pass over the inputs."""
    task = read_task(job)

    def write(parts: Mapping[str, Path]) -> tuple[list[dict[str, Any]], EventNumbers]:
        described = []
        for group in _divide_outputs(task):
            skimmer = Skimmer(group, folder, parts)
            described.append(skimmer.skim())
        return described, skimmer.numbers

    return _write_outputs([selection.file for selection in task.selections], folder, write)


def _fill(job: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Writes histograms; returns the report of the only pass over the inputs."""
    from renderer.histograms import task as histograms  # noqa: PLC0415 -- a skim needs none of it
    from renderer.histograms.filling import HistogramFiller  # noqa: PLC0415 -- as above

    task = histograms.read_task(job)

    def write(parts: Mapping[str, Path]) -> tuple[list[dict[str, Any]], EventNumbers]:
        filler = HistogramFiller(task, folder, parts)
        return [filler.fill()], filler.numbers

    return _write_outputs(task.files, folder, write)


_Write = Callable[[Mapping[str, Path]], tuple[list[dict[str, Any]], EventNumbers]]
"""From the places of the files to the report of each pass over the inputs, and the numbers of the events."""


def _write_outputs(files: Sequence[str], folder: Path, write: _Write) -> list[dict[str, Any]]:
    """Writes the outputs; returns the report of each pass over the inputs."""
    parts = {file: folder / f"{file}.part" for file in files}
    try:
        described, numbers = write(parts)
        for file, part in parts.items():
            os.replace(part, folder / file)
        _write_file(folder / RECORD, write_record(numbers.files))
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
    """Divides the task into tasks with as many outputs as files may be open."""
    most = max(1, _allow_files(len(task.selections) + _SPARE) - _SPARE)
    for start in range(0, len(task.selections), most):
        yield replace(task, selections=task.selections[start : start + most])


def _allow_files(wanted: int) -> int:
    """Raises the limit of open files to `wanted` if the machine allows it; returns how many may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return soft


def _join(report: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """The report so far, with the outputs and remarks of one more pass over the same inputs."""
    record = {key: dict(told) for key, told in report.get("record", {}).items()}
    for key, told in described["record"].items():
        record.setdefault(key, {}).update(told)
    return {**described, "outputs": {**report["outputs"], **described["outputs"]}, "record": record}


def _write_file(file: Path, content: bytes) -> None:
    """Writes a file beside its place, then renames it, so that nobody reads an incomplete file."""
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
