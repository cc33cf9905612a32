"""The migrations 0024 to 0033: datasets, and what lives on them."""

from __future__ import annotations

import contextlib
from itertools import groupby
from typing import Any

from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)

from reconciler.ledger.schema.columns import identity, index_where
from reconciler.model.produced import make_key


def add_datasets(op: Operations) -> None:
    """0024: each registered file belongs to a dataset: raw data to the detector's, the others to that of nobody yet."""
    op.create_table(
        "datasets",
        Column("name", String(200), primary_key=True),
        Column("level", String(16), nullable=False),
        Column("release", String(80)),
        Column("global_tag", String(200)),
        Column("since", String(20), nullable=False),
    )
    raw = "level IN ('raw', 'sroot')"
    name = f"CASE WHEN {raw} THEN 'detector/' ELSE 'unassigned/' END || level"
    moment = "(SELECT coalesce(max(time), '') FROM events)"
    op.execute(
        f"INSERT INTO datasets (name, level, since) SELECT DISTINCT {name}, level, {moment} FROM inputs"  # noqa: S608 -- no value of a user
    )
    for table in ("files", "removals"):
        op.drop_index("ix_files_simulated" if table == "files" else "ix_removals_file", table)
        with op.batch_alter_table(table) as changed:
            changed.add_column(Column("dataset", String(200), nullable=False, server_default=""))
        op.execute(f"UPDATE {table} SET dataset = {name}")  # noqa: S608 -- no value of a user
        with op.batch_alter_table(table) as changed:
            changed.alter_column("dataset", server_default=None)
            if table == "files":
                changed.drop_constraint("uq_files_level_experiment_run_name", type_="unique")
                columns = ["dataset", "experiment", "run", "name"]
                changed.create_unique_constraint("uq_files_dataset_experiment_run_name", columns)
    for table in ("inputs", "replicas"):
        if table == "replicas":
            op.drop_index("ix_replicas_file", table)
        with op.batch_alter_table(table) as changed:
            changed.alter_column(
                "level",
                new_column_name="dataset",
                existing_type=String(16),
                type_=String(200),
                existing_nullable=False,
            )
        old = name.replace("level", "dataset")
        op.execute(f"UPDATE {table} SET dataset = {old}")  # noqa: S608 -- no value of a user
    op.create_index(
        "ix_files_simulated",
        "files",
        ["dataset", "experiment", "run"],
        sqlite_where=text("simulated IS 1"),
        postgresql_where=text("simulated IS true"),
    )
    for table in ("replicas", "removals"):
        op.create_index(f"ix_{table}_file", table, ["dataset", "experiment", "run", "name"])


