"""Markers: a file in the state folder and in each storage that says which place this is, and whose.

A ledger knows the markers of its places. So another disk at a storage's path, a second state folder on one database, a
ledger that is another one, or older than what it worked with, are told from what they look like.
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

from reconciler.outside.mounts import MARKER
from reconciler.outside.plain_files import NotPlain, create_plain, read_plain
from schemas.files.strict_json import parse_json
from schemas.json_schema.validation import load_schema, validate_json
from schemas.json_schema.values import read_value

SCHEMA = "place/1"
LARGEST = 1 << 12
NOTE = "b2prod knows this place by this file; leave it where it is"


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker says: the place's id, its ledger's id, and how far that had come when it last wrote here.

    `entry` is the number of the journal's last entry then, 0 where it had none, and `digest` its own: a serial may be reached
    in two ways.
    """

    id: str
    ledger: str
    serial: int
    entry: int = 0
    digest: str = ""


class BrokenMarker(Exception):
    """There is a marker, and it cannot be read, or is none."""


class Standing(Enum):
    """How a place stands to a ledger: its own, not known yet, away, another's, or further than the ledger is."""

    OWN = "own"
    NEW = "new"
    AWAY = "away"
    FOREIGN = "foreign"
    AHEAD = "ahead"


def read_marker(folder: str | os.PathLike[str]) -> Marker | None:
    """The marker in a folder; None where there is none, or no folder.

    Raises:
        BrokenMarker: it says nothing.
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
    """Puts a marker in the place of whatever was one, whole or not at all.

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
    """How a place stands to a ledger with an id, a serial and earlier ids; and why, where it is not right.

    `known` is the id by which the ledger knows the place, None where it does not; `filled`, that it has something there.
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
