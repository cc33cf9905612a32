"""Files on tape: units whose input is not on disk wait, while the site's own command copies it to disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select, update

from reconciler.datasets.operations.tape_copies import list_released
from reconciler.ledger.schema.tables import files, inputs
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.work_items import Address, WorkItem
from reconciler.outside.command import call
from schemas.manifest.runs import run_key, split_key
from schemas.policy.site import Prestage, Site

DISK, LOST = "disk", "lost"
STATES = (DISK, "staging", "tape", LOST)
"""What the command may say of a file. `lost` is not written into the run catalogue, because a person must look first."""

CALLS = 10
"""Largest number of calls of the command in one turn."""


class Stager:
    """Requests files on tape, and records in the run catalogue where files are."""

    def __init__(self, sites: Mapping[str, Site], writer: Writer) -> None:
        self._sites, self._writer = sites, writer

    def stage(self, items: Sequence[WorkItem]) -> tuple[list[WorkItem], set[Address], Mapping[Address, str]]:
        """Requests the input that is not on disk, in the order of the items, within the site's limits.

        Returns:
            The items whose input is on disk; the units that wait, also for an operation that recalls what units made; and unit → path of a lost file of its input.
        """
        asked: defaultdict[str, list[WorkItem]] = defaultdict(list)
        away: dict[str, frozenset[int]] = {}
        with self._writer.reading() as connection:
            for item in items:
                dataset, site = item.units.find_registered(item.run), self._sites.get(item.campaign.site)
                if dataset is None or site is None or site.prestage is None:
                    continue
                if dataset not in away:
                    away[dataset] = find_away(connection, dataset)
                if item.run in away[dataset]:
                    asked[site.name].append(item)
        waiting: set[Address] = set()
        lost: dict[Address, str] = {}
        for name, some in asked.items():
            prestage = self._sites[name].prestage
            assert prestage is not None
            gone = self._ask(prestage, some)
            with self._writer.reading() as connection:
                left = {name: find_away(connection, name) for name in away}
            for item in some:
                dataset = item.units.find_registered(item.run) or ""
                if (dataset, item.run) in gone:
                    lost[item.address] = gone[dataset, item.run]
                elif item.run in left[dataset]:
                    waiting.add(item.address)
        with self._writer.reading() as connection:
            waiting |= find_released(connection, items)
        ready = [item for item in items if item.address not in waiting and item.address not in lost]
        return ready, waiting, lost

    def _ask(self, prestage: Prestage, items: Sequence[WorkItem]) -> dict[tuple[str, int], str]:
        """Calls the command. Returns dataset and run key → the path of a file that the command calls lost."""
        with self._writer.reading() as connection:
            wanted = _list_files(connection, items, prestage.in_flight)
        gone: dict[tuple[str, int], str] = {}
        paths = list(wanted)
        for start in range(0, min(len(paths), CALLS * prestage.batch), prestage.batch):
            some = paths[start : start + prestage.batch]
            reply = call([*prestage.command, *some], self._writer.prompt)
            said = read_states(reply.out, some) if reply.status == 0 else {}
            self._record({path: state for path, state in said.items() if state != LOST}, wanted)
            gone |= {wanted[path]: path for path, state in said.items() if state == LOST}
            if not said:
                break  # no answer: the next turn asks again
        return gone

    def _record(self, said: Mapping[str, str], wanted: Mapping[str, tuple[str, int]]) -> None:
        """Records where files are. Plans do not depend on it, because it does not change data."""
        if not said:
            return
        with self._writer.writing(polling=True) as journal:
            for path, state in said.items():
                dataset, key = wanted[path]
                here = (_place(files, dataset, key), files.c.path == path)
                journal.connection.execute(update(files).where(*here).values(storage=state))
            for dataset, key in {wanted[path] for path in said}:
                on_disk = (_place(files, dataset, key), files.c.storage == DISK)
                count = select(func.count()).select_from(files).where(*on_disk).scalar_subquery()
                changed = update(inputs).where(_place(inputs, dataset, key)).values(on_disk=count)
                journal.connection.execute(changed)
        self._writer.prolong()


def find_released(connection: Connection, items: Sequence[WorkItem]) -> set[Address]:
    """The units whose input another unit made, and lies on tape alone."""
    released = list_released(connection)
    return {
        item.address
        for item in (items if released else ())
        if item.units.reads_units([item.run]) and item.units.inputs[item.index] in released
    }


def find_away(connection: Connection, dataset: str) -> frozenset[int]:
    """The keys of the runs of which a dataset has files that are not on disk."""
    return frozenset(run_key(row.experiment, row.run) for row in _list_away(connection, dataset))


def count_away(connection: Connection, dataset: str, runs: Collection[int]) -> tuple[int, int, int]:
    """Of the given runs that are not completely on disk: the number of runs, of their files on disk, and of all their files."""
    rows = [row for row in _list_away(connection, dataset) if run_key(row.experiment, row.run) in runs]
    return len(rows), sum(row.on_disk for row in rows), sum(row.files for row in rows)


def _list_away(connection: Connection, dataset: str) -> Sequence[Any]:
    columns = (inputs.c.experiment, inputs.c.run, inputs.c.on_disk, inputs.c.files)
    query = select(*columns).where(inputs.c.dataset == dataset, inputs.c.on_disk < inputs.c.files)
    return connection.execute(query).all()


def read_states(text: str, asked: Sequence[str]) -> dict[str, str]:
    """Path → state, read from the lines `STATE PATH` of the command's output; other lines are ignored."""
    known = frozenset(asked)
    found: dict[str, str] = {}
    for line in text.splitlines():
        state, _, path = line.strip().partition(" ")
        if state in STATES and path.strip() in known:
            found[path.strip()] = state
    return found


def _list_files(connection: Connection, items: Sequence[WorkItem], limit: int) -> dict[str, tuple[str, int]]:
    """Path → dataset and run key of at most `limit` files to ask for. Files that are being staged come first, and are counted."""
    found: list[tuple[bool, str, tuple[str, int]]] = []
    for start in range(0, len(items), 200):
        some = [(item.units.find_registered(item.run) or "", item.run) for item in items[start : start + 200]]
        query = (
            select(files.c.dataset, files.c.experiment, files.c.run, files.c.path, files.c.storage)
            .where(or_(*(_place(files, dataset, key) for dataset, key in some)), files.c.storage != DISK)
            .order_by(files.c.experiment, files.c.run, files.c.name)
        )
        for row in connection.execute(query):
            place = (row.dataset, run_key(row.experiment, row.run))
            found.append((row.storage != "staging", row.path, place))
        if len(found) >= 2 * limit:
            break
    found.sort(key=lambda one: one[0])  # a stable sort: runs stay in order
    return {path: place for _, path, place in found[:limit]}


def _place(table: Table, dataset: str, key: int) -> ColumnElement[bool]:
    experiment, run = split_key(key)
    return and_(table.c.dataset == dataset, table.c.experiment == experiment, table.c.run == run)
