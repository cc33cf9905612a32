"""Lists of files, as a folder or somebody else has them: which files there are, and what is stated of each."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from reconciler.ledger.database import SourceUnavailable
from reconciler.runs.catalogue import STORAGES

LISTED = ("path", "experiment", "run", "level", "name", "size", "checksum", "events", "storage")
"""The columns of a list of files; only `path` is needed, what is missing is read from the file."""

_CHECKSUM = re.compile(r"(adler32|crc32|md5|sha1|sha256|sha512):[0-9a-f]{2,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a source states of one file; None: it does not say. `path` is as it is written there."""

    path: str
    name: str
    experiment: int | None = None
    run: int | None = None
    level: str | None = None
    size: int | None = None
    checksum: str | None = None
    events: int | None = None
    storage: str = "disk"


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


def read_statement(row: Mapping[str, Any]) -> Statement:
    """What one row of a list states of a file.

    Raises:
        ValueError: a value is none that its column can have.
    """
    given = {key: row[key] for key in LISTED if row.get(key) not in (None, "")}
    numbers: dict[str, int] = {
        key: _read_number(key, given[key]) for key in ("experiment", "run", "size", "events") if key in given
    }
    storage, checksum = str(given.get("storage", "disk")), given.get("checksum")
    if storage not in STORAGES:
        raise ValueError(f"its storage {storage!r} is none of {', '.join(STORAGES)}")
    if checksum is not None and not _CHECKSUM.fullmatch(str(checksum)):
        raise ValueError(f"its checksum {checksum!r} is not written as in adler32:0a1b2c3d")
    path = str(row["path"])
    return Statement(
        path=path,
        name=str(given.get("name", PurePath(path).name)),
        level=str(given["level"]) if "level" in given else None,
        checksum=None if checksum is None else str(checksum),
        storage=storage,
        **numbers,
    )


def _read_number(key: str, value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ValueError(f"its {key} {value!r} is no count")
    return int(text)
