"""Exports a copy of what a plan reads, for users who may read but not write: runs, inputs, outputs, attempts.

The copy lacks everything that would let a reader act as the ledger: nonces, leases, the journal, stored plans, and paths of
files. It has all tables, so that the same code can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table

from reconciler.ledger.reading.observation import Identity, read_identity
from reconciler.ledger.schema import decision_tables, file_tables, tables
from reconciler.ledger.schema.rows import copy_rows
from reconciler.ledger.store.schema_versions import HEAD, make_tables
from reconciler.ledger.upkeep.backups import opened_copy
from reconciler.outside.errors import SourceUnavailable

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
    decision_tables.pauses,
    file_tables.datasets,
    file_tables.removals,
    decision_tables.upgrades,
)

_BLANKED: Mapping[str, Mapping[str, Any]] = {
    "intents": {"plan": ""},
    "attempts": {"nonce": "", "reference": None, "batch": None, "host": None},
    "pauses": {"who": "", "ended_by": None},
    "removals": {"path": "", "who": ""},
}
"""Columns whose content is replaced in the copy."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The identity of the copied ledger, and the version of its tables."""

    identity: Identity
    version: str


def write_copy(connection: Connection, file: Path) -> Copied:
    """Writes a copy of the database, as the connection's transaction sees it, to a new SQLite file.

    Raises:
        SourceUnavailable: the file cannot be written.
    """
    try:
        with opened_copy(file) as engine, engine.begin() as copy:
            make_tables(copy)
            copy_rows(connection, copy, PUBLISHED, _BLANKED)
    except OSError as error:
        raise SourceUnavailable(f"{file} cannot be written: {error.strerror}") from error
    return Copied(read_identity(connection), HEAD)
