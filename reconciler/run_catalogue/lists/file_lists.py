"""Lists of files, from a folder or a table: the files, and the values that are stated for each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from reconciler.model.run import LEVELS, STORAGES
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.lists.json_lists import is_json, read_objects
from reconciler.run_catalogue.lists.records import Columns, Row, read_table
from reconciler.run_catalogue.lists.run_lists import KEY, RefusedRow
from reconciler.run_catalogue.lists.values import is_blank, read_checksum, read_count, read_label, read_path
from renderer.event_data.sroot_parts import read_part
from schemas.files.text import decode_text
from schemas.manifest.dataset import DATASET_FORM, DATASET_LENGTH, parse_dataset
from schemas.manifest.runs import EXPERIMENT_LIMIT, RUN_LIMIT

_STATED = ("level", "name", "size", "checksum", "events", "storage", "replica_of", "simulated", "dataset")
COLUMNS: Mapping[str, tuple[str, ...]] = {"path": ("path",), **KEY, **{name: (name,) for name in _STATED}}
"""The columns of a list of files, with all their names. Only `path` is required; missing values are read from the file.

`replica_of` is the path or name of the file of which this is another place. `simulated` is yes or no. `dataset` is the
dataset that the file belongs to.
"""


@dataclass(frozen=True, slots=True)
class StatedFile:
    """The values that a source states of one file; None if it does not state them. `path` is as written there.

    For a row of a list, `line` is its line or its number there, and `text` the row; else `line` is 0.
    """

    path: str
    name: str
    experiment: int | None = None
    run: int | None = None
    level: str | None = None
    size: int | None = None
    checksum: str | None = None
    events: int | None = None
    storage: str = "disk"
    replica_of: str | None = None
    line: int = 0
    text: str = ""
    simulated: bool | None = None
    dataset: str | None = None


def is_event_file(name: str) -> bool:
    """Whether a file with this name holds events: a ROOT file, or raw data in the sequential format of the DAQ."""
    return name.endswith(".root") or read_part(name) is not None


def list_event_files(folder: Path) -> list[Path]:
    """The sorted paths of all event files below a folder. Symbolic links to folders are followed; no folder is read twice.

    Raises:
        OSError: a folder below cannot be listed, so the result would be incomplete.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        linked: list[str] = []
        for start in waiting:
            for here, folders, names in os.walk(start, onerror=_raise):
                status = os.stat(here)
                if (status.st_dev, status.st_ino) in seen:
                    folders.clear()
                    continue
                seen.add((status.st_dev, status.st_ino))
                linked += [path for name in folders if os.path.islink(path := os.path.join(here, name))]
                found += [Path(here, name) for name in names if is_event_file(name)]
        waiting = linked  # linked folders come last, so a file keeps its own path
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def find_files(source: Path, separator: str | None = None) -> list[StatedFile | RefusedRow]:
    """The files of a source: all event files below a folder, one such file, or the rows of a list.

    A list is a JSON list of objects, or a table. `separator` is a value of `SEPARATORS`; None means that the header tells it.

    Raises:
        SourceUnavailable: the source cannot be read to its end, or names no file.
    """
    try:
        if source.is_dir():
            found = [_name_file(path) for path in list_event_files(source)]
        elif is_event_file(source.name):
            found = [_name_file(source)]
        else:
            found = list(_read_list(source, separator))
    except (OSError, ValueError) as error:
        raise SourceUnavailable(f"{source} is not a list of files: {error}; nothing was changed") from error
    if not found:
        hint = "a list has a column `path`, a folder holds files .root, .sroot, .sroot-1 …"
        raise SourceUnavailable(f"{source} names no file; {hint}")
    return found


def _name_file(path: Path) -> StatedFile | RefusedRow:
    try:
        read_path("path", str(path), 4096)
        read_path("name", path.name, 255)
    except ValueError as error:
        return RefusedRow(0, str(path), str(error))
    return StatedFile(str(path), path.name)


def _read_list(source: Path, separator: str | None) -> Iterator[StatedFile | RefusedRow]:
    if not source.is_file():
        raise ValueError("it is not a plain file")
    text = decode_text(source.read_bytes())
    if is_json(text):
        rows = read_objects(text)
    else:
        rows = read_table(text, {"path": COLUMNS["path"]}, COLUMNS, separator, comments=False)
    columns = Columns(COLUMNS)
    return (_judge(columns, row) for row in rows)


def _judge(columns: Columns, row: Row) -> StatedFile | RefusedRow:
    try:
        path, experiment, run, *stated = columns.take(row)
        level, name, size, checksum, events, storage, of, simulated, dataset = stated
        where = read_path("path", path, 4096)
        if where is None:
            raise ValueError("path is missing")  # noqa: TRY301 -- refused like the other errors
        called = read_path("name", PurePath(where).name if is_blank(name) else name, 255)
        if called in (None, ".", "..") or "/" in called:
            raise ValueError(f"{called or where!r} is the name of no file")  # noqa: TRY301 -- as above
        return StatedFile(
            where,
            called,
            read_count("experiment", experiment, EXPERIMENT_LIMIT),
            read_count("run", run, RUN_LIMIT),
            read_label("level", level, LEVELS),
            read_count("size", size),
            read_checksum(checksum),
            read_count("events", events),
            read_label("storage", storage, STORAGES) or "disk",
            read_path("replica_of", of, 4096),
            row.line,
            row.text,
            _read_simulated(simulated),
            _read_dataset(dataset),
        )
    except ValueError as error:
        return RefusedRow(row.line, row.text, str(error))


def _read_dataset(value: object) -> str | None:
    text = read_path("dataset", value, DATASET_LENGTH)
    return None if text is None else read_dataset(text)


def read_dataset(text: str) -> str:
    """The name of a dataset to which files can belong.

    Raises:
        ValueError: it is not a name, or that of a step or of an edition.
    """
    name = parse_dataset(text)
    if name.edition is not None or not (name.output or name.is_held):
        raise ValueError(f"{text} is not a dataset that files can be added to: write {DATASET_FORM}")
    return text


def _read_simulated(value: object) -> bool | None:
    if isinstance(value, bool):  # in JSON
        return value
    said = read_label("simulated", value, ("yes", "no", "true", "false"))
    return None if said is None else said in ("yes", "true")
