"""The check of one published file: it exists, it is unchanged, and its content is as declared."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from reconciler.outside.checksums import digest_file
from reconciler.outside.errors import foreseeing
from reconciler.run_catalogue.lists.file_lists import is_event_file
from reconciler.run_catalogue.lists.values import spell_checksum
from renderer.applications import APPLICATIONS
from schemas.manifest.runs import format_run, run_key
from schemas.manifest.step import HISTOGRAM_OUTPUTS


class Depth(Enum):
    """How much of a file is checked: only its size, or also checksum, events and metadata."""

    SIZE = "size"
    FULL = "full"


class Trouble(Enum):
    """What may be wrong. An output with a gone or changed file is lost; a wrong file was already wrong when it was made."""

    GONE = "gone"
    CHANGED = "changed"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class FileFlaw:
    """What is wrong with a file."""

    trouble: Trouble
    text: str


@dataclass(frozen=True, slots=True)
class Published:
    """A published file and what it must be, as the ledger says.

    `output` is the output's id in the ledger. `events` is None if not known. `application` is the name in the recipe, empty
    for a file that b2prod did not make. `simulated`: the run is one of simulated events.
    """

    output: int
    storage: str
    folder: str
    name: str
    size: int
    checksum: str
    events: int | None
    experiment: int
    run: int
    application: str
    release: str | None
    level: str
    simulated: bool = False

    @property
    def path(self) -> Path:
        """The path of the file."""
        return Path(self.storage, self.folder, self.name)


def examine(file: Published, depth: Depth) -> FileFlaw | None:
    """Checks a file. Returns what is wrong, or None.

    Raises:
        SourceUnavailable: it cannot be read now; its content is not known.
    """
    path = file.path
    with foreseeing(f"{path} cannot be read"):
        try:
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                return FileFlaw(Trouble.CHANGED, f"{path} is not a plain file any more")
            if found.st_size != file.size:
                return FileFlaw(Trouble.CHANGED, f"{path} has {found.st_size} bytes instead of {file.size}")
            if depth is Depth.SIZE:
                return None
            sum_ = digest_file(path, file.checksum.partition(":")[0])
            if sum_ is not None and sum_ != spell_checksum(file.checksum):
                return FileFlaw(Trouble.CHANGED, f"{path} has checksum {sum_} instead of {file.checksum}")
            holds_events = is_event_file(file.name) and file.level not in HISTOGRAM_OUTPUTS
            said = _examine_content(file) if holds_events else None
        except FileNotFoundError:
            return FileFlaw(Trouble.GONE, f"{path} is gone")
    return FileFlaw(Trouble.WRONG, f"{path}: {said}") if said else None


def _examine_content(file: Published) -> str | None:
    """Compares the events and the metadata of a file with its declaration. Returns what is wrong, or None."""
    # importing these costs a second, which only a full check needs
    from renderer.event_data.event_count import count_events, tell_repeated  # noqa: PLC0415 -- see above
    from renderer.event_data.file_metadata import read_metadata  # noqa: PLC0415 -- see above
    from renderer.event_data.root_file import InputError  # noqa: PLC0415 -- see above

    application = APPLICATIONS.get(file.application)
    unit = (file.experiment, file.run)
    try:
        counted = count_events(file.path, file.name, None if application is None else application.tree)
        stated = application is not None and application.states_metadata
        metadata = read_metadata(file.path, file.name) if stated else None
    except InputError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        return str(error)
    events = counted.events
    if strange := [run for run in counted.runs if run != run_key(*unit)]:
        return f"it holds events of {format_run(strange[0])}, not of {_name(unit)}"
    if (repeated := tell_repeated(counted)) is not None:
        return repeated
    if file.events is not None and events != file.events:
        return f"it holds {events} events instead of {file.events}"
    if metadata is None:
        return None
    if metadata.events != events:
        return f"its metadata state {metadata.events} events, it holds {events}"
    if events and not metadata.low == metadata.high == unit:
        found = f"{_name(metadata.low)} to {_name(metadata.high)}"
        return f"its metadata state the runs {found}, not {_name(unit)}"
    # A skim of RAW copies this flag from the RAW files, where it is wrong up to June 2019.
    if metadata.mc and not file.simulated and file.level != "raw":
        return "its metadata declare it simulated, and its run is one of real data"
    if metadata.mc is False and file.simulated:
        return "its metadata declare it real data, and its run is one of simulated events"
    if file.release is not None and metadata.release != file.release:
        return f"its metadata state the release {metadata.release}, declared is {file.release}"
    if (level := metadata.description.get("dataLevel", file.level)) != file.level:
        return f"its metadata state the level {level}, declared is {file.level}"
    return None


def _name(run: tuple[int, int]) -> str:
    return f"{run[0]}:{run[1]}"
