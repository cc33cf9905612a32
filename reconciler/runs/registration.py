"""Registering files: what a file says of itself, beside what a list states of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.runs.catalogue import File
from reconciler.runs.file_lists import Statement
from reconciler.runs.run_lists import RefusedRow
from reconciler.workspace import digest_content
from renderer.event_file import InputError, read_events

_NAME = re.compile(
    r"(?:physics|beam|cosmic|debug)\.([0-9]{4})\.r?([0-9]{5})(?:\.HLT[0-9]+\.f[0-9]{5})?\.root", re.ASCII
)
"""The names of RAW files: run type, experiment, run; HLT unit and index where a run has several."""


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that was not registered, and why; where a list names it, its line there and its text."""

    path: str
    reason: str
    line: int = 0
    text: str = ""


def read_files(
    rows: Iterable[Statement | RefusedRow], level: str, beside: Path
) -> Iterator[File | RefusedFile]:
    """Each row as a file of the catalogue, or why it is none; relative paths are below `beside`."""
    for row in rows:
        if isinstance(row, RefusedRow):
            yield RefusedFile("", row.reason, row.line, row.text)
            continue
        path = Path(os.path.normpath(beside / row.path))
        try:
            yield _read_file(row, path, level)
        except (InputError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            yield RefusedFile(str(path), reason, row.line, row.text)


def _read_file(stated: Statement, path: Path, level: str) -> File:
    named = _NAME.fullmatch(stated.name)
    numbers = {} if named is None else {"experiment": int(named[1]), "run": int(named[2])}
    listed = {"experiment": stated.experiment, "run": stated.run, "events": stated.events}
    numbers |= {key: value for key, value in listed.items() if value is not None}
    known = {"experiment", "run"} <= numbers.keys()
    if not known or ("events" not in numbers and (stated.checksum is None or stated.size is None)):
        if stated.storage != "disk":
            raise ValueError(
                f"it is on {stated.storage}, so run, size and checksum must be stated: it is not read for them"
            )
        counted = _count(path, need_run=not known)
        found, said = ((one["experiment"], one["run"]) for one in (counted, {**counted, **numbers}))
        if counted["events"] and found != said:
            raise ValueError(
                f"its events are of run {found[0]}:{found[1]}, it is said to be of {said[0]}:{said[1]}"
            )
        numbers = {**counted, **numbers}
    return File(
        experiment=numbers["experiment"],
        run=numbers["run"],
        level=stated.level or level,
        name=stated.name,
        path=str(path),
        size=path.stat().st_size if stated.size is None else stated.size,
        checksum=stated.checksum or digest_content(path),
        events=numbers.get("events"),
        storage=stated.storage,
    )


def _count(path: Path, *, need_run: bool) -> dict[str, int]:
    """Experiment, run and number of events of a file of one run."""
    runs: set[tuple[int, int]] = set()
    events = 0
    for chunk in read_events(path, path.name, None, (), ()):
        events += chunk.events
        runs.update(zip(chunk.columns["experiment"].tolist(), chunk.columns["run"].tolist(), strict=True))
    if need_run and not runs:
        raise ValueError(
            f"{path.name} has no events, so it does not say which run it is of; register it by a list"
        )
    if len(runs) > 1:
        shown = ", ".join(f"{experiment}:{run}" for experiment, run in sorted(runs)[:5])
        raise ValueError(
            f"{path.name} holds events of {len(runs)} runs ({shown} …); a unit reads files of one run"
        )
    experiment, run = next(iter(runs), (0, 0))
    return {"experiment": experiment, "run": run, "events": events}
