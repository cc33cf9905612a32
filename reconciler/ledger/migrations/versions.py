"""All versions of the ledger's tables, in order, and the migrations 0013 to 0023."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)

from reconciler.ledger.migrations.dataset_versions import (
    add_calibration,
    add_comparisons,
    add_dataset_sums,
    add_datasets,
    add_editions,
    add_kept_files,
    add_operations,
    add_produced_keys,
    add_sources,
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
    "0033": add_operations,
}
"""Version → the migration that makes it from the version before, the oldest first."""
