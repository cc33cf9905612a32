"""Run lists: CSV or JSON files of runs, as they come. A line that cannot be trusted is refused with its reason."""

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
from schemas.runs import RUN_LIMIT

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

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\+00:00)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not taken: its line or number in the list, and why."""

    row: int
    reason: str


def read_run_list(file: Path) -> tuple[tuple[Run, ...], tuple[RefusedRow, ...]]:
    """The runs of a `.csv` file with a header, or of a `.json` list of objects; and the rows that were refused.

    Raises:
        SourceUnavailable: the file cannot be read, has no such form, or holds no run at all.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        rows = list(_read_json(text) if file.suffix == ".json" else _read_csv(text))
    except (OSError, ValueError) as error:
        raise SourceUnavailable(f"{file} is no run list: {error}") from error
    runs: dict[tuple[int, int], Run] = {}
    refused: list[RefusedRow] = []
    for number, row in rows:
        try:
            run = _read_run(row)
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


def _read_csv(text: str) -> Iterable[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    header = {name.strip().lower() for name in reader.fieldnames or ()}
    for needed in ("experiment", "run"):
        if not header.intersection(COLUMNS[needed]):
            raise ValueError(f"its header has no column `{needed}`")
    for row in reader:
        yield reader.line_num, {str(key).strip().lower(): value for key, value in row.items()}


def _read_json(text: str) -> Iterable[tuple[int, Mapping[str, Any]]]:
    try:
        rows = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a list of objects")
    yield from enumerate(rows, 1)


def _read_run(row: Mapping[str, Any]) -> Run:
    values = {name: _find(row, names) for name, names in COLUMNS.items()}
    kind = str(values["type"] or "unknown").strip().lower()
    if kind not in RUN_TYPES:
        raise ValueError(f"run type {kind!r} is none of {', '.join(RUN_TYPES)}")
    experiment, run = _read_number(values["experiment"]), _read_number(values["run"])
    if experiment is None or run is None:
        raise ValueError("experiment or run is missing")
    if experiment > 9999 or run > RUN_LIMIT:
        raise ValueError(f"no such run can exist: {experiment}:{run}")
    return Run(
        experiment,
        run,
        kind,
        _read_number(values["events"]),
        _read_time(values["start"]),
        _read_time(values["stop"]),
    )


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
