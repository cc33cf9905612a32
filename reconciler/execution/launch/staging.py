"""Files on tape: units whose input is not on disk wait, while the site's own command brings it there in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select, update

from reconciler.ledger.schema.tables import files, inputs
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.work_items import Address, WorkItem
from reconciler.outside.command import call
from schemas.manifest.runs import run_key, split_key
from schemas.policy.site import Prestage, Site

DISK, LOST = "disk", "lost"
STATES = (DISK, "staging", "tape", LOST)
"""What the command may say of a file. `lost` is not written into the run catalogue: a person has to look."""

CALLS = 10
"""Calls of the command in one turn."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What came of asking for files on tape.

    `ready` are the items whose input is on disk, `waiting` is how many others wait for theirs, `lost` are units whose
    input is lost, each with one of its files.
    """

    ready: list[WorkItem]
    waiting: int
    lost: list[tuple[Address, str]]


class Stager:
    """Asks for files on tape, and writes into the run catalogue where they are."""

    def __init__(self, sites: Mapping[str, Site], writer: Writer) -> None:
        self._sites, self._writer = sites, writer

    def stage(self, items: Sequence[WorkItem]) -> Staged:
        """Asks for the input that is not on disk, in the order of the items, within the site's limits."""
        ready: list[WorkItem] = []
        held: dict[str, list[WorkItem]] = {}
        with self._writer.reading() as connection:
            away: dict[str, frozenset[int]] = {}
            for item in items:
                source, site = item.step.input, item.campaign.site
                declared = self._sites.get(site)
                if source.step is not None or declared is None or declared.prestage is None:
                    ready.append(item)
                    continue
                if source.level not in away:
                    away[source.level] = find_away(connection, source.level)
                if item.run in away[source.level]:
                    held.setdefault(site, []).append(item)
                else:
                    ready.append(item)
        waiting, lost = 0, []
        for site, some in held.items():
            prestage = self._sites[site].prestage
            assert prestage is not None
            gone = self._ask(prestage, some)
            with self._writer.reading() as connection:
                levels = {item.step.input.level for item in some}
                left = {level: find_away(connection, level) for level in levels}
            for item in some:
                path = gone.get((item.step.input.level, item.run))
                if path is not None:
                    lost.append((item.address, path))
                elif item.run in left[item.step.input.level]:
                    waiting += 1
                else:
                    ready.append(item)
        places = {item.address: place for place, item in enumerate(items)}
        ready.sort(key=lambda item: places[item.address])
        return Staged(ready, waiting, lost)

    def _ask(self, prestage: Prestage, items: Sequence[WorkItem]) -> dict[tuple[str, int], str]:
        """Calls the command. Returns level and run → the path of a file that the command calls lost."""
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
                break  # it does not answer: the next turn asks again
        return gone

    def _record(self, said: Mapping[str, str], wanted: Mapping[str, tuple[str, int]]) -> None:
        """Records where files are. Plans do not depend on it, since it changes no data."""
        if not said:
            return
        with self._writer.writing(polling=True) as journal:
            for path, state in said.items():
                level, key = wanted[path]
                here = _place(files, level, key)
                journal.connection.execute(
                    update(files).where(here, files.c.path == path).values(storage=state)
                )
            for level, key in {wanted[path] for path in said}:
                count = (
                    select(func.count())
                    .select_from(files)
                    .where(_place(files, level, key), files.c.storage == DISK)
                    .scalar_subquery()
                )
                journal.connection.execute(
                    update(inputs).where(_place(inputs, level, key)).values(on_disk=count)
                )
        self._writer.prolong()


def find_away(connection: Connection, level: str) -> frozenset[int]:
    """The runs of which not all files of a level are on disk."""
    query = select(inputs.c.experiment, inputs.c.run).where(
        inputs.c.level == level, inputs.c.on_disk < inputs.c.files
    )
    return frozenset(run_key(*row) for row in connection.execute(query))


def count_away(connection: Connection, level: str, runs: Iterable[int]) -> tuple[int, int, int]:
    """How many of the runs are not on disk in full; how many files of these are on disk; how many files they have."""
    away = find_away(connection, level).intersection(runs)
    query = select(inputs.c.experiment, inputs.c.run, inputs.c.on_disk, inputs.c.files).where(
        inputs.c.level == level, inputs.c.on_disk < inputs.c.files
    )
    rows = [row for row in connection.execute(query) if run_key(row.experiment, row.run) in away]
    return len(rows), sum(row.on_disk for row in rows), sum(row.files for row in rows)


def read_states(text: str, asked: Sequence[str]) -> dict[str, str]:
    """Path → state, from the lines `STATE PATH` that the command prints; other lines are ignored."""
    known = frozenset(asked)
    found: dict[str, str] = {}
    for line in text.splitlines():
        state, _, path = line.strip().partition(" ")
        if state in STATES and path.strip() in known:
            found[path.strip()] = state
    return found


def _list_files(connection: Connection, items: Sequence[WorkItem], limit: int) -> dict[str, tuple[str, int]]:
    """Path → level and run of at most `limit` files to ask for; files that are being staged come first, and count."""
    found: list[tuple[bool, str, tuple[str, int]]] = []
    for start in range(0, len(items), 200):
        some = [(item.step.input.level, item.run) for item in items[start : start + 200]]
        query = (
            select(files.c.level, files.c.experiment, files.c.run, files.c.path, files.c.storage)
            .where(or_(*(_place(files, level, key) for level, key in some)), files.c.storage != DISK)
            .order_by(files.c.experiment, files.c.run, files.c.name)
        )
        for row in connection.execute(query):
            place = (row.level, run_key(row.experiment, row.run))
            found.append((row.storage != "staging", row.path, place))
        if len(found) >= 2 * limit:
            break
    found.sort(key=lambda one: one[0])  # stable: runs stay in their order
    return {path: place for _, path, place in found[:limit]}


def _place(table: Table, level: str, key: int) -> ColumnElement[bool]:
    experiment, run = split_key(key)
    return and_(table.c.level == level, table.c.experiment == experiment, table.c.run == run)
