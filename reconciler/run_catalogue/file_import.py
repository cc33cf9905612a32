"""File import: takes the values of a file from the file itself and from the list that names it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.model.run import LEVELS, File
from reconciler.outside.checksums import digest_content
from reconciler.run_catalogue.file_decision import RefusedFile
from reconciler.run_catalogue.lists.file_lists import StatedFile
from reconciler.run_catalogue.lists.run_lists import RefusedRow
from renderer.event_data.event_count import EventCount, count_events, tell_repeated
from renderer.event_data.file_metadata import FileMetadata, find_metadata
from renderer.event_data.root_file import InputError
from renderer.event_data.sroot_parts import read_part
from renderer.event_data.trigger_results import StoredResults
from schemas.manifest.dataset import hold_level
from schemas.manifest.runs import EXPERIMENT_LIMIT, RUN_LIMIT, format_run, run_key, split_key

SROOT, RAW, NTUPLE = "sroot", "raw", "ntuple"
"""The levels of raw data in the DAQ's sequential format, of raw data in ROOT files, and of ntuples."""
_WITHOUT_METADATA = (SROOT, NTUPLE)
"""Levels whose files have no metadata, or only that of the events from which they were made."""

_NAME = re.compile(
    r"(?:physics|beam|cosmic|debug)\.([0-9]{4})\.r?([0-9]{5})(?:\.HLT[0-9]+\.f[0-9]{5})?"
    r"\.(?:root|sroot(?:-[0-9]+)?(?:\.gz)?)",
    re.ASCII,
)
"""The names of RAW files: run type, experiment, run; HLT unit and index if a run has several files."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that can be registered. `replica_of` names the file of which it is another place, if a list says so.

    `results` are those of the HLT, or None if the file was not read for them. `undeclared` means that its metadata call it
    simulated, as in raw data from before they were declared real.
    """

    file: File
    replica_of: str | None = None
    results: StoredResults | None = None
    undeclared: bool = False


