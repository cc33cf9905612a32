"""The files and runs of a dataset, as the ledger and the run catalogue have them. Only reads, and row by row.

The head of a dataset that a campaign makes is the newest produced version of each run, or, where it is given what the campaign
declares, the outputs that are made so, by this campaign or another.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select

from reconciler.datasets.operations.tape_copies import list_released
from reconciler.ledger.reading.heads import choose_heads
from reconciler.ledger.schema.file_tables import replicas
from reconciler.ledger.schema.rows import COPIED, divide
from reconciler.ledger.schema.tables import files, inputs, outputs, products
from reconciler.model.states import OutputState
from schemas.manifest.dataset import DatasetName, name_dataset
from schemas.manifest.runs import RunSet, gather_runs, run_key, split_key

_PRODUCED = outputs.c.state == OutputState.PRODUCED
_MOST = 100
"""The largest number of run ranges that a query names; more are chosen from its rows."""
_FEW = 1000
"""The largest number of runs for which ranges are looked for."""


ON_TAPE = "its v{} lies on tape alone; it comes back for jobs that read it"
"""Why a file is not on disk, with the version of its output."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Why a file of an edition is not there any more as it was frozen, and where it was; `place` is empty if that is not known."""

    reason: str
    place: str

    def __str__(self) -> str:
        return f"{self.reason}; it was {self.place}" if self.place else self.reason


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A file of a dataset. `run` is its run key, `path` absolute, or a name on the grid; `size` is in bytes.

    `events` is None if they were not counted. Of what a campaign made, `version` and `fingerprint` are those of the output, and
    `maker` is the dataset that it was made for: another one if it was taken over. `kind` is `events` or `event list`. `replicas`
    are other places of a registered file.

    `gone` is None while the file is there as the ledger knows it. A file that is not there any more, or lies on tape alone, has no path.
    """

    run: int
    path: str
    size: int
    checksum: str
    events: int | None
    maker: str
    version: int | None = None
    fingerprint: str | None = None
    kind: str = "events"
    replicas: tuple[str, ...] = ()
    gone: Gone | None = None

    @property
    def experiment(self) -> int:
        """The number of the experiment."""
        return split_key(self.run)[0]

    @property
    def run_number(self) -> int:
        """The number of the run within its experiment."""
        return split_key(self.run)[1]


@dataclass(frozen=True, slots=True)
class RunContent:
    """What a dataset has of one run. `files` is their number, `bytes` their size together, `events` None if not counted.

    `identity` is in hexadecimal digits: the fingerprint of the output, or the digest of the registered files. The fields after
    `maker`, the dataset that it was made for, are None for registered files: the output's version, the number of its recipe, the
    digest of its input and of its payload set.
    """

    run: int
    identity: str
    files: int
    bytes: int
    events: int | None
    maker: str
    version: int | None = None
    recipe: int | None = None
    input: str | None = None
    conditions: str | None = None


@dataclass(frozen=True, slots=True)
class DeclaredHead:
    """What a live campaign declares of a dataset: run key → fingerprint, and the keys of the runs whose input is `waiting`.

    What another campaign made so at `storage` counts too; if that is None, the campaign takes over nothing.
    """

    fingerprints: Mapping[int, bytes] = field(repr=False)
    waiting: Collection[int] = field(repr=False)
    storage: str | None

    @property
    def selected(self) -> int:
        """The number of runs that the campaign selects."""
        return len(self.fingerprints) + len(self.waiting)


def belongs_to(name: DatasetName) -> ColumnElement[bool]:
    """A condition: an output, in whatever state, is of this dataset."""
    place = (
        outputs.c.campaign == name.campaign,
        outputs.c.step == name.step,
        outputs.c.output == name.output,
    )
    return and_(*place)


def is_registered(connection: Connection, name: DatasetName) -> bool:
    """Whether a dataset has registered files: it is the detector's, adopted, or of files of which nobody said whose they are."""
    return (
        connection.execute(select(inputs.c.run).where(inputs.c.dataset == name.dataset).limit(1)).first()
        is not None
    )


