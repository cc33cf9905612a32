"""The run catalogue: the runs that exist, and the files that are registered for them. Reads only."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from reconciler.ledger.schema.file_tables import SIMULATED, removals, replicas
from reconciler.ledger.schema.rows import divide, join_rows
from reconciler.ledger.schema.tables import files, inputs, quarantine, runs
from reconciler.model.run import NO_BEAM
from renderer.identity.digest_columns import WIDTH, DigestColumn, RunDigests
from renderer.jobs.job_json import InputFile
from schemas.manifest.dataset import DETECTOR
from schemas.manifest.layout import COSMICS
from schemas.manifest.runs import RunSet, gather_runs, run_key, split_key

RAW = f"{DETECTOR}/raw"
"""The dataset of the detector's raw data in ROOT files."""

RANGES = 200
"""The largest number of ranges of runs that a query has."""

UNLIMITED = 1 << 62
"""More events than any run has."""

_NONE, _SOME = -1, -2
"""Numbers of events that say: not known; and not known of all files."""

_OF_RUN = and_(inputs.c.experiment == runs.c.experiment, inputs.c.run == runs.c.run)


def find_known(connection: Connection, keys: Iterable[int]) -> dict[int, str | None]:
    """The run keys that the catalogue has, each with the reason why it was removed, or None."""
    asked = keys if isinstance(keys, RunSet) else gather_runs(sorted(set(keys)))
    there = runs.c.experiment.in_(sorted({first >> 32 for first, _ in asked.intervals}))
    query = select(runs.c.experiment, runs.c.run, runs.c.removed).where(there)
    # A set is twice as fast as intervals, but too large if the ranges cover more runs than the catalogue has.
    most = connection.execute(select(func.count()).select_from(runs).where(there)).scalar_one()
    wanted: Container[int] = set(asked) if len(asked) <= most else asked
    return {
        key: removed
        for experiment, run, removed in connection.execute(query)
        if (key := experiment << 32 | run) in wanted
    }


def count_known(connection: Connection, asked: RunSet) -> int:
    """How many of these runs the catalogue has."""
    ends = ((split_key(first), split_key(last)) for first, last in asked.intervals)
    within = (and_(runs.c.experiment == one[0], runs.c.run.between(one[1], last[1])) for one, last in ends)
    return sum(
        connection.execute(select(func.count()).select_from(runs).where(or_(*part))).scalar_one()
        for part in divide(within, RANGES)
    )


def find_removed_runs(connection: Connection, asked: RunSet) -> dict[int, str]:
    """Those of these runs that were removed from the catalogue, by run key, with the reason."""
    query = select(runs.c.experiment, runs.c.run, runs.c.removed).where(runs.c.removed.is_not(None))
    return {
        key: removed
        for experiment, run, removed in connection.execute(query)
        if (key := run_key(experiment, run)) in asked
    }


def read_inputs(connection: Connection, dataset: str, experiments: Iterable[int]) -> RunDigests:
    """Run key → digest of the files that a dataset has of it."""
    return read_checked(connection, dataset, experiments)[0]


