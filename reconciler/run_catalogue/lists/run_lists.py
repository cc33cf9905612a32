"""Run lists in several forms: tables, JSON, plain lines, certifications. An unreliable row is refused with the reason."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from reconciler.ledger.schema.rows import without_collection
from reconciler.model.run import ENERGIES, QUALITIES, RUN_TYPES, Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.lists.columns import read_counts, read_each, read_times
from reconciler.run_catalogue.lists.json_lists import is_json, read_certification, read_objects
from reconciler.run_catalogue.lists.records import Block, Columns, Row, read_blocks, read_lines
from reconciler.run_catalogue.lists.values import read_count, read_label, read_time
from schemas.files.text import decode_text
from schemas.manifest.runs import (
    EXPERIMENT_LIMIT,
    RUN_LIMIT,
    format_run,
    parse_ranges,
    run_key,
    split_key,
    split_keys,
)

KEY: Mapping[str, tuple[str, ...]] = {"experiment": ("experiment", "exp"), "run": ("run",)}
"""The columns that identify a run in every list, with all names that the field's lists use."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    **KEY,
    "type": ("type", "run_type"),
    "events": ("events", "n_events"),
    "start": ("start", "time_start"),
    "stop": ("stop", "time_stop"),
    "energy": ("energy", "beam_energy"),
    "quality": ("quality",),
    "files": ("files", "n_files"),
}
"""The columns of a list of runs, with their other names."""

RANGE_LIMIT = 1_000_000
"""The largest number of runs in one line."""

FILES_LIMIT = 2**31 - 1
"""The largest number of RAW files of one run."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused row: its line or number in the list, its text, the reason, and the key of its run, if that is certain."""

    line: int
    text: str
    reason: str
    run: int | None = None


class RunListing(Protocol):
    """A source that lists runs. `experiment` is that of all its runs, or None if each row states it."""

    name: str
    experiment: int | None
    total: int | None
    """The number of rows, if it is known before reading."""

    def read(self) -> Iterator[Row | Block]:
        """Its rows, in blocks where it has them, in the columns of `COLUMNS`.

        Raises:
            SourceUnavailable: the source cannot be read to its end.
        """


