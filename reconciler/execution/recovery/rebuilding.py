"""Rebuilding: what a ledger lacks of what was published, by the records beside the outputs.

A record may be forged by whoever can write to the storage, a job among them. So it is believed only in a pinned storage, in
the folder that it states, where it is ours and nobody may write it; only of a fingerprint that is declared, or that the ledger
wanted, or of an older version of such an output; and only where every file is what it says, to the last event. Then it
says only that a unit which is to be made is done: nothing is removed, overwritten or run because of it.
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
from reconciler.execution.tracking.workspace import count_events
from reconciler.ledger.reading.output_records import LARGEST, OutputRecord, read_record
from reconciler.ledger.schema.tables import outputs, products, runs
from reconciler.model.names import name_record
from reconciler.model.states import OutputState
from reconciler.model.work_items import Address
from reconciler.outside.mounts import list_files
from reconciler.outside.plain_files import NotPlain, read_plain
from schemas.files.canonical import clean_text
from schemas.manifest.runs import run_key

RECORD = re.compile(r"\.b2prod\.[A-Za-z0-9_]+\.v[1-9][0-9]{0,5}\.json")
MANIFEST = re.compile(r"b2prod\..*\.json")

GAP = 100
"""By how much a version may be higher than all others of its output; b2prod never gives a larger one."""

ALONE = 64 << 20
"""Bytes up to which this process reads the files itself: others take a second to start."""


class Fate(Enum):
    """What becomes of a record: its output is taken over, or known already, or left for a reason."""

    ADOPT = "adopt"
    HISTORY = "older version"
    KNOWN = "known"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Found:
    """A record in a storage; one that could not be read is None. `reason` says why it is left, or is to be looked at."""

    storage: str
    path: str
    record: OutputRecord | None
    fate: Fate = Fate.LEFT
    reason: str = ""

    def data(self) -> dict[str, Any]:
        """What was found as JSON data."""
        named = {} if self.record is None else {"output": self.record.tell()}
        return {"record": self.path, **named, "fate": self.fate.value, "reason": self.reason or None}


@dataclass(frozen=True, slots=True)
class Survey:
    """What the storages have. `unrecorded` are files of which no record and no ledger tells what they are."""

    found: tuple[Found, ...]
    unrecorded: tuple[str, ...]

    def choose(self, *fates: Fate) -> tuple[Found, ...]:
        """What is of one of these fates."""
        return tuple(one for one in self.found if one.fate in fates)


Declared = Mapping[tuple[str, bytes], tuple[str, int]]
"""Campaign and fingerprint → output and run key of what is declared now."""


def survey(
    connection: Connection, storages: Collection[str], declared: Declared, *, undeclared: bool = False
) -> Survey:
    """What the storages have that the ledger lacks. With `undeclared`, also what nothing declares any more is taken.

    Raises:
        SourceUnavailable: a storage cannot be read, so that it cannot be told what it has.
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
    ledger = _read_ledger(connection)
    found = [_judge(one, ledger, declared, undeclared=undeclared) for one in found]
    found = _look(connection, found)
    found = _choose_versions(found, ledger)
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


def _read(storage: str, path: str) -> Found:
    """A record that is where and whose it says; left, where it is not."""
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
    """The outputs of a ledger, by place and by campaign and fingerprint, and the highest versions."""

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
    """What of a record can be told without its files."""
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
    """Leaves what is not, to the last byte and event, what its record says."""
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
    """Whether a file holds the events that are stated, which is what it is held against when its job has ended.

    What else is wrong with it was wrong when it was published, and is for `verify` to tell, as of any output.
    """
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
    """Takes the newest version of each fingerprint; what is not declared any more, only below a version that is taken or known."""
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