def is_made(connection: Connection, name: DatasetName) -> bool:
    """Whether the ledger has a produced output of a dataset."""
    return (
        connection.execute(select(outputs.c.id).where(belongs_to(name), _PRODUCED).limit(1)).first()
        is not None
    )


def stream_files(
    connection: Connection,
    name: DatasetName,
    runs: RunSet | None = None,
    declared: DeclaredHead | None = None,
) -> Iterator[DatasetFile]:
    """Yields the files of a dataset, sorted by run and path; of all runs if `runs` is None. It never holds all of them."""
    if is_registered(connection, name):
        yield from _stream_registered(connection, name, runs)
        return
    named = (
        outputs.c[one]
        for one in ("id", "campaign", "step", "output", "version", "fingerprint", "storage", "folder")
    )
    columns = (products.c[one] for one in ("path", "size", "checksum", "events", "kind"))
    released = {*list_released(connection).values()}
    query = select(outputs.c.experiment, outputs.c.run, *named, *columns).join(
        products, products.c.output == outputs.c.id
    )
    for row in _sort_files(_stream_outputs(connection, query, name, runs, declared)):
        place = os.path.join(row.storage, row.folder, row.path)
        taped = row.id in released
        yield DatasetFile(
            run_key(row.experiment, row.run),
            "" if taped else place,
            row.size,
            row.checksum,
            row.events,
            name_dataset(row.campaign, row.step, row.output),
            row.version,
            row.fingerprint.hex(),
            row.kind or "events",
            gone=Gone(ON_TAPE.format(row.version), place) if taped else None,
        )


def stream_runs(
    connection: Connection,
    name: DatasetName,
    runs: RunSet | None = None,
    declared: DeclaredHead | None = None,
) -> Iterator[RunContent]:
    """Yields what a dataset has of each run, sorted by run; of all runs if `runs` is None."""
    if is_registered(connection, name):
        columns = (inputs.c[one] for one in ("experiment", "run", "digest", "files", "bytes", "events"))
        query = select(*columns).where(inputs.c.dataset == name.dataset, choose_rows(inputs, runs))
        for row in stream_rows(connection, query.order_by(inputs.c.experiment, inputs.c.run)):
            key = run_key(row.experiment, row.run)
            if runs is None or key in runs:
                yield RunContent(key, row.digest, row.files, row.bytes, row.events, name.dataset)
        return
    count, size = (
        select(number).where(products.c.output == outputs.c.id).scalar_subquery().label(label)
        for number, label in ((func.count(), "files"), (func.sum(products.c.size), "bytes"))
    )
    named = ("experiment", "run", "fingerprint", "events", "campaign", "step", "output")
    made = ("version", "recipe", "input", "conditions")
    query = select(*(outputs.c[one] for one in (*named, *made)), count, size)
    for row in _stream_outputs(connection, query, name, runs, declared):
        yield RunContent(
            run_key(row.experiment, row.run),
            row.fingerprint.hex(),
            row.files,
            int(row.bytes or 0),
            row.events,
            name_dataset(row.campaign, row.step, row.output),
            row.version,
            row.recipe,
            row.input,
            row.conditions,
        )


def _stream_registered(
    connection: Connection, name: DatasetName, runs: RunSet | None
) -> Iterator[DatasetFile]:
    copies = read_replicas(connection, name.dataset)
    columns = (files.c[one] for one in ("experiment", "run", "name", "path", "size", "checksum", "events"))
    query = select(*columns).where(files.c.dataset == name.dataset, choose_rows(files, runs))
    rows = stream_rows(connection, query.order_by(files.c.experiment, files.c.run))
    for row in _sort_files(one for one in rows if runs is None or run_key(one.experiment, one.run) in runs):
        run, about = run_key(row.experiment, row.run), (row.path, row.size, row.checksum, row.events)
        yield DatasetFile(run, *about, name.dataset, replicas=copies.get((run, row.name), ()))


