"""All versions of the ledger's tables, in order, and the migrations 0013 to 0031."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)

from reconciler.ledger.migrations.early_versions import (
    add_approvals,
    add_counts,
    add_cpu_time,
    add_engines,
    add_engines_of_batches,
    add_file_catalogues,
    add_lists_of_runs,
    add_payload_sets,
    add_withdrawals,
    lengthen_steps,
    make_first_tables,
)
from reconciler.ledger.schema.columns import describe_run, identity
from reconciler.model.produced import make_key


def add_records(op: Operations) -> None:
    """0013: details from the job on its outputs: kinds and rows of files, and a record of the attempt."""
    op.add_column("attempts", Column("record", Text))
    op.add_column("products", Column("rows", BigInteger))
    op.add_column("products", Column("kind", String(16)))


def add_removed_files(op: Operations) -> None:
    """0014: removed files, other places of files, and an index to find equal files."""
    op.create_index("ix_files_checksum", "files", ["checksum"])
    op.create_table(
        "replicas",
        Column("id", identity, primary_key=True),
        *describe_run(),
        Column("level", String(16), nullable=False),
        Column("name", String(255), nullable=False),
        Column("path", String(4096), nullable=False),
        Column("storage", String(8), nullable=False),
        Index("ix_replicas_file", "level", "experiment", "run", "name"),
    )
    op.create_table(
        "removals",
        Column("id", identity, primary_key=True),
        *describe_run(),
        Column("level", String(16), nullable=False),
        Column("name", String(255), nullable=False),
        Column("path", String(4096), nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("checksum", String(80), nullable=False),
        Column("events", BigInteger),
        Column("storage", String(8), nullable=False),
        Column("reason", String(500), nullable=False),
        Column("who", String(120), nullable=False),
        Column("time", String(20), nullable=False),
        Column("restored", String(20)),
        Index("ix_removals_file", "level", "experiment", "run", "name"),
    )


def add_simulated_files(op: Operations) -> None:
    """0015: whether files say that their events are simulated, and indexes of simulated files and runs."""
    op.add_column("files", Column("simulated", Boolean))
    op.add_column("removals", Column("simulated", Boolean))
    op.create_index(
        "ix_files_simulated",
        "files",
        ["level", "experiment", "run"],
        sqlite_where=text("simulated IS 1"),
        postgresql_where=text("simulated IS true"),
    )
    simulated = text("type = 'mc'")
    op.create_index(
        "ix_runs_simulated", "runs", ["experiment", "run"], sqlite_where=simulated, postgresql_where=simulated
    )


def add_latest_time(op: Operations) -> None:
    """0016: the latest time that was seen, so that what expired stays expired if a clock is set back."""
    op.create_table(
        "latest_time", Column("id", Integer, primary_key=True), Column("moment", String(20), nullable=False)
    )


def add_what_is_due(op: Operations) -> None:
    """0017: which files a job must write; the job's own folder does not decide this."""
    op.add_column("jobs", Column("due", Text))


def add_tools(op: Operations) -> None:
    """0018: which b2prod made the jobs of a batch, and the name and commit of the approved release."""
    op.add_column("batches", Column("origin", Text))


def add_upgrades(op: Operations) -> None:
    """0019: which tool migrated the tables to which version."""
    op.create_table(
        "upgrades",
        Column("id", identity, primary_key=True),
        Column("version", String(32), nullable=False),
        Column("tool", String(200), nullable=False),
        Column("time", String(20), nullable=False),
    )


def add_places(op: Operations) -> None:
    """0020: former ids of the ledger, and the places that belong to it."""
    op.create_table(
        "former_ledgers",
        Column("id", String(32), primary_key=True),
        Column("until", String(20), nullable=False),
        Column("reason", String(500), nullable=False),
    )
    op.create_table(
        "places",
        Column("id", String(32), primary_key=True),
        Column("kind", String(8), nullable=False),
        Column("path", String(1024), nullable=False),
        Column("since", String(20), nullable=False),
        UniqueConstraint("kind", "path"),
    )


def add_brakes(op: Operations) -> None:
    """0021: what an alarm asks about, and since when an attempt is missed."""
    op.add_column("pauses", Column("subject", LargeBinary))
    lost = text("state = 'lost'")
    op.create_index(
        "ix_attempts_lost", "attempts", ["site", "ended"], sqlite_where=lost, postgresql_where=lost
    )
    op.add_column("attempts", Column("missed", String(20)))


def add_usage(op: Operations) -> None:
    """0023: where verified attempts ran, for how long, and how much memory they took."""
    op.add_column("attempts", Column("host", String(255)))
    op.add_column("attempts", Column("wall_seconds", Double))
    op.add_column("attempts", Column("peak_memory", BigInteger))


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


MIGRATIONS: Mapping[str, Callable[[Operations], None]] = {
    "0001": make_first_tables,
    "0002": add_payload_sets,
    "0003": add_lists_of_runs,
    "0004": lengthen_steps,
    "0005": add_engines,
    "0008": add_file_catalogues,
    "0006": add_cpu_time,  # it runs after 0008, although its number is lower
    "0007": add_approvals,
    "0010": add_engines_of_batches,
    "0011": add_withdrawals,
    "0012": add_counts,
    "0013": add_records,
    "0014": add_removed_files,
    "0015": add_simulated_files,
    "0016": add_latest_time,
    "0017": add_what_is_due,
    "0018": add_tools,
    "0019": add_upgrades,
    "0020": add_places,
    "0021": add_brakes,
    "0023": add_usage,
    "0024": add_datasets,
    "0025": add_editions,
    "0026": add_kept_files,
    "0027": add_sources,
    "0028": add_dataset_sums,
    "0029": add_produced_keys,
    "0030": add_comparisons,
    "0031": add_calibration,
}
"""Version → the migration that makes it from the version before, the oldest first."""