def add_editions(op: Operations) -> None:
    """0025: editions of datasets."""
    op.create_table(
        "editions",
        Column("dataset", String(200), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("digest", String(64), nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("reason", String(500)),
        Column("who", String(120), nullable=False),
        Column("created", String(20), nullable=False),
    )


def add_kept_files(op: Operations) -> None:
    """0026: which files were kept of verified attempts, and since when no other attempt left the same."""
    op.add_column("attempts", Column("kept", Text))
    op.create_table(
        "kept_files",
        Column("digest", String(64), primary_key=True),
        Column("site", String(40), nullable=False),
        Column("used", String(20), nullable=False),
        Index("ix_kept_files_used", "site", "used"),
    )


def add_sources(op: Operations) -> None:
    """0027: how watched sources answer."""
    op.create_table(
        "sources",
        Column("name", String(500), primary_key=True),
        Column("asked", String(20), nullable=False),
        Column("answered", String(20)),
        Column("failed", String(20)),
        Column("failures", Integer, nullable=False),
        Column("after", BigInteger, nullable=False),
        Column("reason", String(500)),
        Column("note", String(500)),
        Column("listed", LargeBinary),
    )


def add_dataset_sums(op: Operations) -> None:
    """0028: what there is of each dataset in numbers; indexes of outputs that are produced, and being published."""
    for name, state, columns in (
        ("ix_outputs_made", "produced", ["campaign", "recipe"]),
        ("ix_outputs_publishing", "publishing", ["campaign"]),
    ):
        here = text(f"state = '{state}'")
        op.create_index(name, "outputs", columns, sqlite_where=here, postgresql_where=here)
    counts = [
        Column(name, BigInteger, nullable=False) for name in ("runs", "files", "bytes", "events", "counted")
    ]
    op.create_table(
        "dataset_sums",
        Column("dataset", String(400), primary_key=True),
        Column("made", Boolean, primary_key=True),
        *counts,
        Column("recipe", identity),
    )
    op.execute(
        "INSERT INTO dataset_sums (dataset, made, runs, files, bytes, events, counted)"
        " SELECT dataset, false, count(*), coalesce(sum(files), 0), coalesce(sum(bytes), 0), coalesce(sum(events), 0),"
        " count(events) FROM inputs GROUP BY dataset"
    )
    op.execute(
        "INSERT INTO dataset_sums (dataset, made, runs, files, bytes, events, counted, recipe)"
        " SELECT campaign || '/' || step || '/' || output, true, count(*), coalesce(sum(number), 0),"
        " coalesce(sum(size), 0), coalesce(sum(events), 0), count(events), max(recipe) FROM"
        " (SELECT outputs.*, (SELECT count(*) FROM products WHERE products.output = outputs.id) AS number,"
        " (SELECT sum(size) FROM products WHERE products.output = outputs.id) AS size FROM outputs"
        " WHERE state = 'produced' AND NOT EXISTS (SELECT 1 FROM outputs AS later WHERE later.state = 'produced'"
        " AND later.campaign = outputs.campaign AND later.step = outputs.step AND later.output = outputs.output"
        " AND later.experiment = outputs.experiment AND later.run = outputs.run"
        " AND later.version > outputs.version)) AS heads GROUP BY campaign, step, output"
    )


def add_produced_keys(op: Operations) -> None:
    """0029: keys of the produced outputs as columns, in rows of 1024 runs each."""
    kept = op.create_table(
        "produced_keys",
        Column("campaign", String(40), primary_key=True),
        Column("recipe", identity, primary_key=True),
        Column("experiment", Integer, primary_key=True),
        Column("stretch", Integer, primary_key=True),
        Column("keys", LargeBinary, nullable=False),
    )
    made = text(
        "SELECT campaign, recipe, experiment, run / 1024, input, conditions FROM outputs"
        " WHERE state = 'produced' ORDER BY 1, 2, 3, 4"
    )
    for place, rows in groupby(op.get_bind().execute(made), lambda row: tuple(row[:4])):
        keys: list[bytes] = []
        for row in rows:
            with contextlib.suppress(ValueError):  # what was written by hand has no key
                keys.append(make_key(row[4], row[5]))
        op.get_bind().execute(kept.insert().values((*place, b"".join(keys))))


def add_comparisons(op: Operations) -> None:
    """0030: comparisons of datasets."""
    op.create_table(
        "comparisons",
        Column("digest", String(64), primary_key=True),
        Column("content", LargeBinary, nullable=False),
        Column("who", String(120), nullable=False),
        Column("created", String(20), nullable=False),
    )


def add_calibration(op: Operations) -> None:
    """0031: what is handed over to calibration, and the payloads that come back."""
    named = ("scheme", "stage", "iteration")

    def describe() -> tuple[Column[Any], ...]:
        return (
            Column("id", identity, primary_key=True),
            Column("scheme", String(40), nullable=False),
            Column("stage", String(80), nullable=False),
            Column("iteration", Integer, nullable=False),
            Column("digest", String(64), nullable=False, unique=True),
        )

    told = ("place", 4096), ("who", 120), ("created", 20)
    op.create_table(
        "hand_overs",
        *describe(),
        Column("editions", Text, nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("base", LargeBinary, nullable=False),
        *(Column(name, String(length), nullable=False) for name, length in told),
        Column("written", String(20)),
        Column("announced", String(1000)),
    )
    op.create_table(
        "payload_returns",
        *describe(),
        Column("hand_over", String(64), ForeignKey("hand_overs.digest"), nullable=False),
        Column("snapshot", String(120), nullable=False),
        Column("content", LargeBinary, nullable=False),
        *(Column(name, String(length), nullable=False) for name, length in told),
        Column("written", String(20)),
    )
    for table in ("hand_overs", "payload_returns"):
        op.create_index(f"ix_{table}_stage", table, [*named])


def add_operations(op: Operations) -> None:
    """0033: operations on datasets, where copies of outputs lie, and which datasets are protected."""
    op.create_table(
        "operations",
        Column("id", identity, primary_key=True),
        Column("kind", String(12), nullable=False),
        Column("subject", String(200), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("approval", String(64)),
        Column("state", String(12), nullable=False),
        Column("reason", String(500), nullable=False),
        Column("told", String(2000)),
        Column("content", LargeBinary),
        *(Column(name, BigInteger, nullable=False) for name in ("outputs", "files", "bytes")),
        Column("who", String(120), nullable=False),
        Column("begun", String(20), nullable=False),
        Column("ended", String(20)),
        index_where("uq_operations_open", text("state = 'intended'"), "kind", "subject", unique=True),
        Index("ix_operations_subject", "subject", "kind"),
    )
    op.create_table(
        "operation_items",
        Column("operation", identity, ForeignKey("operations.id"), primary_key=True),
        Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
        Column("state", String(12), nullable=False),
        Column("told", String(1000)),
    )
    op.create_index("ix_operation_items_output", "operation_items", ["output"])
    op.create_table(
        "copies",
        Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
        Column("kind", String(8), primary_key=True),
        Column("storage", String(1024), nullable=False),
        Column("folder", String(1024), nullable=False),
        Column("there", Boolean, nullable=False),
        Column("verified", String(20), nullable=False),
    )
    op.create_table(
        "protections",
        Column("id", identity, primary_key=True),
        Column("dataset", String(200), nullable=False),
        Column("until", String(20), nullable=False),
        *(Column(name, String(length), nullable=False) for name, length in (("reason", 500), ("who", 120))),
        Column("time", String(20), nullable=False),
        Column("ended", String(20)),
        Column("ended_by", String(120)),
    )
