"""Run lists as they come: tables, JSON, plain lines, certifications. A line that cannot be trusted is refused with its reason."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from reconciler.ledger.database import SourceUnavailable
from reconciler.runs.catalogue import ENERGIES, QUALITIES, RUN_TYPES, Run
from schemas.runs import RUN_LIMIT, format_run, parse_ranges, run_key, split_key

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "experiment": ("experiment", "exp"),
    "run": ("run",),
    "type": ("type", "run_type"),
    "events": ("events", "n_events"),
    "start": ("start", "time_start"),
    "stop": ("stop", "time_stop"),
    "energy": ("energy", "beam_energy"),
    "quality": ("quality",),
    "files": ("files", "n_files"),
}
"""The columns that are read, with their other names in the field's lists."""

RANGE_LIMIT = 1_000_000
"""Runs that one line may list."""

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_LABELS = {label.lower(): label for label in (*ENERGIES, *RUN_TYPES, *QUALITIES)}


T = TypeVar("T")


class Row(NamedTuple):
    """One run as a source states it: where in the source, its values by column, or what is wrong with it as a whole."""

    line: int
    values: Mapping[str, Any]
    broken: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not taken: its line or number in the list, its text, why; and the key of its run, if that is sure."""

    line: int
    text: str
    reason: str
    run: int | None = None


class Listing(Protocol):
    """Something that lists runs. `experiment` is that of all its runs, where it does not say so itself."""

    name: str
    experiment: int | None
    total: int | None
    """How many rows there may be, as far as it is known beforehand."""

    def read(self) -> Iterator[Row]:
        """Its rows, in the columns of `COLUMNS`.

        Raises:
            SourceUnavailable: it cannot be read to its end.
        """


class RunList:
    """A list of runs in a file; the form is known by the content.

    - JSON: objects with the columns of `COLUMNS`, or a certification `{"529": [[1, 40]], …}`;
    - a table with a header, of commas or of blanks;
    - plain lines `experiment,run`, or with `experiment` given run ranges, `529-613, 620`.

    `mapping` gives the list's own names of columns, `{"run": "RunNumber"}`.

    Raises:
        SourceUnavailable: the file cannot be read.
    """

    def __init__(
        self, file: Path, experiment: int | None = None, mapping: Mapping[str, str] | None = None
    ) -> None:
        self.name = file.name
        self.experiment = experiment
        self._file, self._mapping = file, mapping or {}
        try:
            self._text = file.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise SourceUnavailable(f"{file} is no run list: {error}") from error
        self.total: int | None = self._text.count("\n")

    def read(self) -> Iterator[Row]:
        """The rows of the list.

        Raises:
            SourceUnavailable: it has none of the forms.
        """
        try:
            yield from self._rename(self._read())
        except ValueError as error:
            raise SourceUnavailable(f"{self._file} is no run list: {error}") from error

    def _read(self) -> Iterator[Row]:
        lines = self._text.splitlines()
        first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
        if first.lstrip().startswith(("[", "{")):
            return _read_json(self._text, self.experiment)
        if not re.search("[A-Za-z]", first):
            return _read_plain(lines, self.experiment)
        return self._read_table(lines)

    def _rename(self, rows: Iterator[Row]) -> Iterator[Row]:
        if not self._mapping:
            return rows
        own = {theirs.strip().lower(): ours for ours, theirs in self._mapping.items()}
        return (
            row._replace(values={own.get(key.lower(), key): value for key, value in row.values.items()})
            for row in rows
        )

    def _read_table(self, lines: list[str]) -> Iterator[Row]:
        begin = next(place for place, line in enumerate(lines) if line.strip() and not line.startswith("#"))
        split: Callable[[str], list[str]] = _split_commas if "," in lines[begin] else str.split
        header = [name.strip().lower() for name in split(lines[begin])]
        for ours in ("run",) if self.experiment is not None else ("experiment", "run"):
            named = self._mapping.get(ours, "").strip().lower()
            if named not in header and not {*COLUMNS[ours]}.intersection(header):
                raise ValueError(f"its header has no column `{ours}`; it has: {', '.join(header)[:200]}")
        for number, line in enumerate(lines[begin + 1 :], begin + 2):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                cells = split(line)
            except csv.Error as error:
                yield Row(number, {}, f"its quotes are wrong: {error}", line)
                continue
            if len(cells) == len(header):
                yield Row(number, dict(zip(header, cells, strict=True)), None, line)
            else:
                yield Row(number, {}, f"{len(cells)} columns instead of {len(header)}", line)


def collect_runs(
    source: Listing, advance: Callable[[], None] = lambda: None
) -> tuple[tuple[Run, ...], tuple[RefusedRow, ...]]:
    """The runs of a source, and the rows that were refused; `advance` is called for each row.

    Raises:
        SourceUnavailable: the source cannot be read to its end, or holds no run at all.
    """
    return collect_rows(source, _read_run, "run", advance)


def collect_rows(
    source: Listing, read: Callable[[int, Mapping[str, Any]], T], what: str, advance: Callable[[], None]
) -> tuple[tuple[T, ...], tuple[RefusedRow, ...]]:
    """What `read` makes of each row's run key and values, and the rows for which it raised ValueError.

    A run that is listed twice with different values is refused the second time. `what` names what is listed.

    Raises:
        SourceUnavailable: the source cannot be read to its end, or holds nothing that can be read.
    """
    found: dict[int, T] = {}
    refused: list[RefusedRow] = []
    for row in source.read():
        advance()
        key = None
        try:
            key = read_key(row, source.experiment)
            one = read(key, row.values)
            if found.setdefault(key, one) != one:
                raise ValueError(f"run {format_run(key)} was listed before, differently")  # noqa: TRY301 -- refused as the rest
        except ValueError as error:
            text = json.dumps(row.values, ensure_ascii=False) if row.text is None else row.text
            refused.append(RefusedRow(row.line, text, str(error), key))
    if not found:
        first = f" (line {refused[0].line}: {refused[0].reason})" if refused else ""
        raise SourceUnavailable(
            f"{source.name} holds no {what} that can be read{first}, so it is no {what} list; nothing was changed"
        )
    return tuple(found.values()), tuple(refused)


def _split_commas(line: str) -> list[str]:
    return next(csv.reader([line], strict=True)) if '"' in line else line.split(",")


def _read_plain(lines: list[str], experiment: int | None) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip().strip(",")
        if not words:
            continue
        if experiment is None:
            found = words.split(",")
            if len(found) == 2:
                yield Row(number, {"experiment": found[0], "run": found[1]}, None, line)
            else:
                yield Row(number, {}, f"{words!r} is no `experiment,run`; for runs of one, say which", line)
            continue
        ranges, problems = parse_ranges(words)
        for problem in problems:
            yield Row(number, {}, f"{problem.message}; {problem.hint}", line)
        if sum(map(len, ranges)) > RANGE_LIMIT:
            yield Row(number, {}, f"{words!r} is more than {RANGE_LIMIT:,} runs", line)
        elif not problems:
            for item in ranges:
                for run in range(item.first, item.last + 1):
                    yield Row(number, {"run": run}, None, line)


def _read_json(text: str, experiment: int | None) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(rows, dict) and rows and all(re.fullmatch("[0-9]+", key, re.ASCII) for key in rows):
        if experiment is None:
            raise ValueError("a certification lists runs without their experiment; say which")
        return (Row(number, {"run": key}) for number, key in enumerate(rows, 1))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a list of objects")
    return (Row(number, row) for number, row in enumerate(rows, 1))


def _read_run(key: int, row: Mapping[str, Any]) -> Run:
    values = {name: find_value(row, names) for name, names in COLUMNS.items()}
    experiment, run = split_key(key)
    start, stop = _read_time(values["start"]), _read_time(values["stop"])
    if start and stop and stop < start:
        raise ValueError(f"it stops ({stop}) before it starts ({start})")
    return Run(
        experiment,
        run,
        _read_label("run type", values["type"], RUN_TYPES) or "unknown",
        _read_number(values["events"]),
        start,
        stop,
        _read_label("beam energy", values["energy"], ENERGIES),
        _read_label("quality", values["quality"], QUALITIES),
        _read_number(values["files"]),
    )


def read_key(row: Row, declared: int | None) -> int:
    """The key of a row's run; `declared` is the experiment that the whole list was said to be of.

    Raises:
        ValueError: the row is broken, or says no run that can exist, or one of another experiment.
    """
    if row.broken is not None:
        raise ValueError(row.broken)
    experiment = _read_number(find_value(row.values, COLUMNS["experiment"]))
    run = _read_number(find_value(row.values, COLUMNS["run"]))
    if declared is not None:
        if experiment not in (None, declared):
            raise ValueError(f"the run is of experiment {experiment}, the list was said to be of {declared}")
        experiment = declared
    if experiment is None or run is None:
        raise ValueError("experiment or run is missing")
    if experiment > 9999 or run > RUN_LIMIT:
        raise ValueError(f"no such run can exist: {experiment}:{run}")
    return run_key(experiment, run)


def find_value(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The value of a column that has several names; None where there is none, or a blank one."""
    for name in names:
        value = row.get(name)
        if value is not None and not (isinstance(value, str) and (not value or value.isspace())):
            return value
    return None


def _read_label(what: str, value: Any, labels: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    label = _LABELS.get(text.lower())
    if label not in labels:
        raise ValueError(f"{what} {text!r} is none of {', '.join(labels)}")
    return label


def _read_number(value: Any) -> int | None:
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ValueError(f"{value!r} is no count")
    return int(text)


def _read_time(value: Any) -> str | None:
    """A time in UTC; one that does not say its zone is."""
    if value is None:
        return None
    text = str(value).strip()
    try:
        time = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
        time = time and (time.astimezone(UTC) if time.tzinfo else time)
    except (ValueError, OverflowError):
        time = None
    if time is None:
        raise ValueError(f"{text!r} is no time; write it as in 2019-01-05T12:00:00Z")
    return f"{time:%Y-%m-%dT%H:%M:%S}Z"
