"""Rebuilding: finds published outputs that a ledger lacks, by the records beside them.

Anybody who can write to the storage can forge a record, also a job. So a record is accepted only in a pinned storage, in
the folder that it states, if it is ours and read only; only if its fingerprint is declared, or the ledger wanted it, or it
is an older version of such an output; and only if every file is as stated, up to the number of events. Even then it only
says that a unit is done: nothing is removed, overwritten or run because of it.
"""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from reconciler.datasets.verification.file_check import Depth, Published, Trouble
from reconciler.datasets.verification.file_pool import look
from reconciler.datasets.verification.unknown_files import read_aside
from reconciler.execution.tracking.workspace import count_events
from reconciler.ledger.reading.output_records import LARGEST, OutputRecord, read_record
from reconciler.ledger.schema.tables import outputs, products, runs
from reconciler.model.names import TRASH, name_record
from reconciler.model.states import OutputState
from reconciler.model.work_items import Address
from reconciler.outside.plain_files import NotPlain, read_plain
from reconciler.outside.storage.mounts import list_files
from schemas.files.canonical import clean_text
from schemas.manifest.runs import run_key
from schemas.manifest.step import HISTOGRAM_OUTPUTS

RECORD = re.compile(r"\.b2prod\.[A-Za-z0-9_]+\.v[1-9][0-9]{0,5}\.json")
MANIFEST = re.compile(r"b2prod\..*\.json")

GAP = 100
"""How much a version may be higher than all others of its output; b2prod never makes a larger step."""

ALONE = 64 << 20
"""Up to this many bytes, this process reads the files itself, because other processes take a second to start."""


class Fate(Enum):
    """What is done with a record: its output is adopted, adopted as an older version, known already, or left."""

    ADOPT = "adopt"
    HISTORY = "older version"
    KNOWN = "known"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Found:
    """A record in a storage; `record` is None if it cannot be used. `reason` says why it is left, or what a person should check."""

    storage: str
    path: str
    record: OutputRecord | None
    fate: Fate = Fate.LEFT
    reason: str = ""

    def data(self) -> dict[str, Any]:
        """The same as JSON data."""
        named = {} if self.record is None else {"output": self.record.tell()}
        return {"record": self.path, **named, "fate": self.fate.value, "reason": self.reason or None}


@dataclass(frozen=True, slots=True)
class Survey:
    """The records in the storages. `unrecorded` are paths of files that neither a record nor the ledger names."""

    found: tuple[Found, ...]
    unrecorded: tuple[str, ...]

    def choose(self, *fates: Fate) -> tuple[Found, ...]:
        """The records with one of these fates."""
        return tuple(one for one in self.found if one.fate in fates)


Declared = Mapping[tuple[str, bytes], tuple[str, int]]
"""Campaign and fingerprint → output and run key of everything that is declared now."""


def survey(
    connection: Connection, storages: Collection[str], declared: Declared, *, undeclared: bool = False
) -> Survey:
    """Finds out what the storages have that the ledger lacks. With `undeclared`, outputs that are no longer declared are adopted too.

    Raises:
        SourceUnavailable: a storage cannot be read.
    """
    found: list[Found] = []
    data: list[str] = []
    for storage in sorted(set(storages)):
        for path in list_files(storage, lambda folder: folder.startswith(".")):
            name = os.path.basename(path)
            if RECORD.fullmatch(name):
                found.append(_read(storage, path))
            elif name[0] != "." and not MANIFEST.fullmatch(name):
                data.append(path)
    ledger, aside = _read_ledger(connection), read_aside(connection)
    found = [_judge(one, ledger, declared, undeclared=undeclared) for one in found]
    found = _look(connection, found)
    found = _choose_versions(found, ledger)
    found += [one for storage in sorted(set(storages)) for one in _find_aside(storage, aside)]
    told = {
        os.path.join(os.path.dirname(one.path), file["name"])
        for one in found
        if one.record
        for file in one.record.data["files"]
    }
    query = select(outputs.c.storage, outputs.c.folder, products.c.path)
    query = query.join(outputs, outputs.c.id == products.c.output)
    told |= {os.path.join(*row) for row in connection.execute(query)}
    return Survey(tuple(found), tuple(path for path in data if path not in told))


