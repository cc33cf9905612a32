"""The tables around registered files: their datasets, other places of files, and removed files."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    literal_column,
)

from reconciler.ledger.schema.columns import describe_run, identity
from reconciler.ledger.schema.tables import make_numbered, metadata

SIMULATED: ColumnElement[str] = literal_column("'mc'")
"""The type of runs of simulated events, as the index has it. With a parameter, the database would not use the index."""

STRETCH = 1024
"""How many runs of an experiment have their keys in one row; a stretch begins at a multiple of it."""

# Datasets with registered files, and what is known of how adopted ones were made. The others are in the ledger.
datasets = Table(
    "datasets",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("level", String(16), nullable=False),
    Column("release", String(80)),
    Column("global_tag", String(200)),
    Column("since", String(20), nullable=False),
)
# What there is of each dataset in numbers, of registered files or of what a campaign `made`. `recipe` is one of those by which
# it was made. `counted` is the number of runs with known events.
dataset_sums = Table(
    "dataset_sums",
    metadata,
    Column("dataset", String(400), primary_key=True),
    Column("made", Boolean, primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("counted", BigInteger, nullable=False),
    Column("recipe", identity),
)
# Keys of 16 bytes of the produced outputs of a campaign, for each recipe and each `STRETCH` runs of an experiment, in any order:
# what an output was made from, as columns, so that a plan does not read a row for each output.
produced_keys = Table(
    "produced_keys",
    metadata,
    Column("campaign", String(40), primary_key=True),
    Column("recipe", identity, primary_key=True),
    Column("experiment", Integer, primary_key=True),
    Column("stretch", Integer, primary_key=True),
    Column("keys", LargeBinary, nullable=False),
)
# Other places of registered files; no job reads them.
replicas = make_numbered(
    "replicas",
    *describe_run(),
    Column("dataset", String(200), nullable=False),
    Column("name", String(255), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("storage", String(8), nullable=False),
    Index("ix_replicas_file", "dataset", "experiment", "run", "name"),
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
    Column("dataset", String(200), nullable=False),
    Index("ix_removals_file", "dataset", "experiment", "run", "name"),
)
