"""The journal: every change of the ledger's rows. The rows can be rebuilt from it.

A transaction is one entry: its changes in order, and a digest of them and of the digest before. This shows if somebody
changed a row without the journal, or changed or removed an entry.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, delete, insert, select, update

from reconciler.ledger.reading.latest_time import record_latest
from reconciler.ledger.schema import calibration_tables, decision_tables, operation_tables, tables
from reconciler.ledger.schema.rows import divide, move_counters
from reconciler.ledger.store.database import insert_new
from schemas.files.canonical import canonical_json, clean_text
from schemas.files.times import read_time

JOURNALLED: Sequence[Table] = (
    tables.plans,
    tables.recipes,
    tables.payload_buckets,
    tables.payload_sets,
    tables.bindings,
    tables.intents,
    tables.outputs,
    tables.jobs,
    tables.batches,
    tables.attempts,
    tables.products,
    tables.registrations,
    decision_tables.pauses,
    decision_tables.decisions,
    decision_tables.editions,
    decision_tables.comparisons,
    calibration_tables.hand_overs,
    calibration_tables.payload_returns,
    operation_tables.operations,
    operation_tables.operation_items,
    operation_tables.copies,
    operation_tables.protections,
)
"""The tables whose rows are in the journal, each after those that it refers to."""

UNTOLD = "serial"
"""A column of plans that is not in the journal: it only says how many changes the ledger has had."""


class Journal:
    """Writes rows within one transaction, and collects the changes for the entry.

    Texts may come from jobs, logs and engines: characters that the database cannot store are replaced here.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._changes: list[list[Any]] = []

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Adds rows. Returns the ids of the new rows in order; empty if the table has no ids."""
        if not rows:
            return []
        rows = [_clean(row) for row in rows]
        key = next(iter(table.primary_key.columns))
        if key.name != "id":
            self.connection.execute(insert(table), rows)
            self._note("insert", table, rows)
            return []
        adding = insert(table).returning(key, sort_by_parameter_order=True)
        ids: list[int] = list(self.connection.scalars(adding, rows))
        self._note("insert", table, [{"id": number, **row} for number, row in zip(ids, rows, strict=True)])
        return ids

    def insert_new(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds the rows that do not exist yet, by any unique key."""
        if not rows:
            return
        columns = list(table.columns)
        for row in rows:
            added = self.connection.execute(
                insert_new(self.connection, table).values(_clean(row)).returning(*columns)
            )
            self._note("insert", table, [dict(found._mapping) for found in added])  # noqa: SLF001 -- SQLAlchemy's name

    def update(self, table: Table, where: ColumnElement[bool], values: Mapping[str, Any]) -> list[Row[Any]]:
        """Changes rows. Returns the primary key and the new values of each changed row."""
        values = _clean(values)
        told = [*table.primary_key.columns, *(table.c[name] for name in values)]
        changed = list(self.connection.execute(update(table).where(where).values(values).returning(*told)))
        self._note("update", table, [dict(row._mapping) for row in changed])  # noqa: SLF001 -- SQLAlchemy's name
        return changed

    def update_each(
        self, table: Table, where: ColumnElement[bool], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Changes rows, each to values of its own; all have the same keys, with the `id`. Only rows for which `where` is true.

        For ten thousand rows it takes a sixth of the time of as many updates, since no statement is built for each.
        """
        if not rows:
            return
        due: set[int] = set()
        for part in divide(row["id"] for row in rows):
            known = select(table.c.id).where(table.c.id.in_(part), where).with_for_update()
            due.update(self.connection.scalars(known))
        changed = [_clean(row) for row in rows if row["id"] in due]
        if not changed:
            return
        new: dict[str, Any] = {name: bindparam(f"new_{name}") for name in changed[0] if name != "id"}
        statement = update(table).where(table.c.id == bindparam("new_id")).values(new)
        given = [{f"new_{name}": value for name, value in row.items()} for row in changed]
        self.connection.execute(statement, given)
        self._note("update", table, changed)

    def commit(self, time: str, fence: int) -> None:
        """Writes the entry, if anything changed."""
        if not self._changes:
            return
        last = select(tables.events.c.digest).order_by(tables.events.c.id.desc()).limit(1)
        before = self.connection.execute(last).scalar() or ""
        _write_entry(self.connection, before, time, fence, self._changes)
        record_latest(self.connection, read_time(time))
        self._changes = []

    def _note(self, verb: str, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            told = {name: _encode(value) for name, value in row.items() if name != UNTOLD}
            self._changes.append([verb, table.name, told])


class BrokenJournal(Exception):
    """An entry of the journal was changed or cannot be read, or one is missing. The message names the first."""


def read_journal(connection: Connection) -> Iterator[list[list[Any]]]:
    """Yields the changes of each entry, in order.

    Raises:
        BrokenJournal: the digests do not fit.
    """
    before = ""
    for row in connection.execute(select(tables.events).order_by(tables.events.c.id)):
        try:
            content = zlib.decompress(row.content)
        except zlib.error as error:
            raise BrokenJournal(f"entry {row.id} of the journal cannot be read: {error}") from None
        if chain(before, row.time, row.fence, content) != row.digest:
            raise BrokenJournal(f"entry {row.id} of the journal, of {row.time}, is not what was written")
        before = row.digest
        yield json.loads(content)


def rebuild(connection: Connection, entries: Iterable[list[list[Any]]]) -> None:
    """Deletes all rows of `JOURNALLED` and makes them again from the entries of a journal."""
    for table in reversed(JOURNALLED):
        connection.execute(delete(table))
    replay(connection, entries)


def replay(connection: Connection, entries: Iterable[list[list[Any]]]) -> None:
    """Repeats the changes of entries on rows that are as they were before these entries."""
    named = {table.name: table for table in JOURNALLED}
    for changes in entries:
        for verb, name, told in changes:
            table = named[name]
            row = {column: _decode(value) for column, value in told.items()}
            if verb == "insert":
                filler = {UNTOLD: 0} if UNTOLD in table.columns else {}
                connection.execute(insert(table).values({**filler, **row}))
            else:
                keys = [column.name for column in table.primary_key.columns]
                at = [table.c[key] == row[key] for key in keys]
                connection.execute(update(table).where(*at).values(row))
    if connection.dialect.name == "postgresql":
        move_counters(connection, JOURNALLED)


def read_rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """All rows of the journalled tables, by table, with values as in the journal."""
    found = {}
    for table in JOURNALLED:
        told = [column for column in table.columns if column.name != UNTOLD]
        query = select(*told).order_by(*table.primary_key.columns)
        found[table.name] = [
            {name: _encode(value) for name, value in row.items()}
            for row in connection.execute(query).mappings()
        ]
    return found


def adopt_rows(connection: Connection, time: str) -> None:
    """Begins the journal of a ledger that has none: all its rows become the first entry."""
    if connection.execute(select(tables.events.c.id).limit(1)).first() is not None:
        return
    changes = [["insert", name, row] for name, rows in read_rows(connection).items() for row in rows]
    if changes:
        _write_entry(connection, "", time, 0, changes)


def _write_entry(
    connection: Connection, before: str, time: str, fence: int, changes: list[list[Any]]
) -> None:
    """Adds an entry after the one with the digest `before`."""
    content = canonical_json(changes)
    row = {"time": time, "fence": fence, "content": zlib.compress(content, 1)}
    connection.execute(insert(tables.events).values(**row, digest=chain(before, time, fence, content)))


def chain(before: str, time: str, fence: int, content: bytes) -> str:
    """The digest of an entry that comes after the entry with the digest `before`."""
    return sha256(f"{before} {time} {fence} ".encode() + content).hexdigest()


def _clean(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: clean_text(value) if isinstance(value, str) else value for name, value in row.items()}


def _encode(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes | memoryview) else value


def _decode(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
