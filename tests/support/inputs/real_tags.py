"""The real global tags of the shared data, from expected outputs of `b2conditionsdb` and from REST replies."""

from __future__ import annotations

import json
import re
from pathlib import Path

from schemas.conditions.snapshot import Iov, Snapshot, freeze_tag, make_iov

NAMES = tuple(f"main_tag_merge_test_{number}" for number in (1, 2, 3))
IDS = dict(zip(NAMES, (2463, 2464, 2465), strict=True))
_LISTED = re.compile(r"  (\S+) r(\d+) \((\d+), (\d+), (\d+), (-?\d+)\)")
_ROW = re.compile(r"([-+] )?(KLM\S+) +(\d+) +(\d+) +(\d+) +(\d+) +(-?\d+)(?: +(\S+))?$")


def checksum(revision: str) -> str:
    """The placeholder for the checksum of a revision in the REST replies."""
    return f"{int(revision):032x}"


def read_listed(folder: Path) -> dict[str, Snapshot]:
    """The three tags, from the text that basf2's own test printed."""
    tags: dict[str, list[Iov]] = {}
    for line in (folder / "test_tag_merge.out").read_text().splitlines():
        if line.startswith("[INFO] Obtaining"):
            current = tags.setdefault(line.split()[-1], [])
        elif match := _LISTED.fullmatch(line):
            name, revision, *ends = match.groups()
            current.append(make_iov(name, revision, checksum(revision), tuple(map(int, ends))))
    assert {name: len(iovs) for name, iovs in tags.items()} == dict(zip(NAMES, (8, 6, 3), strict=True))
    return {name: freeze_tag(name, "VALIDATED", iovs, tag_id=IDS[name]) for name, iovs in tags.items()}


def read_canned(folder: Path, name: str) -> list:
    """The REST reply for the tag's payloads."""
    return json.loads((folder / "rest_canned" / f"{name}.globalTagPayloads.json").read_text())


def read_tables(file: Path) -> list[list[tuple[str, str, str, str]]]:
    """The tables of payload rows in an expected output: sign, revision, ends, source."""
    tables: list[list[tuple[str, str, str, str]]] = [[]]
    for line in file.read_text().splitlines():
        if match := _ROW.match(line.strip()):
            sign, _, revision, *ends, source = match.groups()
            tables[-1].append(((sign or "").strip(), revision, ",".join(ends), source or ""))
        elif tables[-1] and not line.startswith("--"):
            tables.append([])
    return [table for table in tables if table]
