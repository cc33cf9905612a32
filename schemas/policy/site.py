"""Sites: where jobs go, and in what their engines differ for campaigns and approvals."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from schemas.json_schema.validation import load_schema
from schemas.json_schema.values import read_value
from schemas.yaml.document import Document

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

CHECKSUM, SIZE = VERIFY = ("checksum", "size")
"""What of an input is held against what was registered: its size with its checksum, or alone."""


KEPT = 14
"""Days for which the folders of failed attempts are kept, where a site does not say."""


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """What holds for every site of one kind of engine.

    `attached`: jobs are processes of the reconciler's own machine and user. `runtime`: jobs start with b2prod's runtime,
    which compares their input with what was registered and can give them a local database; without it, the system starts
    basf2 by itself. `logical_paths`: jobs get their input by logical paths. Historic layouts say what such a path means, so
    the lock pins them, and units are made together only where their paths say the same.
    """

    attached: bool
    runtime: bool
    logical_paths: bool


@cache
def load_engines() -> Mapping[str, EngineTraits]:
    """The traits by the engine's name, in the order of the schema."""
    declared: Mapping[str, Mapping[str, bool]] = load_schema("site")["properties"]["engine"]["x-engines"]
    return MappingProxyType({name: EngineTraits(**traits) for name, traits in declared.items()})


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a batch system's submission, without its dashes; a switch has no value."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How jobs are given to a batch system. `minutes` of run time, `memory` in MB: of one job, None: as the queue has it.

    `width` is how many jobs an array has at most, `running` how many of them run at once (None: no limit). `python`
    starts the jobs on the nodes.
    """

    account: str | None = None
    minutes: int | None = None
    memory: int | None = None
    width: int = 1000
    running: int | None = None
    python: str = sys.executable
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """What a queue allows one job (minutes, MB), and one account (jobs); None: it sets no limit."""

    cpu_minutes: int | None = None
    minutes: int | None = None
    memory: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class CatalogueSettings:
    """Where a site's outputs are made known.

    `rule` is the expression of where Rucio is to keep them, `pfn` the address of the storage in Rucio's eyes; without
    one the storage element itself tells where a name lies.
    """

    kind: str
    url: str = ""
    account: str = ""
    scope: str = ""
    rse: str = ""
    rule: str = ""
    pfn: str = ""
    auth: str = "x509_proxy"


HS06_KEKCC = 24.57
"""The power of a core of KEKCC in HS06, by which basf2's `skim/tools/b2skim-stats-print` multiplies CPU seconds."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours in which jobs may be submitted: minutes of the day from `begin` up to `end`, over midnight where that is less.

    `days` are those on which it begins, Monday is 0; `offset` is the clock's, in minutes east of UTC. `text` is for people.
    """

    begin: int
    end: int
    days: frozenset[int]
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Prestage:
    """How files are brought from tape: `command`, which takes paths; of `batch` files a call, `in_flight` at once."""

    command: tuple[str, ...]
    batch: int = 500
    in_flight: int = 2000


@dataclass(frozen=True, slots=True)
class Admission:
    """From when on so much went wrong at once that a person is asked: a share, and a number of things, beyond which both."""

    percent: int = 10
    at_least: int = 20


@dataclass(frozen=True, slots=True)
class Site:
    """A place where jobs run. `storage` is absolute, or relative to the state folder. `slots` None: the engine's default.

    `scripts` are the names of those that may run here. `testing_payloads` is the folder that has, by name, local databases with their payload files, `payloads` that
    of the payload files of the conditions database, as jobs of releases before 04 read them; `runs_per_request` the
    width of a production request of the grid, in run numbers; `hs06` is the power of a core. `queues` are the limits of queues that are known.
    Before a batch the credential must be good for `credential_minutes` (None: as long as a job may run), and `min_free`
    gigabytes be free in the storage; without `windows` it is always the hour.
    `catalogue` None: outputs are made known nowhere. `verify` is what of its inputs a job holds against what was
    registered, one of `VERIFY`. `visibility` is how many seconds a job, or what it wrote, may be invisible; None: as long as
    the engine is known to need. `engine_settings` are those of single engines by the engine's name, as the file has them:
    each engine reads its own.
    """

    name: str
    engine: str
    storage: str
    slots: int | None = None
    environment: tuple[str, ...] = ()
    scripts: frozenset[str] = frozenset()
    launchers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    testing_payloads: str | None = None
    payloads: str | None = None
    runs_per_request: int | None = None
    hs06: float = HS06_KEKCC
    queue: str | None = None
    queues: Mapping[str, Queue] = field(default_factory=dict)
    batch: BatchSettings = field(default_factory=BatchSettings)
    catalogue: CatalogueSettings | None = None
    engine_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    contact: str | None = None
    credential_minutes: int | None = None
    min_free: int = 0
    keep_failed_days: int = KEPT
    windows: tuple[Window, ...] = ()
    prestage: Prestage | None = None
    verify: str = CHECKSUM
    visibility: int | None = None
    brakes: Admission = field(default_factory=Admission)

    @property
    def traits(self) -> EngineTraits:
        """What holds for every site with this engine."""
        return load_engines()[self.engine]

    @property
    def service(self) -> str:
        """What takes its jobs: the engine, and where that is, if there may be several; 500 characters at most."""
        url = self.engine_settings.get(self.engine, {}).get("url")
        return f"{self.engine} {url}"[:500] if url else self.engine

    @property
    def verifies(self) -> str | None:
        """What of its inputs a job here compares with what was registered, one of `VERIFY`; None: nothing."""
        return self.verify if self.traits.runtime else None


def read_site(name: str, document: Document) -> Site:
    """The site that `document`, accepted by the schema `site/1`, describes."""
    data = document.data
    place = data.get("catalogue")
    return read_value(
        Site,
        data,
        name=name,
        catalogue=CatalogueSettings(**{"rule": place.get("rse", ""), **place}) if place else None,
        engine_settings={name: data[name] for name in load_engines() if name in data},
        windows=tuple(_read_window(window) for window in data.get("windows", ())),
        verify=data.get("inputs", {}).get("verify", CHECKSUM),
    )


def _read_window(data: Mapping[str, Any]) -> Window:
    offset = data.get("utc_offset", "+00:00")
    days = data.get("days", DAYS)
    words = f"{data['from']}-{data['to']}" + (f" {offset}" if offset != "+00:00" else " UTC")
    return Window(
        begin=_read_time(data["from"]),
        end=_read_time(data["to"]),
        days=frozenset(DAYS.index(day) for day in days),
        offset=(-1 if offset[0] == "-" else 1) * _read_time(offset[1:]),
        text=words if len(days) == len(DAYS) else f"{words} ({', '.join(days)})",
    )


def _read_time(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return 60 * int(hours) + int(minutes)
