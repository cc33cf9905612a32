"""Reads a local database as a source of global tags: `database.txt`, with the payload files beside it.

Lines are `dbstore/<payload> <revision> <firstExp>,<firstRun>,<finalExp>,<finalRun>`, and comments after `#`. A revision
is a number given by the server or, since release-06, the beginning of the payload file's md5. If several lines are
valid for one run, the release decides which one counts (`schemas.conditions.local_database`); this module keeps all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.conditions.comparison import group_ranked
from reconciler.conditions.source import refuse_contradictions
from reconciler.outside.errors import SourceUnavailable, foreseeing
from schemas.conditions.iov import Interval, parse_iov
from schemas.conditions.local_database import number_lines
from schemas.conditions.snapshot import LOCAL, PAYLOAD_NAME, REVISION, Iov, Snapshot, freeze_tag, sweep
from schemas.files.text import decode_text


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """The payloads of a `database.txt`. The file names no tag, so `fetch` takes any name."""

    path: Path

    def fetch(self, name: str) -> Snapshot:
        """All payloads of the file as the tag `name`, in the state LOCAL; checksums come from the payload files."""
        try:
            with foreseeing(f"{self.path} cannot be read"):
                entries = parse_entries(decode_text(self.path.read_bytes()))
        except ValueError as error:
            raise SourceUnavailable(f"{self.path}: {error}") from error
        checksums = {name_file(entry): self._sum_file(entry) for entry in entries}
        iovs = number_lines([replace(entry, checksum=checksums[name_file(entry)]) for entry in entries])
        refuse_contradictions(str(self.path), iovs)
        return freeze_tag(name, LOCAL, iovs, source=self.path.name)

    def _sum_file(self, entry: Iov) -> str:
        file, place = name_file(entry), f"{self.path}:{entry.line}"
        try:
            with (self.path.parent / file).open("rb") as stream:
                checksum = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError as error:
            what = f"the checksum of {entry.payload} r{entry.revision} is not known, its file is missing"
            raise SourceUnavailable(f"{place}: {what}; put {file} beside {self.path.name}") from error
        if not entry.revision.isdecimal() and not checksum.startswith(entry.revision):
            what = f"{file} has the md5 {checksum}, which does not begin with {entry.revision}"
            raise SourceUnavailable(f"{place}: {what}")
        return checksum


def name_file(entry: Iov) -> str:
    """The name of the payload's file."""
    return f"dbstore_{entry.payload}_rev_{entry.revision}.root"


def parse_entries(text: str) -> tuple[Iov, ...]:
    """The lines of a `database.txt`, in their order, each with its number from 1 and without a checksum.

    Raises:
        ValueError: a line has another form (the text begins with its number), or there is no payload.
    """
    entries: list[Iov] = []
    for number, raw in enumerate(text.splitlines(), 1):
        try:
            entry = parse_entry(raw, number)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if entry is not None:
            entries.append(entry)
    if not entries:
        raise ValueError("there is no payload in it")
    return tuple(entries)


def parse_entry(raw: str, number: int) -> Iov | None:
    """The entry in a line of a `database.txt`, without a checksum; None for a comment or an empty line.

    Raises:
        ValueError: it has another form, or its IoV is not one.
    """
    line = raw.partition("#")[0].strip()
    if not line:
        return None
    words = line.split()
    folder, _, payload = words[0].partition("/")
    well_formed = (
        len(words) == 3
        and folder == "dbstore"
        and PAYLOAD_NAME.fullmatch(payload)
        and REVISION.fullmatch(words[1])
    )
    if not well_formed:
        hint = "write `dbstore/PAYLOAD REVISION firstExp,firstRun,finalExp,finalRun`"
        raise ValueError(f"{line[:80]!r} is not a line of a local database; {hint}")
    interval = parse_iov(words[2])
    return Iov(payload, words[1], "", interval.first, interval.end, number)


def write_entries(chain: Sequence[Snapshot], within: Interval) -> bytes:
    """A `database.txt` with the payloads that a job takes from a chain of tags for the runs `within`, without overlaps.

    Of the payload files it says nothing: releases before 04 take them from a folder that has those of the server.
    """
    lines = []
    for name, ranked in sorted(group_ranked(chain).items()):
        for first, end, _, iov in sweep(ranked):
            low, high = max(first, within.first), min(end, within.end)
            if low < high:
                lines.append(f"dbstore/{name} {iov.revision} {Interval(low, high)}\n")
    return "".join(lines).encode()
