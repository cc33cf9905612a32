"""Registering files: what a ROOT file says of itself, or what a list says of files that are not opened."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.ledger.database import SourceUnavailable
from reconciler.runs.catalogue import STORAGES, File
from reconciler.workspace import digest_content
from renderer.event_file import InputError, read_events

LISTED = ("path", "experiment", "run", "level", "name", "size", "checksum", "events", "storage")
"""The columns of a list of files; only `path` is needed, what is missing is read from the file."""

_NAME = re.compile(
    r"(?:physics|beam|cosmic|debug)\.([0-9]{4})\.r?([0-9]{5})(?:\.HLT[0-9]+\.f[0-9]{5})?\.root", re.ASCII
)
"""The names of RAW files: run type, experiment, run; HLT unit and index where a run has several."""

_CHECKSUM = re.compile(r"(adler32|crc32|md5|sha1|sha256|sha512):[0-9a-f]{2,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that was not registered, and why."""

    path: str
    reason: str


def find_files(source: Path) -> list[Mapping[str, Any]]:
    """The files of a source: all ROOT files below a folder, one ROOT file, or the rows of a CSV or JSON list.

    Raises:
        SourceUnavailable: the source cannot be read, or names no file.
    """
    try:
        if source.is_dir():
            found: list[Mapping[str, Any]] = [{"path": str(path)} for path in sorted(source.rglob("*.root"))]
        elif source.suffix == ".root":
            found = [{"path": str(source)}]
        elif source.suffix == ".json":
            found = _read_rows(source.read_text())
        else:
            found = list(csv.DictReader(source.read_text().splitlines(), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise SourceUnavailable(f"{source} cannot be read: {error}") from error
    if not found or not all(isinstance(row, dict) and row.get("path") for row in found):
        raise SourceUnavailable(
            f"{source} names no file; a list has a column `path`, a folder holds .root files"
        )
    return found


def _read_rows(text: str) -> list[Mapping[str, Any]]:
    try:
        rows = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(rows, list):
        raise ValueError("it is not a list of objects")  # noqa: TRY004 -- as any other content that is wrong
    return rows


def read_files(rows: Iterable[Mapping[str, Any]], level: str, beside: Path) -> Iterator[File | RefusedFile]:
    """Each row as a file of the catalogue, or why it is none; relative paths are below `beside`."""
    for row in rows:
        path = Path(os.path.normpath(beside / str(row["path"])))
        try:
            yield _read_file(row, path, level)
        except (InputError, ValueError, OSError) as error:
            yield RefusedFile(str(path), getattr(error, "strerror", None) or str(error))


def _read_file(row: Mapping[str, Any], path: Path, level: str) -> File:
    given = {key: row[key] for key in LISTED if row.get(key) not in (None, "")}
    numbers: dict[str, int] = {
        key: _read_number(key, given[key]) for key in ("experiment", "run", "size", "events") if key in given
    }
    storage, checksum = str(given.get("storage", "disk")), str(given.get("checksum", ""))
    if storage not in STORAGES:
        raise ValueError(f"its storage {storage!r} is none of {', '.join(STORAGES)}")
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise ValueError(f"its checksum {checksum!r} is not written as in adler32:0a1b2c3d")
    named = _NAME.fullmatch(str(given.get("name", path.name)))
    if named is not None:
        numbers = {"experiment": int(named[1]), "run": int(named[2]), **numbers}
    known = {"experiment", "run"} <= numbers.keys()
    if not known or ("events" not in numbers and not (checksum and "size" in numbers)):
        if storage != "disk":
            raise ValueError(
                f"it is on {storage}, so run, size and checksum must be stated: it is not read for them"
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
        level=str(given.get("level", level)),
        name=str(given.get("name", path.name)),
        path=str(path),
        size=numbers["size"] if "size" in numbers else path.stat().st_size,
        checksum=checksum or digest_content(path),
        events=numbers.get("events"),
        storage=storage,
    )


def _read_number(key: str, value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ValueError(f"its {key} {value!r} is no count")
    return int(text)


def _count(path: Path, *, need_run: bool) -> dict[str, int]:
    """Experiment, run and number of events of a file of one run."""
    runs: set[tuple[int, int]] = set()
    events = 0
    for chunk in read_events(path, path.name, None, (), ()):
        events += len(chunk)
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