def read_files(
    rows: Iterable[StatedFile | RefusedRow], level: str, beside: Path, dataset: str | None = None
) -> Iterator[FoundFile | RefusedFile]:
    """Each row as a file of the catalogue, or as a refused file with the reason. Relative paths start at `beside`.

    The files are of the data level `level` and belong to `dataset`, unless a row states something else. Raw data belong to
    the detector, and other files without a dataset to nobody yet.

    A file is read if needed values are not stated. A file on disk in the DAQ's sequential format is always read.
    """
    for row in rows:
        if isinstance(row, RefusedRow):
            yield RefusedFile("", row.reason, row.line, row.text)
            continue
        path = Path(os.path.normpath(beside / row.path))
        try:
            found = _read_file(row, path, level, dataset)
        except (InputError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            yield RefusedFile(str(path), reason, row.line, row.text)
            continue
        of = row.replica_of
        if of is not None and os.path.dirname(of):
            found = replace(found, replica_of=os.path.normpath(beside / of))
        yield found


def _read_file(stated: StatedFile, path: Path, level: str, dataset: str | None) -> FoundFile:
    if stated.size == 0:
        raise ValueError("it has 0 bytes, and no file of events has")
    level = _choose_level(stated, level)
    named = _NAME.fullmatch(stated.name)
    numbers = {} if named is None else {"experiment": int(named[1]), "run": int(named[2])}
    listed = {"experiment": stated.experiment, "run": stated.run, "events": stated.events}
    numbers |= {key: value for key, value in listed.items() if value is not None}
    known = {"experiment", "run"} <= numbers.keys()
    whole = stated.checksum is not None and stated.size is not None
    if stated.storage != "disk" and not (known and whole):
        raise ValueError(
            f"it is on {stated.storage}, so state run, size and checksum: it is not read for them"
        )
    enough = known and (whole or "events" in numbers)
    counting = stated.storage == "disk" and (level == SROOT or not enough)
    if (counting or stated.checksum is None) and path.exists() and not path.is_file():
        raise ValueError("it is not a plain file")  # opening a pipe would block
    counted, metadata = None, None
    if counting:
        counted = count_events(path, path.name)
        numbers = {**_judge_count(path, counted, numbers), **numbers}
        metadata = find_metadata(path, path.name) if level not in _WITHOUT_METADATA else None
        if metadata is not None:
            _judge_metadata(metadata, counted)
    if numbers["experiment"] > EXPERIMENT_LIMIT or numbers["run"] > RUN_LIMIT:
        raise ValueError(f"there cannot be a run {numbers['experiment']}:{numbers['run']}")
    size = stated.size
    if size is None or counted is not None:
        size = path.stat().st_size
        if stated.size not in (None, size):
            raise ValueError(f"it has {size:,} bytes, and is said to have {stated.size:,}")
    return FoundFile(
        File(
            experiment=numbers["experiment"],
            run=numbers["run"],
            level=level,
            name=stated.name,
            path=str(path),
            size=size,
            checksum=stated.checksum or digest_content(path),
            events=numbers.get("events"),
            storage=stated.storage,
            simulated=_choose_simulated(stated, metadata, level),
            dataset=_choose_dataset(stated, dataset, level),
        ),
        stated.replica_of,
        counted.results if counted is not None else None,
        metadata is not None and bool(metadata.mc) and metadata.is_undeclared(level),
    )


def _choose_dataset(stated: StatedFile, dataset: str | None, level: str) -> str:
    """The dataset that a file belongs to.

    Raises:
        ValueError: the file has another level than the dataset's name says.
    """
    name = stated.dataset or dataset or hold_level(level)
    last = name.rpartition("/")[2]
    if last in LEVELS and last != level:
        raise ValueError(f"it is of level {level}, and {name} has files of level {last}")
    return name


def _choose_simulated(stated: StatedFile, metadata: FileMetadata | None, level: str) -> bool | None:
    """Whether the events are simulated: as the file says, else as the list says.

    Raises:
        ValueError: file and list contradict each other.
    """
    said = None if metadata is None else metadata.tell_simulated(level)
    if stated.simulated is not None and said is (not stated.simulated):
        mine, theirs = ("simulated", "real") if said else ("real", "simulated")
        raise ValueError(f"it says that its events are {mine}, and the list that they are {theirs}")
    return stated.simulated if said is None else said


def _judge_metadata(metadata: FileMetadata, counted: EventCount) -> None:
    """Ensures that a file holds what its metadata state, since basf2 trusts them.

    Raises:
        ValueError: the metadata state another number of events, or other runs.
    """
    if metadata.events not in (
        counted.rows,
        counted.events,
    ):  # the metadata of an ntuple may count rows or events
        said = f"its metadata state {metadata.events:,} events, and it holds {counted.rows:,}"
        raise ValueError(f"{said}: put such files together with `b2file-merge`, or make it again")
    low, high = metadata.low, metadata.high
    if counted.runs and not low <= split_key(counted.runs[0]) <= split_key(counted.runs[-1]) <= high:
        ends = " to ".join(dict.fromkeys(f"{experiment}:{run}" for experiment, run in (low, high)))
        raise ValueError(f"its metadata state {ends}, and its events are of {format_run(counted.runs[0])}")


def _choose_level(stated: StatedFile, level: str) -> str:
    """The stated level; but raw data in the DAQ's format always have the level `SROOT`."""
    level = stated.level or level
    sequential = read_part(os.path.basename(stated.path)) is not None
    if sequential and level not in (SROOT, RAW):
        raise ValueError(f"it is named as raw data in the DAQ's format, of level `{SROOT}`, not `{level}`")
    if level == SROOT and not sequential:
        raise ValueError(f"files of level `{SROOT}` are named X.sroot, X.sroot-1 … or the same with .gz")
    return SROOT if sequential else level


def _judge_count(path: Path, counted: EventCount, said: Mapping[str, int]) -> dict[str, int]:
    """Returns experiment, run and events as counted in the file.

    Raises:
        ValueError: the file has several runs or repeated events, or other values are stated.
    """
    if len(counted.runs) > 1:
        shown = ", ".join(map(format_run, counted.runs[:5]))
        what = f"{path.name} holds events of {len(counted.runs)} runs ({shown} …)"
        raise ValueError(f"{what}; a unit reads files of one run")
    if not counted.runs and not {"experiment", "run"} <= said.keys():
        what = f"{path.name} has no events, so it does not say which run it is of"
        raise ValueError(f"{what}; register it by a list")
    experiment, run = split_key(counted.runs[0]) if counted.runs else (said["experiment"], said["run"])
    told = run_key(said.get("experiment", experiment), said.get("run", run))
    if told != run_key(experiment, run):
        found = format_run(counted.runs[0])
        raise ValueError(f"its events are of run {found}, it is said to be of {format_run(told)}")
    if (repeated := tell_repeated(counted)) is not None:
        raise ValueError(repeated)
    if said.get("events", counted.events) != counted.events:
        raise ValueError(f"it holds {counted.events:,} events, and is said to hold {said['events']:,}")
    return {"experiment": experiment, "run": run, "events": counted.events}
