"""The tables of files that no job reads: other places of registered files, and removed files."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Index, String, literal_column

from reconciler.ledger.schema.columns import describe_run
from reconciler.ledger.schema.tables import make_numbered

SIMULATED: ColumnElement[str] = literal_column("'mc'")
"""The type of runs of simulated events, as the index has it. With a parameter, the database would not use the index."""

# Other places of registered files; no job reads them.
replicas = make_numbered(
    "replicas",
    *describe_run(),
    Column("level", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("storage", String(8), nullable=False),
    Index("ix_replicas_file", "level", "experiment", "run", "name"),
)
# Files that were removed from the catalogue, one row for each place; `restored` is when the same file came back.
removals = make_numbered(
    "removals",
    *describe_run(),
    Column("level", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String(80), nullable=False),
    Column("events", BigInteger),
    Column("storage", String(8), nullable=False),
    Column("simulated", Boolean),
    Column("reason", String(500), nullable=False),
    Column("who", String(120), nullable=False),
    Column("time", String(20), nullable=False),
    Column("restored", String(20)),
    Index("ix_removals_file", "level", "experiment", "run", "name"),
)
