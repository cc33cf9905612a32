"""The files and runs of an edition, as they were frozen, and what the ledger has of them now. Only reads, and run by run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, select

from reconciler.datasets.contents import (
    ON_TAPE,
    DatasetFile,
    Gone,
    RunContent,
    belongs_to,
    choose_rows,
    read_replicas,
    stream_rows,
)
from reconciler.datasets.editions import EditionFile, EditionRun
from reconciler.datasets.frozen_runs import FrozenRuns
from reconciler.datasets.operations.tape_copies import list_released
from reconciler.datasets.verification.file_check import Trouble
from reconciler.ledger.schema.file_tables import removals
from reconciler.ledger.schema.tables import examinations, files, outputs, products
from reconciler.model.states import OutputState
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import RunSet, run_key


@dataclass(frozen=True, slots=True)
class FrozenContent:
    """What an edition has of a run. `newer` is the newest published version of its output after the frozen one."""

    content: RunContent
    files: tuple[DatasetFile, ...]
    newer: int | None = None


def stream_frozen(
    connection: Connection, edition: FrozenRuns, runs: RunSet | None = None
) -> Iterator[FrozenContent]:
    """Yields what an edition has of each run, sorted by run, files by path; of all runs if `runs` is None.

    Runs, files, sizes, checksums and events are those that were frozen. Paths are those of today, and of files that are
    not there any more it is said why.
    """
    return (_stream_made if edition.made else _stream_registered)(connection, edition, runs)


def _stream_made(connection: Connection, edition: FrozenRuns, runs: RunSet | None) -> Iterator[FrozenContent]:
    makers = {maker: _Versions(connection, maker, runs) for maker in edition.makers}
    for run, frozen in edition.stream(runs):
        maker = frozen.dataset or edition.dataset
        yield makers[maker].describe(run, frozen)


class _Versions:
    """The versions of all runs that one campaign made of a dataset."""

    def __init__(self, connection: Connection, dataset: str, runs: RunSet | None) -> None:
        self._dataset = dataset
        mine = belongs_to(parse_dataset(dataset))
        bad = examinations.c.trouble.in_((Trouble.GONE.value, Trouble.CHANGED.value))
        query = select(examinations.c.output, examinations.c.path, examinations.c.trouble)
        query = query.join(outputs, outputs.c.id == examinations.c.output).where(mine, bad)
        self._troubles = {(output, path): trouble for output, path, trouble in connection.execute(query)}
        self._released = {*list_released(connection).values()}
        made = ("id", "experiment", "run", "version", "state", "fingerprint", "storage", "folder")
        columns = (outputs.c[name] for name in (*made, "recipe", "input", "conditions"))
        listed = (products.c[name] for name in ("path", "size", "checksum", "kind"))
        query = select(*columns, *listed).outerjoin(products, products.c.output == outputs.c.id)
        query = query.where(mine, choose_rows(outputs, runs))
        rows = stream_rows(connection, query.order_by(*(outputs.c[name] for name in made[1:4])))
        self._groups = groupby(rows, key=lambda row: run_key(row.experiment, row.run))
        self._next = next(self._groups, None)

    def describe(self, run: int, frozen: EditionRun) -> FrozenContent:
        """What an edition has of a run; runs must be asked for in their order."""
        while self._next is not None and self._next[0] < run:
            self._next = next(self._groups, None)
        there = list(self._next[1]) if self._next is not None and self._next[0] == run else []
        mine = [row for row in there if row.version == frozen.version]
        output = mine[0] if mine and mine[0].fingerprint.hex() == frozen.input else None
        published = [row for row in there if row.state == OutputState.PRODUCED]
        lost = self._tell_lost(frozen, mine, published)
        known = {f"{row.folder}/{row.path}": row for row in mine if output is not None}
        how = (None, None, None) if output is None else (output.recipe, output.input, output.conditions)
        newer = (row.version for row in published if row.version > (frozen.version or 0))
        return FrozenContent(
            _sum_run(run, frozen, self._dataset, *how),
            tuple(self._describe_file(run, frozen, one, known.get(one.name), lost) for one in frozen.files),
            max(newer, default=None),
        )

    def _tell_lost(
        self, frozen: EditionRun, mine: Sequence[Row[Any]], published: Sequence[Row[Any]]
    ) -> str | None:
        """Why no file of a run is there; None if its output is published, and on disk."""
        name = f"v{frozen.version}"
        if not mine:
            return f"the ledger does not know its {name} any more"
        if mine[0].fingerprint.hex() != frozen.input:
            return f"the ledger has another output as its {name}"
        if mine[0].state == OutputState.PRODUCED:
            return ON_TAPE.format(frozen.version) if mine[0].id in self._released else None
        again = {row.version for row in published if row.fingerprint == mine[0].fingerprint}
        made = f", and was made again as v{max(again)}" if again else ""
        if mine[0].state == OutputState.LOST:
            return f"its {name} was found gone or changed{made}"
        if mine[0].state == OutputState.TRASHED:
            return f"its {name} is in the trash: `b2prod restore` brings it back{made}"
        if mine[0].state == OutputState.PURGED:
            return f"its {name} was deleted{made}"
        return f"its {name} is not published any more{made}"

    def _describe_file(
        self, run: int, frozen: EditionRun, file: EditionFile, row: Row[Any] | None, lost: str | None
    ) -> DatasetFile:
        place = "" if row is None else os.path.join(row.storage, row.folder, row.path)
        if lost is None:
            if row is None or (row.size, row.checksum) != (file.size, file.checksum):
                lost = f"the ledger has other files of its v{frozen.version}"
            elif (trouble := self._troubles.get((row.id, row.path))) is not None:
                lost = f"`b2prod verify` found it {trouble}"
        return DatasetFile(
            run,
            place if lost is None else "",
            file.size,
            file.checksum,
            file.events,
            self._dataset,
            frozen.version,
            frozen.input,
            (row is not None and row.kind) or "events",
            gone=None if lost is None else Gone(lost, place),
        )


def _stream_registered(
    connection: Connection, edition: FrozenRuns, runs: RunSet | None
) -> Iterator[FrozenContent]:
    dataset = edition.dataset
    copies = read_replicas(connection, dataset)
    removed = _read_removals(connection, dataset)
    columns = (files.c[name] for name in ("experiment", "run", "name", "path", "size", "checksum"))
    query = select(*columns).where(files.c.dataset == dataset, choose_rows(files, runs))
    rows = stream_rows(connection, query.order_by(files.c.experiment, files.c.run))
    groups = groupby(rows, key=lambda row: run_key(row.experiment, row.run))
    there = next(groups, None)
    for run, frozen in edition.stream(runs):
        while there is not None and there[0] < run:
            there = next(groups, None)
        known = {row.name: row for row in there[1]} if there is not None and there[0] == run else {}
        found = []
        for one in frozen.files:
            gone = _tell_unregistered(one, known.get(one.name), removed.get((run, one.name)))
            path, others = ("", ()) if gone else (known[one.name].path, copies.get((run, one.name), ()))
            about = (path, one.size, one.checksum, one.events, dataset)
            found.append(DatasetFile(run, *about, replicas=others, gone=gone))
        listed = tuple(sorted(found, key=lambda file: file.path))
        yield FrozenContent(_sum_run(run, frozen, dataset), listed)


def _read_removals(connection: Connection, dataset: str) -> Mapping[tuple[int, str], Gone]:
    """Run key and name → why a registered file was removed and where it was, for all that were not restored."""
    query = select(removals).where(removals.c.dataset == dataset, removals.c.restored.is_(None))
    return {
        (run_key(row.experiment, row.run), row.name): Gone(
            f"removed on {row.time[:10]}: {row.reason}", row.path
        )
        for row in connection.execute(query.order_by(removals.c.id))
    }


def _tell_unregistered(file: EditionFile, row: Row[Any] | None, removed: Gone | None) -> Gone | None:
    """Why a registered file is not there as it was frozen; None if it is."""
    if row is None:
        return removed or Gone("it is not registered any more", "")
    if (row.size, row.checksum) != (file.size, file.checksum):
        return Gone(f"{row.path} is registered under its name now, with another content", "")
    return None


def _sum_run(
    run: int,
    frozen: EditionRun,
    maker: str,
    recipe: int | None = None,
    made_from: str | None = None,
    conditions: str | None = None,
) -> RunContent:
    sums = (frozen.input, len(frozen.files), frozen.bytes, frozen.events)
    return RunContent(run, *sums, maker, frozen.version, recipe, made_from, conditions)