class RunList:
    """A list of runs in a file, in one of three forms that the content determines.

    - JSON: objects with the columns of `COLUMNS`, or a certification `{"529": [[1, 40]], …}`;
    - a table with a header; `separator` is a value of `SEPARATORS`, and None means that the header tells it;
    - plain lines `experiment,run`, or run ranges `529-613, 620` if `experiment` is given.

    `mapping` gives the list's own names of columns, `{"run": "RunNumber"}`.

    Raises:
        SourceUnavailable: the file cannot be read.
    """

    def __init__(
        self,
        file: Path,
        experiment: int | None = None,
        mapping: Mapping[str, str] | None = None,
        separator: str | None = None,
    ) -> None:
        self.name = file.name
        self.experiment = experiment
        self._file, self._separator = file, separator
        self._mapping = {ours: theirs.strip().lower() for ours, theirs in (mapping or {}).items()}
        try:
            self._text = decode_text(file.read_bytes())
        except (OSError, ValueError) as error:
            raise SourceUnavailable(f"{file} is not a run list: {error}; nothing was changed") from error
        self.total: int | None = self._text.count("\n")

    def read(self) -> Iterator[Row | Block]:
        """The rows of the list, in blocks where it is a table of plain rows.

        Raises:
            SourceUnavailable: it has none of the forms.
        """
        try:
            yield from self._read()
        except ValueError as error:
            what = f"{self._file} is not a run list: {error}"
            raise SourceUnavailable(f"{what}; nothing was changed") from error

    def _read(self) -> Iterator[Row | Block]:
        text = self._text
        if is_json(text):
            if text.lstrip()[0] == "[":
                return self._rename(read_objects(text))
            if self.experiment is None:
                raise ValueError("a certification lists runs without their experiment; say which")
            return read_certification(text)
        lines = (line.partition("#")[0] for _, _, line in read_lines(text))
        first = next((line for line in lines if line.strip()), "")
        if not any(map(str.isalpha, first)):
            return _read_plain(text, self.experiment)
        needed: dict[str, tuple[str, ...]] = {theirs: (theirs,) for theirs in self._mapping.values()}
        asked = ("run",) if self.experiment is not None else KEY
        needed |= {ours: KEY[ours] for ours in asked if ours not in self._mapping}
        return self._rename(read_blocks(text, needed, COLUMNS, self._separator))

    def _rename(self, rows: Iterator[Row | Block]) -> Iterator[Row | Block]:
        """The rows with our column names in place of the list's own. Other columns with one of these names are ignored."""
        if not self._mapping:
            return rows
        own = {theirs: ours for ours, theirs in self._mapping.items()}
        hidden = {name for ours in self._mapping for name in COLUMNS.get(ours, (ours,))}

        @cache
        def rename(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(own.get(name, "" if name in hidden else name) for name in names)

        return (row._replace(names=rename(row.names)) for row in rows)


def collect_runs(
    source: RunListing, advance: Callable[[], None] = lambda: None
) -> tuple[tuple[Run, ...], tuple[RefusedRow, ...]]:
    """Returns the runs of a source, and the refused rows. `advance` is called for each row.

    Raises:
        SourceUnavailable: the source cannot be read to its end, or has no run.
    """
    return collect_rows(source, COLUMNS, _read_run, "run", advance, _read_runs)


@without_collection()
def collect_rows(
    source: RunListing,
    names: Mapping[str, tuple[str, ...]],
    read: Callable[[int, Sequence[Any]], T],
    what: str,
    advance: Callable[[], None],
    read_all: Callable[[Sequence[int], Sequence[Any]], Sequence[T]] | None = None,
) -> tuple[tuple[T, ...], tuple[RefusedRow, ...]]:
    """Returns what `read` makes of each row's run key and values, and the rows for which it raised ValueError.

    `read_all` makes the same of the keys and columns of a whole block, or raises ValueError: then its rows are read one by
    one, and each wrong one is refused with its reason.

    `names` maps columns to their names, those of `KEY` first. `advance` is called for each row. If a run is listed twice with
    different values, the second row is refused. `what` names the listed things.

    Raises:
        SourceUnavailable: the source cannot be read to its end, or has nothing that can be read.
    """
    columns = Columns(names)
    found: dict[int, T] = {}
    refused: list[RefusedRow] = []
    for row in _list_rows(source, columns, found, read_all, advance):
        advance()
        key = None
        try:
            values = columns.take(row)
            key = read_key(values[0], values[1], source.experiment)
            one = read(key, values)
            before = found.setdefault(key, one)
            if before is not one and before != one:
                raise ValueError(f"run {format_run(key)} was listed before, differently")  # noqa: TRY301 -- refused below
        except ValueError as error:
            refused.append(RefusedRow(row.line, row.text, str(error), key))
    if not found:
        first = f" (line {refused[0].line}: {refused[0].reason})" if refused else ""
        why = f"{source.name} holds no {what} that can be read{first}, so it is not a {what} list"
        raise SourceUnavailable(f"{why}; nothing was changed")
    return tuple(found.values()), tuple(refused)


def _list_rows(
    source: RunListing,
    columns: Columns,
    found: dict[int, T],
    read_all: Callable[[Sequence[int], Sequence[Any]], Sequence[T]] | None,
    advance: Callable[[], None],
) -> Iterator[Row]:
    """The rows of a source that must be read one by one. Those of the other blocks are added to `found`."""
    for part in source.read():
        if isinstance(part, Row):
            yield part
            continue
        cells = columns.take_block(part) if read_all is not None else None
        if cells is not None and read_all is not None:
            try:
                keys = _read_keys(cells[0], cells[1], source.experiment)
                if len({*keys}) == len(keys) and found.keys().isdisjoint(keys):
                    found.update(zip(keys, read_all(keys, cells), strict=True))
                    for _ in keys:
                        advance()
                    continue
            except ValueError:
                pass
        yield from part.list_rows()


def _read_keys(experiments: Sequence[str] | None, runs: Sequence[str], declared: int | None) -> list[int]:
    """The keys of a block's runs, as `read_key` reads them."""
    if experiments is None:
        experiments = ("",) * len(runs)
    first = read_each(experiments, lambda experiment: read_key(experiment, 0, declared))
    numbers = read_counts("run", runs, RUN_LIMIT)
    if None in numbers:
        raise ValueError("a run is missing")
    return [*map(operator.or_, first, numbers)]


def read_key(experiment: Any, run: Any, declared: int | None) -> int:
    """The key of a row's run. `declared` is the experiment of the whole list, if it was given.

    Raises:
        ValueError: the values are not those of a possible run, or of another experiment.
    """
    experiment = read_count("experiment", experiment, EXPERIMENT_LIMIT)
    run = read_count("run", run, RUN_LIMIT)
    if declared is not None:
        if experiment not in (None, declared):
            raise ValueError(f"the run is of experiment {experiment}, the list was said to be of {declared}")
        experiment = declared
    if experiment is None or run is None:
        raise ValueError("experiment or run is missing")
    return run_key(experiment, run)


def _read_plain(text: str, experiment: int | None) -> Iterator[Row]:
    for number, _, line in read_lines(text):
        words = line.partition("#")[0].strip().strip(",")
        if not words:
            continue
        if experiment is None:
            found = [word.strip().strip('"') for word in re.split(r"[,;|\t]", words)]
            found = words.split() if len(found) == 1 else found
            flaw = (
                None if len(found) == 2 else f"{words!r} is not `experiment,run`; for runs of one, say which"
            )
            yield Row(number, ("experiment", "run"), found, flaw, line)
            continue
        ranges, problems = parse_ranges(words)
        flaws = [f"{problem.message}; {problem.hint}" for problem in problems]
        if sum(map(len, ranges)) > RANGE_LIMIT:
            flaws.append(f"{words[:80]!r} is more than {RANGE_LIMIT:,} runs")
        for flaw in flaws:
            yield Row(number, ("run",), (), flaw, line)
        for item in ranges if not flaws else ():
            for run in range(item.first, item.last + 1):
                yield Row(number, ("run",), (run,), None, line)


def _read_kind(value: Any) -> str:
    return read_label("run type", value, RUN_TYPES) or "unknown"


def _read_run(key: int, values: Sequence[Any]) -> Run:
    _, _, kind, events, start, stop, energy, quality, files = values
    start, stop = read_time("start", start), read_time("stop", stop)
    if start and stop and stop < start:
        raise ValueError(f"it stops ({stop}) before it starts ({start})")
    return Run(
        *split_key(key),
        _read_kind(kind),
        read_count("events", events),
        start,
        stop,
        read_label("beam energy", energy, ENERGIES),
        read_label("quality", quality, QUALITIES),
        read_count("files", files, FILES_LIMIT),
    )


def _read_runs(keys: Sequence[int], columns: Sequence[Any]) -> Sequence[Run]:
    """The runs of a block; the same as `_read_run` for each of its rows, which says what is wrong."""
    _, _, kinds, events, starts, stops, energies, qualities, files = columns
    nothing = (None,) * len(keys)
    starts = nothing if starts is None else read_times("start", starts)
    stops = nothing if stops is None else read_times("stop", stops)
    if any(start and stop and stop < start for start, stop in zip(starts, stops, strict=True)):
        raise ValueError("a run stops before it starts")
    values = (
        *split_keys(keys),
        ("unknown",) * len(keys) if kinds is None else read_each(kinds, _read_kind),
        nothing if events is None else read_counts("events", events),
        starts,
        stops,
        nothing if energies is None else read_each(energies, lambda one: read_label("", one, ENERGIES)),
        nothing if qualities is None else read_each(qualities, lambda one: read_label("", one, QUALITIES)),
        nothing if files is None else read_counts("files", files, FILES_LIMIT),
    )
    return [*map(Run._make, zip(*values, strict=True))]