def read_checked(connection: Connection, dataset: str, experiments: Iterable[int]) -> tuple[RunDigests, bool]:
    """The same; and whether the files of a run may hold more events than the run has, as `find_excessive` tells.

    Numbers of events are read along with the digests and compared as texts. For a million runs this takes 0.4 s, where a
    join of runs and files takes 1 s.
    """
    keys, packed, doubtful = array("q"), list[bytes](), False
    events = case((inputs.c.events.is_not(None), inputs.c.events), (inputs.c.files > 1, _SOME), else_=_NONE)
    for experiment in sorted(experiments):
        base = run_key(experiment, 0)
        here = (inputs.c.dataset == dataset, inputs.c.experiment == experiment)
        query = select(inputs.c.run, inputs.c.digest, events.label("counted")).where(*here)
        for numbers, digests, counted in join_rows(connection, query, (",", "", ",")):
            found = _read_numbers(numbers, base, len(digests) // WIDTH)
            doubtful = doubtful or _is_doubtful(connection, experiment, numbers, counted)
            keys.extend(found)
            packed.append(bytes.fromhex(digests))
    return RunDigests(keys, DigestColumn(b"".join(packed))), doubtful


def _is_doubtful(connection: Connection, experiment: int, numbers: str, counted: str) -> bool:
    """Whether some of the sorted runs may have fewer events than were `counted` in their files."""
    if str(_SOME) in counted:
        return True
    ends = int(numbers.partition(",")[0]), int(numbers.rpartition(",")[2])
    recorded = func.coalesce(runs.c.events, UNLIMITED).label("recorded")
    query = select(runs.c.run, recorded).where(runs.c.experiment == experiment, runs.c.run.between(*ends))
    limits: dict[str, str] = {}
    for there, events in join_rows(connection, query, (",", ",")):
        if there == numbers and events == counted:
            return False
        limits.update(zip(there.split(","), events.split(","), strict=True))
    pairs = zip(numbers.split(","), counted.split(","), strict=True)
    return any(int(events) > int(limits.get(number, UNLIMITED)) for number, events in pairs)


def _read_numbers(text: str, base: int, count: int) -> Iterable[int]:
    """So many sorted numbers of a text, each plus `base`. Numbers that follow each other need not be read one by one."""
    first, last = int(text.partition(",")[0]), int(text.rpartition(",")[2])
    if last - first == count - 1:
        return range(base + first, base + last + 1)
    return [base + int(number) for number in text.split(",")]


def find_incomplete(connection: Connection, experiments: Sequence[int]) -> dict[int, str]:
    """Run key → what is wrong with the number of its RAW files, if the run declares another number."""
    query = (
        select(runs.c.experiment, runs.c.run, inputs.c.files, runs.c.files)
        .join(inputs, _OF_RUN)
        .where(inputs.c.dataset == RAW, inputs.c.files != runs.c.files, runs.c.experiment.in_(experiments))
    )
    return {
        run_key(experiment, run): f"{there} of {declared} files are registered"
        for experiment, run, there, declared in connection.execute(query)
    }


def find_energies(connection: Connection, experiments: Sequence[int]) -> dict[int, str]:
    """Run key → the name of its beam energy in paths: its label, or `cosmics`. Runs of unknown energy are left out."""
    columns = (runs.c.experiment, runs.c.run, runs.c.type, runs.c.energy)
    query = select(*columns).where(runs.c.experiment.in_(experiments))
    return {
        experiment << 32 | run: COSMICS if kind == "cosmic" or energy == NO_BEAM else energy
        for experiment, run, kind, energy in connection.execute(query)
        if kind == "cosmic" or energy is not None
    }


def find_excessive(
    connection: Connection, datasets: Iterable[str], experiments: Sequence[int]
) -> dict[str, dict[int, str]]:
    """Dataset → run key → how many events its files hold, if this is more than the run has: some events are there twice.

    If the events of some files of a run are not known, only those of the other files are counted.
    """
    unit = (inputs.c.dataset, runs.c.experiment, runs.c.run, runs.c.events)
    here = and_(inputs.c.dataset.in_(sorted(datasets)), inputs.c.experiment.in_(experiments))
    whole = select(*unit, inputs.c.events).join(inputs, _OF_RUN).where(here, inputs.c.events > runs.c.events)
    queries = [(whole, "")]
    uncertain = and_(here, inputs.c.events.is_(None), inputs.c.files > 1)
    if connection.execute(select(inputs.c.run).where(uncertain).limit(1)).first() is not None:
        # without such a run, the query below would cost as much as all others of a plan
        alike = and_(*(files.c[name] == inputs.c[name] for name in ("dataset", "experiment", "run")))
        counted = func.sum(files.c.events)
        partly = select(*unit, counted).join(inputs, _OF_RUN).join(files, alike).where(uncertain)
        partly = partly.where(files.c.events.is_not(None)).group_by(*unit).having(counted > runs.c.events)
        queries.append((partly, "at least "))
    found: dict[str, dict[int, str]] = {}
    for query, least in queries:
        for dataset, experiment, run, recorded, there in connection.execute(query):
            said = f"registered with {least}{int(there):,} events, the run itself with {recorded:,}"
            found.setdefault(dataset, {})[run_key(experiment, run)] = f"its files in {dataset} are {said}"
    return found


def find_simulated(
    connection: Connection, datasets: Iterable[str], experiments: Sequence[int]
) -> dict[str, dict[int, str]]:
    """Dataset → run key → why its events count as simulated: because of the run's type, or of files of that dataset."""
    typed = (runs.c.type == SIMULATED, runs.c.experiment.in_(experiments))
    query = select(runs.c.experiment, runs.c.run).where(*typed)
    of_type = {run_key(*row): "it is a run of simulated events" for row in connection.execute(query)}
    found = {dataset: dict(of_type) for dataset in datasets}
    query = select(files.c.dataset, files.c.experiment, files.c.run, files.c.name).where(
        files.c.simulated.is_(True), files.c.dataset.in_(sorted(found)), files.c.experiment.in_(experiments)
    )
    for row in connection.execute(query.order_by(files.c.name)):
        said = f"{row.name} says that its events are simulated"
        found[row.dataset].setdefault(run_key(row.experiment, row.run), said)
    return found


def read_files(connection: Connection, dataset: str, key: int) -> tuple[InputFile, ...]:
    """The files that a dataset has of one run, by name."""
    return read_files_of(connection, dataset, [key]).get(key, ())


def read_files_of(
    connection: Connection, dataset: str, keys: Iterable[int]
) -> dict[int, tuple[InputFile, ...]]:
    """Run key → the files that a dataset has of that run, by name; runs without a file are left out."""
    wanted: dict[int, list[int]] = {}
    for key in sorted(keys):
        experiment, run = split_key(key)
        wanted.setdefault(experiment, []).append(run)
    found: dict[int, list[InputFile]] = {}
    query = select(files.c.run, *(files.c[name] for name in ("name", "path", "size", "checksum", "events")))
    for experiment, listed in wanted.items():
        here = query.where(files.c.dataset == dataset, files.c.experiment == experiment)
        for part in divide(listed):
            for run, *told in connection.execute(here.where(files.c.run.in_(part))):
                found.setdefault(run_key(experiment, run), []).append(InputFile(*told))
    return {key: tuple(sorted(some, key=lambda file: file.name)) for key, some in found.items()}


def list_run_keys(connection: Connection) -> list[int]:
    """The sorted keys of all runs, including removed ones."""
    return sorted(run_key(*row) for row in connection.execute(select(runs.c.experiment, runs.c.run)))


def list_runs() -> Select[Any]:
    """The query for all runs with their registered data, one row for each run and dataset."""
    names = ("experiment", "run", "type", "energy", "quality", "events", "start", "stop", "removed")
    registered = (inputs.c.dataset, inputs.c.files, inputs.c.on_disk, inputs.c.bytes)
    return (
        select(*(runs.c[name] for name in names), *registered)
        .outerjoin(inputs, _OF_RUN)
        .order_by(runs.c.experiment, runs.c.run, inputs.c.dataset)
    )


def list_files(level: str | None = None) -> Select[Any]:
    """The query for the registered files, of one level if it is given, ordered by dataset, run and name."""
    order = (files.c.dataset, files.c.experiment, files.c.run, files.c.name)
    query = select(files).order_by(*order)
    return query if level is None else query.where(files.c.level == level)


def list_removals(level: str | None = None) -> Select[Any]:
    """The query for the removed files that did not come back, in the order of their removal."""
    query = select(removals).where(removals.c.restored.is_(None)).order_by(removals.c.id)
    return query if level is None else query.where(removals.c.level == level)


def list_replicas() -> Select[Any]:
    """The query for the replicas: the other places of files."""
    return select(replicas).order_by(replicas.c.id)


def list_quarantine() -> Select[Any]:
    """The query for the rows of lists that were refused."""
    names = ("list", "line", "reason", "text", "since")
    return select(*(quarantine.c[name] for name in names)).order_by(quarantine.c.list, quarantine.c.line)
