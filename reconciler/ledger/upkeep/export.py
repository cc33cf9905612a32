"""A copy of what a plan reads, for those who may read and not write: runs, inputs, and what was produced and tried.

What would let its reader act in the ledger's name stays behind: the nonces of attempts, leases, the journal, stored plans,
and the paths of files. Every table is there, so that the copy is read by the same code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, insert, select, text

from reconciler.ledger.reading.observation import Identity, read_identity
from reconciler.ledger.schema import (
    action_tables,
    file_tables,
    place_tables,
    tables,
    trust_tables,
    version_tables,
)
from reconciler.ledger.store.schema_versions import HEAD
from reconciler.outside.errors import SourceUnavailable

CHUNK = 5000
"""Rows that are copied at a time."""

MODULES = (tables, file_tables, action_tables, place_tables, trust_tables, version_tables)
"""Whatever has tables of the ledger; a module that is not imported has none in the metadata."""

PUBLISHED: tuple[Table, ...] = (
    tables.ledger,
    tables.runs,
    tables.inputs,
    tables.admissions,
    tables.luminosity,
    tables.recipes,
    tables.payload_sets,
    tables.payload_buckets,
    tables.snapshots,
    tables.bindings,
    tables.intents,
    tables.outputs,
    tables.jobs,
    tables.attempts,
    tables.products,
    action_tables.pauses,
    file_tables.removals,
    version_tables.upgrades,
)

_BLANKED: Mapping[str, Mapping[str, Any]] = {
    "intents": {"plan": ""},
    "attempts": {"nonce": "", "reference": None, "batch": None},
    "pauses": {"who": "", "ended_by": None},
    "removals": {"path": "", "who": ""},
}
"""Columns whose content stays behind."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy is of."""

    identity: Identity
    version: str


def write_copy(connection: Connection, file: Path) -> Copied:
    """Writes a copy of the database, as of the connection's transaction, to a new SQLite file.

    Raises:
        SourceUnavailable: the file cannot be written.
    """
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.begin() as copy:
            tables.metadata.create_all(copy)
            copy.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            copy.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": HEAD})
            for table in PUBLISHED:
                blank = _BLANKED.get(table.name, {})
                for rows in _read(connection, table):
                    copy.execute(insert(table), [{**row, **blank} for row in rows])
    except OSError as error:
        raise SourceUnavailable(f"{file} cannot be written: {error.strerror}") from error
    finally:
        engine.dispose()
    return Copied(read_identity(connection), HEAD)


def _read(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    with contextlib.closing(connection.execution_options(yield_per=CHUNK).execute(select(table))) as found:
        for part in found.mappings().partitions(CHUNK):
            yield [dict(row) for row in part]


def list_launched(connection: Connection) -> frozenset[str]:
    """The campaigns of which anything was ever intended."""
    return frozenset(connection.scalars(select(tables.intents.c.campaign).distinct()))
