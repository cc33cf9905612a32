"""What a file of basf2 says of itself: its `FileMetaData`, in the tree `persistent`, read branch by branch.

Names of the members: basf2 `framework/dataobjects/src/FileMetaData.cc`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderer.event_data.root_file import InputError, explain_damage, open_file

_BRANCH = "FileMetaData"
_DECLARED_SINCE = "2019-06-30"
"""From this day on, raw data are declared real where they are written."""


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """Of one file. `low` and `high` are experiment and run; `mc` is None where a file does not say."""

    events: int
    low: tuple[int, int]
    high: tuple[int, int]
    release: str
    mc: bool | None
    description: Mapping[str, str]
    date: str = ""

    def tell_simulated(self, level: str) -> bool | None:
        """Whether its events are simulated, as it says; None where that does not count.

        Raw data of experiments 1 to 8 that were written before 30 June 2019 say so though they are real; basf2 corrects it
        as it reads them (`RootInputModule.cc`, `realDataWorkaround`, by the host that wrote them too).
        """
        return None if self.mc and self.is_undeclared(level) else self.mc

    def is_undeclared(self, level: str) -> bool:
        """Whether it is of the raw data that were written before these were declared real."""
        recorded = self.low[0] > 0 and self.high[0] < 9 and self.low[1] > 0
        return level == "raw" and recorded and self.date < _DECLARED_SINCE


def read_metadata(path: Path, name: str) -> FileMetadata:
    """What the file says of itself; `name` is what messages call it.

    Raises:
        InputError: it is not a ROOT file, is damaged, or says nothing of itself.
    """
    if (found := find_metadata(path, name)) is None:
        raise InputError(f"{name} has no FileMetaData: it was not written by basf2, or not to its end")
    return found


def find_metadata(path: Path, name: str) -> FileMetadata | None:
    """As `read_metadata`; None of a file that says nothing of itself, since something else than basf2 wrote it."""
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
    """The free description, keys and values: two branches beside one another."""
    branch = members.get("m_dataDescription")
    ends = ("first", "second")
    found = [] if branch is None else [branch.get(f"m_dataDescription.{end}") for end in ends]
    if not found or any(end is None for end in found):
        return {}
    keys, values = (map(str, end.array(library="np", array_cache=None)[0]) for end in found)
    return dict(zip(keys, values, strict=True))
