"""The run catalogue: the runs that exist, and the files that are registered for them.

Functions that take a connection read, those that take an engine write.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, bindparam, delete, func, insert, or_, select, update

from reconciler.tables import files, inputs, ledger, runs
from renderer.fingerprint import digest_files
from renderer.jobs import InputFile
from schemas.campaign import Selector
from schemas.runs import run_key, split_key

_AT = ("level", "experiment", "run")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that the detector recorded. Times are ISO 8601, UTC; `events` None: not known."""

    experiment: int
    run: int
    type: str = "unknown"
    events: int | None = None
    start: str | None = None
    stop: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A registered file of one run. `name` identifies it, `path` is where it lies; `checksum` names its algorithm."""

    experiment: int
    run: int
    level: str
    name: str
    path: str
    size: int
    checksum: str
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows an import found to be new, changed and unchanged."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


def select_runs(connection: Connection, selector: Selector) -> list[int]:
    """The run keys that a selector takes in, sorted; an open selector takes the first `max_runs` to have arrived."""
    query = select(runs.c.run).where(runs.c.experiment == selector.experiment)
    if selector.types:
        query = query.where(runs.c.type.in_(selector.types))
    if selector.until:
        query = query.where(func.coalesce(func.substr(runs.c.start, 1, 10), "") <= selector.until)
    if selector.first is not None:
        query = query.where(runs.c.run >= selector.first).order_by(runs.c.id)
        if not selector.exclude:
            query = query.limit(selector.max_runs)
        excluded = _Within(selector.exclude)
        found = [run for run in connection.scalars(query) if run not in excluded][: selector.max_runs]
    else:
        wanted = [and_(runs.c.run >= item.first, runs.c.run <= item.last) for item in selector.ranges[:200]]
        if len(selector.ranges) <= len(wanted):
            query = query.where(or_(*wanted))
        listed, excluded = _Within(selector.ranges), _Within(selector.exclude)
        found = [run for run in connection.scalars(query) if run in listed and run not in excluded]
    return sorted(run_key(selector.experiment, run) for run in found)


class _Within:
    """Membership in sorted, disjoint ranges."""

    def __init__(self, ranges: Sequence[Any]) -> None:
        self.ranges = ranges
        self.firsts = [item.first for item in ranges]

    def __contains__(self, run: int) -> bool:
        place = bisect_right(self.firsts, run) - 1
        return place >= 0 and run <= self.ranges[place].last


def find_known(connection: Connection, keys: Sequence[int]) -> set[int]:
    """Those of the run keys that the catalogue has."""
    experiments = sorted({split_key(key)[0] for key in keys})
    query = select(runs.c.experiment, runs.c.run).where(runs.c.experiment.in_(experiments))
    return {experiment << 32 | run for experiment, run in connection.execute(query)}.intersection(keys)


def read_inputs(connection: Connection, level: str, experiments: Sequence[int]) -> dict[int, str]:
    """Run key → digest of the files registered at a data level."""
    query = select(inputs.c.experiment, inputs.c.run, inputs.c.digest).where(
        inputs.c.level == level, inputs.c.experiment.in_(experiments)
    )
    return {experiment << 32 | run: digest for experiment, run, digest in connection.execute(query)}


def read_files(connection: Connection, level: str, key: int) -> tuple[InputFile, ...]:
    """The files registered for one run at one data level, by name."""
    experiment, run = split_key(key)
    query = (
        select(files.c.name, files.c.path, files.c.size, files.c.checksum, files.c.events)
        .where(files.c.level == level, files.c.experiment == experiment, files.c.run == run)
        .order_by(files.c.name)
    )
    return tuple(InputFile(*row) for row in connection.execute(query))


def list_runs() -> Select[Any]:
    """The query for all runs with their registered data, one row a run and level."""
    on = and_(runs.c.experiment == inputs.c.experiment, runs.c.run == inputs.c.run)
    columns = (runs.c.experiment, runs.c.run, runs.c.type, runs.c.events, runs.c.start, runs.c.stop)
    registered = (inputs.c.level, inputs.c.files, inputs.c.bytes)
    return (
        select(*columns, *registered)
        .outerjoin(inputs, on)
        .order_by(runs.c.experiment, runs.c.run, inputs.c.level)
    )


def import_runs(engine: Engine, found: Iterable[Run]) -> Imported:
    """Records runs: new ones are added, known ones brought up to date, none is removed."""
    wanted = {run_key(run.experiment, run.run): run for run in found}
    columns = (runs.c.experiment, runs.c.run, runs.c.type, runs.c.events, runs.c.start, runs.c.stop)
    with engine.begin() as connection:
        query = select(*columns).where(runs.c.experiment.in_({run.experiment for run in wanted.values()}))
        known = {run_key(row[0], row[1]): Run(*row) for row in connection.execute(query)}
        new = [run for key, run in wanted.items() if key not in known]
        changed = [run for key, run in wanted.items() if key in known and known[key] != run]
        if new:
            connection.execute(insert(runs), [asdict(run) for run in new])
        for run in changed:
            at = and_(runs.c.experiment == run.experiment, runs.c.run == run.run)
            connection.execute(update(runs).where(at).values(asdict(run)))
        if new or changed:
            _move_serial(connection)
    return Imported(len(new), len(changed), len(wanted) - len(new) - len(changed))


def import_files(engine: Engine, found: Iterable[File]) -> Imported:
    """Registers files: new ones are added, known ones (by level, run and name) brought up to date, none is removed."""
    wanted = {(file.level, file.experiment, file.run, file.name): file for file in found}
    columns = (*(files.c[name] for name in File.__slots__),)
    with engine.begin() as connection:
        touched = {(file.level, file.experiment) for file in wanted.values()}
        known: dict[tuple[str, int, int, str], File] = {}
        for level, experiment in touched:
            query = select(*columns).where(files.c.level == level, files.c.experiment == experiment)
            for row in connection.execute(query):
                file = File(*row)
                known[file.level, file.experiment, file.run, file.name] = file
        new = [file for key, file in wanted.items() if key not in known]
        changed = [file for key, file in wanted.items() if key in known and known[key] != file]
        if new:
            connection.execute(insert(files), [asdict(file) for file in new])
        for file in changed:
            at = and_(
                *(files.c[name] == getattr(file, name) for name in ("level", "experiment", "run", "name"))
            )
            connection.execute(update(files).where(at).values(asdict(file)))
        if new or changed:
            moved = {(file.level, file.experiment, file.run) for file in (*new, *changed)}
            _sum_inputs(connection, {**known, **wanted}, moved)
            _move_serial(connection)
    return Imported(len(new), len(changed), len(wanted) - len(new) - len(changed))


def _sum_inputs(
    connection: Connection, every: Mapping[tuple[str, int, int, str], File], moved: set[tuple[str, int, int]]
) -> None:
    """Writes again what units read of the runs that moved."""
    rows = []
    for place, group in groupby(sorted(every), key=lambda key: key[:3]):
        if place not in moved:
            continue
        members = [every[key] for key in group]
        counted = [file.events for file in members if file.events is not None]
        rows.append(
            {
                "level": place[0],
                "experiment": place[1],
                "run": place[2],
                "digest": digest_files((file.name, file.size, file.checksum) for file in members),
                "files": len(members),
                "bytes": sum(file.size for file in members),
                "events": sum(counted) if len(counted) == len(members) else None,
            }
        )
    at = and_(*(inputs.c[name] == bindparam(f"at_{name}") for name in _AT))
    connection.execute(delete(inputs).where(at), [{f"at_{name}": row[name] for name in _AT} for row in rows])
    connection.execute(insert(inputs), rows)


def _move_serial(connection: Connection) -> None:
    connection.execute(update(ledger).values(catalogue_serial=ledger.c.catalogue_serial + 1))