def _find_aside(storage: str, known: Collection[str]) -> Iterator[Found]:
    """Yields the records in the trash that no folder `known` to the ledger has: they are left."""
    for path in list_files(os.path.join(storage, TRASH), lambda _: False):
        folder, name = os.path.split(path)
        if RECORD.fullmatch(name) and folder not in known:
            told = "a ledger that was lost has put it into the trash: move it back by hand first, if it is to be taken over"
            yield Found(storage, path, None, reason=told)


def _read(storage: str, path: str) -> Found:
    """Reads a record and checks its place, owner and fingerprint; if they are wrong, it is left."""
    try:
        found = os.lstat(path)
        record = read_record(read_plain(Path(path), LARGEST))
    except (NotPlain, OSError, ValueError, RecursionError) as error:
        return Found(storage, path, None, reason=f"it is not a record: {clean_text(str(error))[:500]}")
    folder, name = record.data["folder"], name_record(record.data["output"], record.data["version"])
    if found.st_uid != os.geteuid() or found.st_mode & 0o222 or not stat.S_ISREG(found.st_mode):
        reason = "it is another's, or somebody may write it"
    elif os.path.join(storage, folder, name) != path:
        reason = f"it is of another place: {folder}"
    elif not record.is_consistent:
        reason = "its fingerprint is not that of what it states"
    else:
        return Found(storage, path, record, Fate.ADOPT)
    return Found(storage, path, None, reason=reason)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The outputs of a ledger: by place, by campaign and fingerprint, and the highest versions."""

    places: Mapping[tuple[Address, str, int], tuple[bytes, str]]
    produced: Mapping[tuple[str, bytes], int]
    wanted: Collection[tuple[str, bytes]]
    highest: Mapping[tuple[Address, str], int]


def _read_ledger(connection: Connection) -> _Ledger:
    places: dict[tuple[Address, str, int], tuple[bytes, str]] = {}
    highest: defaultdict[tuple[Address, str], int] = defaultdict(int)
    for row in connection.execute(select(outputs)):
        address = (row.campaign, row.step, run_key(row.experiment, row.run))
        places[address, row.output, row.version] = bytes(row.fingerprint), row.state
        highest[address, row.output] = max(highest[address, row.output], row.version)
    produced = {
        (address[0], value): version
        for (address, _, version), (value, state) in places.items()
        if state == OutputState.PRODUCED
    }
    wanted = {(place[0][0], value) for place, (value, _) in places.items()}
    return _Ledger(places, produced, wanted, highest)


def _judge(found: Found, ledger: _Ledger, declared: Declared, *, undeclared: bool) -> Found:
    """Judges a record without reading its files."""
    record = found.record
    if record is None:
        return found
    campaign, value = record.address[0], record.fingerprint
    there = ledger.places.get(record.place)
    if there is not None and there[0] != value:
        return replace(found, fate=Fate.LEFT, reason="the ledger has another output as this version")
    if there is not None and there[1] == OutputState.PRODUCED:
        return replace(found, fate=Fate.KNOWN)
    if (other := ledger.produced.get((campaign, value))) is not None:
        return replace(found, fate=Fate.LEFT, reason=f"the ledger has the same as v{other}")
    if (wanted := declared.get((campaign, value))) is not None:
        if wanted != (record.data["output"], record.address[2]):
            return replace(found, fate=Fate.LEFT, reason="its fingerprint is that of another output")
        return found
    if undeclared or (campaign, value) in ledger.wanted:
        return found
    return replace(found, fate=Fate.HISTORY)


def _look(connection: Connection, found: Sequence[Found]) -> list[Found]:
    """Checks the files of records completely; a record with a wrong file is left."""
    rows = connection.execute(select(runs.c.experiment, runs.c.run, runs.c.type))
    types = {(experiment, run): kind for experiment, run, kind in rows}
    files = [
        file
        for number, one in enumerate(found)
        if one.record is not None and one.fate in (Fate.ADOPT, Fate.HISTORY)
        for file in _list_published(number, one.storage, one.record, types)
    ]
    alone = sum(file.size for file in files) <= ALONE
    flaws: dict[int, str] = {}
    doubts: dict[int, str] = {}
    for file, flaw in look(files, Depth.FULL, processes=0 if alone else None):
        if flaw is None:
            continue
        if flaw.trouble is Trouble.WRONG and _holds_stated(file):
            doubts[file.output] = f"{flaw.text}; it was published so"
        else:
            flaws.setdefault(file.output, flaw.text)
    return [
        replace(one, fate=Fate.LEFT, reason=flaws[number])
        if number in flaws
        else replace(one, reason=doubts.get(number, one.reason))
        for number, one in enumerate(found)
    ]


def _holds_stated(file: Published) -> bool:
    """Whether a file has the stated number of events, which is also what is checked when a job has ended.

    Other errors were already in the file when it was published; `verify` reports them.
    """
    if file.level in HISTOGRAM_OUTPUTS:
        return file.events is None
    counted = count_events(file.path, file.name)
    return isinstance(counted, int) and file.events in (None, counted)


def _list_published(
    number: int, storage: str, record: OutputRecord, types: Mapping[tuple[int, int], str]
) -> Iterator[Published]:
    data, recipe = record.data, record.data["recipe"]
    run = (data["experiment"], data["run"])
    application = str(recipe.get("application", "")).partition("/")[0]
    level = str(recipe.get("output", {}).get("level", ""))
    made_as = [application, recipe.get("release"), level, types.get(run) == "mc"]
    for file in data["files"]:
        values = (file["size"], file["checksum"], file["events"])
        yield Published(number, storage, data["folder"], file["name"], *values, *run, *made_as)


def _choose_versions(found: Sequence[Found], ledger: _Ledger) -> list[Found]:
    """Keeps the newest version of each fingerprint; an undeclared version only if a higher one is adopted or known."""
    newest: defaultdict[tuple[str, bytes], int] = defaultdict(int)
    taken: defaultdict[tuple[Address, str], int] = defaultdict(int)
    for one in found:
        if one.record is not None and one.fate in (Fate.ADOPT, Fate.KNOWN):
            key, place = (one.record.address[0], one.record.fingerprint), one.record.place[:2]
            newest[key] = max(newest[key], one.record.data["version"])
            taken[place] = max(taken[place], one.record.data["version"])
    chosen = []
    highest = dict(ledger.highest)
    for one in sorted(found, key=lambda one: (one.record is None, one.record.place if one.record else ())):
        chosen.append(judged := _choose_version(one, newest, taken, highest))
        if judged.record is not None:
            place, version = judged.record.place[:2], judged.record.data["version"]
            highest[place] = max(highest.get(place, 0), version)
    return chosen


def _choose_version(
    one: Found,
    newest: Mapping[tuple[str, bytes], int],
    taken: Mapping[tuple[Address, str], int],
    highest: Mapping[tuple[Address, str], int],
) -> Found:
    if one.record is None:
        return one
    place, version = one.record.place[:2], one.record.data["version"]
    if version > highest.get(place, 0) + GAP:
        return replace(one, record=None, fate=Fate.LEFT, reason=f"v{version} is not a version that follows")
    best = newest.get((one.record.address[0], one.record.fingerprint), version)
    if one.fate is Fate.ADOPT and version < best:
        return replace(one, fate=Fate.LEFT, reason=f"v{best} is the same")
    if one.fate is Fate.HISTORY and version >= taken.get(place, 0):
        why = "it was made of what is not declared now, and the ledger never wanted it; --undeclared takes it all the same"
        return replace(one, fate=Fate.LEFT, reason=why)
    return one
