"""Markers: a file in the state folder and in each storage says which place this is, and to which ledger it belongs.

A ledger knows the markers of its places. So it notices another disk at the path of a storage, a second state folder on one
database, and a place that belongs to another ledger or that a newer copy of this ledger has written to.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from enum import Enum
from io import BufferedWriter
from pathlib import Path
from typing import Any

from reconciler.outside.plain_files import NotPlain, create_plain, read_plain
from reconciler.outside.storage.mounts import MARKER
from schemas.files.strict_json import parse_json
from schemas.json_schema.validation import load_schema, validate_json
from schemas.json_schema.values import read_value

SCHEMA = "place/1"
LARGEST = 1 << 12
NOTE = "b2prod knows this place by this file; leave it where it is"


@dataclass(frozen=True, slots=True)
class Marker:
    """The content of a marker: the place's id, its ledger's id, and the ledger's serial when it last wrote the marker.

    `entry` is the number of the journal's last entry at that time, 0 if there was none, and `digest` is its digest: two copies
    of a ledger may reach the same serial with different entries.
    """

    id: str
    ledger: str
    serial: int
    entry: int = 0
    digest: str = ""


class BrokenMarker(Exception):
    """There is a file with the marker's name, but it cannot be read or is not a marker."""


class Standing(Enum):
    """How a place relates to a ledger: its own, not known yet, away, another ledger's, or written by a newer copy of the ledger."""

    OWN = "own"
    NEW = "new"
    AWAY = "away"
    FOREIGN = "foreign"
    AHEAD = "ahead"


def read_marker(folder: str | os.PathLike[str]) -> Marker | None:
    """The marker in a folder; None if there is no marker or no folder.

    Raises:
        BrokenMarker: the file cannot be read, or is not a marker.
    """
    file = Path(folder, MARKER)
    try:
        data: Any = parse_json(read_plain(file, LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BrokenMarker(f"{file} cannot be read: {error.strerror}") from error
    except (NotPlain, ValueError, RecursionError) as error:
        raise BrokenMarker(f"{file} is not a marker: {error}") from error
    if problems := validate_json(data, load_schema("place")):
        raise BrokenMarker(f"{file} is not a marker: {problems[0]}")
    return read_value(Marker, data)


def write_marker(folder: str | os.PathLike[str], marker: Marker) -> None:
    """Writes a marker completely or not at all; it replaces an earlier one.

    Raises:
        OSError: it cannot be written.
    """
    content = {"schema": SCHEMA, **asdict(marker), "note": NOTE}
    part = Path(folder, f"{MARKER}.{secrets.token_hex(4)}")
    try:
        with BufferedWriter(create_plain(part, 0o644)) as stream:
            stream.write(json.dumps(content, indent=1).encode() + b"\n")
        os.replace(part, Path(folder, MARKER))
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def judge_place(
    found: Marker | None,
    known: str | None,
    ledger: str,
    serial: int,
    formers: Collection[str],
    *,
    filled: bool,
    remembered: bool = True,
) -> tuple[Standing, str]:
    """How a place stands to a ledger (id `ledger`, earlier ids `formers`): the standing, and the reason if it is not right.

    `known` is the id by which the ledger knows the place, or None. `filled`: the ledger has outputs there, or knows the folder.
    `remembered`: the ledger's journal has the marker's entry.
    """
    if found is None:
        if known is None or not filled:
            return Standing.NEW, ""
        return (
            Standing.AWAY,
            "it has no marker, and the ledger has published there: another disk is there, or none",
        )
    if known not in (None, found.id) or found.ledger not in (ledger, *formers):
        if found.ledger == ledger:
            return Standing.FOREIGN, "its marker is another than the one that the ledger knows"
        ids = f"the ledger {found.ledger[:8]}, and this one is {ledger[:8]}"
        return Standing.FOREIGN, f"it belongs to {ids}: it was lost, or is another"
    if found.ledger in formers:
        return Standing.OWN, ""
    if found.serial > serial:
        ahead = f"it was last written to at serial {found.serial}, and the ledger is at {serial}"
    elif not remembered:
        ahead = f"entry {found.entry} of its ledger's journal is not in this one's"
    else:
        return Standing.OWN, ""
    return Standing.AHEAD, f"{ahead}: an older copy was put back"
