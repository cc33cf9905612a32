"""Run lists as they come: tables, JSON, plain lines, certifications. A line that cannot be trusted is refused with its reason."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.catalogue import Run
from reconciler.database import SourceUnavailable
from schemas.runs import RUN_LIMIT, parse_ranges

RUN_TYPES = ("physics", "beam", "cosmic", "debug", "null", "hlttest", "unknown")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "experiment": ("experiment", "exp"),
    "run": ("run",),
    "type": ("type", "run_type"),
    "events": ("events", "n_events"),
    "start": ("start", "time_start"),
    "stop": ("stop", "time_stop"),
}
"""The columns that are read, with their other names in the field's lists."""

Row = tuple[int, Mapping[str, Any]]
BROKEN = "\0broken"
"""Stands in a row for what is wrong with it as a whole."""

RANGE_LIMIT = 1_000_000
"""Runs that one line may list."""

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\+00:00)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not taken: its line or number in the list, and why."""

    row: int
    reason: str


def read_run_list(
    file: Path, experiment: int | None = None, mapping: Mapping[str, str] | None = None
) -> tuple[tuple[Run, ...], tuple[RefusedRow, ...]]:
    """The runs of a list, and the rows that were refused; the form is known by the content.

    - JSON: objects with the columns below, or a certification `{"529": [[1, 40]], …}`;
    - a table with a header, of commas or of blanks;
    - plain lines `experiment,run`, or with `experiment` given run ranges, `529-613, 620`.

    `experiment` is that of a list which does not say so, or says nothing else; `mapping` gives the list's own names of
    columns, `{"run": "RunNumber"}`.

    Raises:
        SourceUnavailable: the file cannot be read, has no such form, or holds no run at all.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        rows = list(_read_rows(text, experiment, mapping or {}))
    except (OSError, ValueError, csv.Error) as error:
        raise SourceUnavailable(f"{file} is no run list: {error}") from error
    runs: dict[tuple[int, int], Run] = {}
    refused: list[RefusedRow] = []
    for number, row in rows:
        try:
            run = _read_run(row, experiment)
        except ValueError as error:
            refused.append(RefusedRow(number, str(error)))
            continue
        key = (run.experiment, run.run)
        if runs.setdefault(key, run) != run:
            refused.append(
                RefusedRow(number, f"run {run.experiment}:{run.run} was listed before, differently")
            )
    if not runs:
        raise SourceUnavailable(f"{file} holds no run that can be read{_quote(refused)}; nothing was changed")
    return tuple(runs.values()), tuple(refused)


def _read_rows(text: str, experiment: int | None, mapping: Mapping[str, str]) -> Iterable[Row]:
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if first.lstrip().startswith(("[", "{")):
        return _rename(_read_json(text, experiment), mapping)
    if not re.search("[A-Za-z]", first):
        return _read_plain(text, experiment)
    rows = _read_table(text, experiment, mapping)
    return _rename(rows, mapping)


def _rename(rows: Iterable[Row], mapping: Mapping[str, str]) -> Iterable[Row]:
    own = {theirs.strip().lower(): ours for ours, theirs in mapping.items()}
    for number, row in rows:
        yield number, {own.get(key.lower(), key): value for key, value in row.items()}


def _read_table(text: str, experiment: int | None, mapping: Mapping[str, str]) -> Iterable[Row]:
    every = text.splitlines()
    skipped = next(place for place, line in enumerate(every) if line.strip() and not line.startswith("#"))
    lines = every[skipped:]
    if "," in lines[0]:
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader((" ".join(line.split()) for line in lines), delimiter=" ", strict=True)
    header = [name.strip().lower() for name in next(reader)]
    for ours in ("run",) if experiment is not None else ("experiment", "run"):
        if mapping.get(ours, "").strip().lower() not in header and not {*COLUMNS[ours]}.intersection(header):
            raise ValueError(f"its header has no column `{ours}`")
    for cells in reader:
        if cells and len(cells) != len(header):
            yield skipped + reader.line_num, {BROKEN: f"{len(cells)} columns instead of {len(header)}"}
        elif cells:
            yield skipped + reader.line_num, dict(zip(header, cells, strict=True))


def _read_plain(text: str, experiment: int | None) -> Iterable[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip().strip(",")
        if not words:
            continue
        if experiment is None:
            found = words.split(",")
            if len(found) == 2:
                yield number, {"experiment": found[0], "run": found[1]}
            else:
                yield number, {BROKEN: f"{words!r} is no `experiment,run`; for runs of one, say which"}
            continue
        ranges, problems = parse_ranges(words)
        for problem in problems:
            yield number, {BROKEN: f"{problem.message}; {problem.hint}"}
        if sum(map(len, ranges)) > RANGE_LIMIT:
            yield number, {BROKEN: f"{words!r} is more than {RANGE_LIMIT:,} runs"}
        elif not problems:
            for item in ranges:
                for run in range(item.first, item.last + 1):
                    yield number, {"run": run}


def _read_json(text: str, experiment: int | None) -> Iterable[Row]:
    try:
        rows = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(rows, dict) and rows and all(re.fullmatch("[0-9]+", key, re.ASCII) for key in rows):
        if experiment is None:
            raise ValueError("a certification lists runs without their experiment; say which")
        return enumerate(({"run": key} for key in rows), 1)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a list of objects")
    return enumerate(rows, 1)


def _read_run(row: Mapping[str, Any], declared: int | None) -> Run:
    if BROKEN in row:
        raise ValueError(row[BROKEN])
    values = {name: _find(row, names) for name, names in COLUMNS.items()}
    kind = str(values["type"] or "unknown").strip().lower()
    if kind not in RUN_TYPES:
        raise ValueError(f"run type {kind!r} is none of {', '.join(RUN_TYPES)}")
    experiment, run = _read_number(values["experiment"]), _read_number(values["run"])
    if declared is not None:
        if experiment not in (None, declared):
            raise ValueError(f"the run is of experiment {experiment}, the list was said to be of {declared}")
        experiment = declared
    if experiment is None or run is None:
        raise ValueError("experiment or run is missing")
    if experiment > 9999 or run > RUN_LIMIT:
        raise ValueError(f"no such run can exist: {experiment}:{run}")
    start, stop = _read_time(values["start"]), _read_time(values["stop"])
    if start and stop and stop < start:
        raise ValueError(f"it stops ({stop}) before it starts ({start})")
    return Run(experiment, run, kind, _read_number(values["events"]), start, stop)


def _find(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _read_number(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,18}", str(value).strip(), re.ASCII):
        raise ValueError(f"{value!r} is no count")
    return int(value)


def _read_time(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is no time; write it as in 2019-01-05T12:00:00Z")
    return text[:19].replace(" ", "T") + "Z"


def _quote(refused: list[RefusedRow]) -> str:
    return f" (row {refused[0].row}: {refused[0].reason})" if refused else ""