def read_replicas(connection: Connection, dataset: str) -> dict[tuple[int, str], tuple[str, ...]]:
    """Run key and name of a registered file → its other places, for all files of a dataset that have any."""
    copies: dict[tuple[int, str], tuple[str, ...]] = {}
    query = select(replicas).where(replicas.c.dataset == dataset).order_by(replicas.c.id)
    for one in connection.execute(query):
        key = (run_key(one.experiment, one.run), one.name)
        copies[key] = (*copies.get(key, ()), one.path)
    return copies


def _sort_files(rows: Iterator[Row[Any]]) -> Iterator[Row[Any]]:
    """The rows, which are sorted by run; those of a run by path. Databases sort texts by rules of their own."""
    for _, here in groupby(rows, key=lambda row: (row.experiment, row.run)):
        yield from sorted(here, key=lambda row: str(row.path))


def _stream_outputs(
    connection: Connection,
    query: Select[Any],
    name: DatasetName,
    runs: RunSet | None,
    declared: DeclaredHead | None,
) -> Iterator[Row[Any]]:
    """The rows of `query`, sorted by run, of the outputs that count."""
    query = query.where(choose_rows(outputs, runs)).order_by(outputs.c.experiment, outputs.c.run)
    mine = query.where(belongs_to(name))
    if declared is None:
        rows = stream_rows(connection, choose_heads(mine))
    else:
        wanted = declared.fingerprints
        own = stream_rows(connection, mine.where(_PRODUCED))
        here = (row for row in own if wanted.get(run_key(row.experiment, row.run)) == row.fingerprint)
        taken = _stream_taken(connection, query, _find_missing(connection, name, declared, runs), declared)
        rows = heapq.merge(here, taken, key=lambda row: (row.experiment, row.run))
    return (row for row in rows if runs is None or run_key(row.experiment, row.run) in runs)


def _find_missing(
    connection: Connection, name: DatasetName, declared: DeclaredHead, runs: Container[int] | None
) -> list[int]:
    """The sorted run keys of which the campaign itself did not make what it declares, if it takes over anything."""
    if declared.storage is None:
        return []
    own = {*connection.scalars(select(outputs.c.fingerprint).where(belongs_to(name), _PRODUCED))}
    chosen = (run for run, value in declared.fingerprints.items() if value not in own)
    return sorted(run for run in chosen if runs is None or run in runs)


def _stream_taken(
    connection: Connection, query: Select[Any], missing: list[int], declared: DeclaredHead
) -> Iterator[Row[Any]]:
    """The outputs of other campaigns for these runs; of several that made the same, the first one."""
    for part in divide(missing):
        alike = outputs.c.fingerprint.in_([declared.fingerprints[run] for run in part])
        first = select(func.min(outputs.c.id)).where(alike, _PRODUCED, outputs.c.storage == declared.storage)
        numbers = connection.scalars(first.group_by(outputs.c.fingerprint)).all()
        yield from connection.execute(query.where(outputs.c.id.in_(numbers)))


def choose_rows(table: Any, runs: RunSet | None) -> ColumnElement[bool]:
    """A condition that at least the rows of these runs meet, so that few others are read."""
    if runs is None:
        return and_(True)
    if len(runs.intervals) > _MOST:
        return and_(table.c.experiment.in_(sorted({first >> 32 for first, _ in runs.intervals})))
    ends = ((split_key(first), split_key(last)) for first, last in runs.intervals)
    return or_(
        False,
        *(and_(table.c.experiment == one[0], table.c.run.between(one[1], last[1])) for one, last in ends),
    )


def choose_few(table: Any, keys: Collection[int]) -> ColumnElement[bool]:
    """As `choose_rows`, for run keys. Of many runs it is true of all rows, since to name them would cost more than it saves."""
    return choose_rows(table, gather_runs(sorted(keys)) if len(keys) <= _FEW else None)


def stream_rows(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """Yields the rows of a query, of which only a part is held at a time."""
    with connection.execute(
        query.execution_options(yield_per=COPIED)
    ) as rows:  # closed, even if not read to its end
        yield from rows
