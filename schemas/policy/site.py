"""Sites: where jobs run, and what their engines can do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from schemas.json_schema.validation import load_schema
from schemas.json_schema.values import read_named, read_value
from schemas.policy.sources import SiteSources
from schemas.yaml.document import Document

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

CHECKSUM, SIZE = VERIFY = ("checksum", "size")
"""What a job compares with the registered values of an input: size and checksum, or the size alone."""


KEPT = 14
"""The default number of days for which folders of failed attempts are kept."""

KEPT_JOBS = 90
"""The default number of days for which steering, job JSON and log of jobs that ended well are kept."""


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """The properties of all sites with one kind of engine.

    `attached`: jobs are processes of the reconciler's own machine and user. `runtime`: jobs start with b2prod's runtime,
    which compares input with the registered values and can give jobs a local database; otherwise the system starts basf2
    itself. `logical_paths`: jobs get their input by logical paths. Historic layouts define these, so the lock pins the
    layouts, and units share a batch only if their paths have the same fields. `bundles`: one job can run several units.
    """

    attached: bool
    runtime: bool
    logical_paths: bool
    bundles: bool


@cache
def load_engines() -> Mapping[str, EngineTraits]:
    """The traits by the engine's name, in the order of the schema."""
    declared: Mapping[str, Mapping[str, bool]] = load_schema("site")["properties"]["engine"]["x-engines"]
    return MappingProxyType({name: EngineTraits(**traits) for name, traits in declared.items()})


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a batch system's submission command, without its dashes; a switch has no value."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How jobs are submitted to a batch system. `minutes` and `memory` (MB) are of one job; None means the queue's own.

    After `scouts` good jobs of a step, its next jobs ask for less memory, if those needed less; None: they never do.
    `width` is the largest number of jobs in an array, `running` how many of them run at once (None: no limit). `python`
    starts the jobs on the nodes.
    """

    account: str | None = None
    minutes: int | None = None
    memory: int | None = None
    scouts: int | None = None
    width: int = 1000
    running: int | None = None
    python: str = sys.executable
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """The limits of a queue for one job (minutes, MB) and for one account (jobs); None means no limit."""

    cpu_minutes: int | None = None
    minutes: int | None = None
    memory: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class CatalogueSettings:
    """The catalogue in which a site's outputs are registered.

    `rule` is the expression that tells Rucio where to keep them; `pfn` is the address of the storage in Rucio, None if the
    storage element computes the paths itself.
    """

    kind: str
    url: str = ""
    account: str = ""
    scope: str = ""
    rse: str = ""
    rule: str = ""
    pfn: str = ""
    auth: str = "x509_proxy"


@dataclass(frozen=True, slots=True)
class PublishingPlace:
    """A place where readers are given editions. `kind` is `rucio`, `list` or `folder`; `folder` is empty for `rucio`."""

    name: str
    kind: str
    folder: str = ""


HS06_KEKCC = 24.57
"""The power of a core of KEKCC in HS06; basf2's `skim/tools/b2skim-stats-print` multiplies CPU seconds by it."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours in which jobs may be submitted: minutes of the day from `begin` up to `end`; over midnight if `end` is less.

    `days` are those on which it begins, Monday is 0; `offset` is its time zone in minutes east of UTC. `text` is for people.
    """

    begin: int
    end: int
    days: frozenset[int]
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Prestage:
    """How files are staged from tape: `command` gets up to `batch` paths per call; at most `in_flight` files wait at once."""

    command: tuple[str, ...]
    batch: int = 500
    in_flight: int = 2000


@dataclass(frozen=True, slots=True)
class TapeCommand:
    """A command about copies of outputs on tape: it gets up to `batch` files per call; at most `in_flight` files wait at once."""

    command: tuple[str, ...]
    batch: int = 100
    in_flight: int = 2000


@dataclass(frozen=True, slots=True)
class Admission:
    """When an alarm asks a person: at least `at_least` things went wrong, and more than `percent` of all."""

    percent: int = 10
    at_least: int = 20


@dataclass(frozen=True, slots=True)
class Site:
    """A place where jobs run. `storage` is absolute, or relative to the state folder. `slots` None means the engine's default.

    `scripts` are the names of the scripts that may run here. `testing_payloads` is the folder of local databases with their
    payload files; `payloads` is the folder of payload files of the conditions database, for jobs of releases before 04.
    `runs_per_request` is the range of run numbers of one production request of the grid; `hs06` is the power of a core.
    `queues` are the limits of known queues. A batch needs a credential that is valid for `credential_minutes` (None: the
    longest time of a job), `min_free` gigabytes in the storage, and one of `windows`, if there are any. `catalogue` None:
    outputs are not registered. `publications` are the places where editions are published, by name. `verify`, one of `VERIFY`,
    is what a job compares of its inputs. `visibility` is how many seconds a job or its output may be invisible; None means the
    engine's own value. `archive` copies outputs to tape, `recall` brings them back, `checksum` reads the copies.
    `engine_settings` are settings by the engine's name, as in the file; each engine reads its own. `sources` are those that
    `reconcile --watch` asks.
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
    publications: Mapping[str, PublishingPlace] = field(default_factory=dict)
    engine_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    contact: str | None = None
    credential_minutes: int | None = None
    min_free: int = 0
    keep_failed_days: int = KEPT
    keep_job_days: int = KEPT_JOBS
    windows: tuple[Window, ...] = ()
    prestage: Prestage | None = None
    archive: TapeCommand | None = None
    recall: TapeCommand | None = None
    checksum: TapeCommand | None = None
    verify: str = CHECKSUM
    visibility: int | None = None
    brakes: Admission = field(default_factory=Admission)
    sources: SiteSources = field(default_factory=SiteSources)

    @property
    def traits(self) -> EngineTraits:
        """The properties of all sites with this engine."""
        return load_engines()[self.engine]

    @property
    def service(self) -> str:
        """The service that takes the jobs: the engine and, if known, its address; at most 500 characters."""
        url = self.engine_settings.get(self.engine, {}).get("url")
        return f"{self.engine} {url}"[:500] if url else self.engine

    @property
    def verifies(self) -> str | None:
        """What a job here compares of its inputs, one of `VERIFY`; None means nothing."""
        return self.verify if self.traits.runtime else None


def read_site(name: str, document: Document) -> Site:
    """The site in `document`, which the schema `site/1` has accepted."""
    data = document.data
    place = data.get("catalogue")
    return read_value(
        Site,
        data,
        name=name,
        catalogue=CatalogueSettings(**{"rule": place.get("rse", ""), **place}) if place else None,
        publications=read_named(PublishingPlace, data.get("publications", {})),
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
