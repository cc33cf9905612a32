"""Reads the metadata of a file of basf2: its `FileMetaData` in the tree `persistent`.

Source for the names of members: basf2 `framework/dataobjects/src/FileMetaData.cc`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderer.event_data.root_file import InputError, explain_damage, open_file

_BRANCH = "FileMetaData"
_DECLARED_SINCE = "2019-06-30"
"""From this day on, files of raw data declare that they are real data."""


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """The metadata of a file. `low` and `high` are its first and last (experiment, run); `mc` is None if it is not known."""

    events: int
    low: tuple[int, int]
    high: tuple[int, int]
    release: str
    mc: bool | None
    description: Mapping[str, str]
    date: str = ""

    def tell_simulated(self, level: str) -> bool | None:
        """Whether its events are simulated; None if that is not known. `level` is the data level.

        Raw data of experiments 1 to 8 that were written before 30 June 2019 claim to be simulated, but are real; basf2
        corrects this when it reads them (`RootInputModule.cc`, `realDataWorkaround`, which also looks at the host).
        """
        return None if self.mc and self.is_undeclared(level) else self.mc

    def is_undeclared(self, level: str) -> bool:
        """Whether it has raw data from the time before such files declared that they are real."""
        recorded = self.low[0] > 0 and self.high[0] < 9 and self.low[1] > 0
        return level == "raw" and recorded and self.date < _DECLARED_SINCE


def read_metadata(path: Path, name: str) -> FileMetadata:
    """The metadata of a file; `name` is its name in messages.

    Raises:
        InputError: it is missing, damaged or not a ROOT file, or has no metadata.
    """
    if (found := find_metadata(path, name)) is None:
        raise InputError(f"{name} has no FileMetaData: it was not written by basf2, or not to its end")
    return found


def find_metadata(path: Path, name: str) -> FileMetadata | None:
    """The metadata of a file, None if basf2 did not write it.

    Raises:
        InputError: it is missing, damaged or not a ROOT file, or its metadata are empty.
    """
    with explain_damage(name), open_file(path, name) as file:
        if "persistent" not in file or _BRANCH not in file["persistent"]:
            return None
        members = {branch.name: branch for branch in file["persistent"][_BRANCH].branches}

        def read(member: str, default: Any = None) -> Any:
            if member not in members:
                return default
            values = members[member].array(library="np", array_cache=None)
            return values[0] if len(values) else default

        if (events := read("m_nEvents")) is None:
            raise InputError(f"{name} has an empty FileMetaData")
        mc = read("m_isMC")
        return FileMetadata(
            events=int(events),
            low=(int(read("m_experimentLow", -1)), int(read("m_runLow", -1))),
            high=(int(read("m_experimentHigh", -1)), int(read("m_runHigh", -1))),
            release=str(read("m_release", "")),
            mc=None if mc is None else bool(mc),
            description=_read_description(members),
            date=str(read("m_date", "")),
        )


def _read_description(members: Mapping[str, Any]) -> dict[str, str]:
    """The free description: keys and values are in two branches."""
    branch = members.get("m_dataDescription")
    ends = ("first", "second")
    found = [] if branch is None else [branch.get(f"m_dataDescription.{end}") for end in ends]
    if not found or any(end is None for end in found):
        return {}
    keys, values = (map(str, end.array(library="np", array_cache=None)[0]) for end in found)
    return dict(zip(keys, values, strict=True))
