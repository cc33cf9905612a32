"""The tables of files that are read by no job: other places of registered ones, and those that were taken out."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    String,
    Table,
    literal_column,
    text,
)

from reconciler.ledger.schema.columns import identity
from reconciler.ledger.schema.tables import files, metadata, runs

SIMULATED: ColumnElement[str] = literal_column("'mc'")
"""The type of runs of simulated events, as the index has it: of a parameter no database knows that it fits."""

Index("ix_files_checksum", files.c.checksum)
# What is simulated is little beside what the detector recorded, and every plan asks for it.
Index(
    "ix_files_simulated",
    files.c.level,
    files.c.experiment,
    files.c.run,
    sqlite_where=text("simulated IS 1"),
    postgresql_where=text("simulated IS true"),
)
Index(
    "ix_runs_simulated",
    runs.c.experiment,
    runs.c.run,
    sqlite_where=text("type = 'mc'"),
    postgresql_where=text("type = 'mc'"),
)
# Other places of files that are registered: they are read in no job.
replicas = Table(
    "replicas",
    metadata,
    Column("id", identity, primary_key=True),
    Column("experiment", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("level", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("storage", String(8), nullable=False),
    Index("ix_replicas_file", "level", "experiment", "run", "name"),
)
# Files that were taken out of the catalogue, one row a place; `restored` is when the same file came back.
removals = Table(
    "removals",
    metadata,
    Column("id", identity, primary_key=True),
    Column("experiment", Integer, nullable=False),
    Column("run", Integer, nullable=False),
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
