"""The migrations 0001 to 0012: run catalogue, ledger, payload sets, lists of runs, engines, file catalogues, approvals."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)

from reconciler.ledger.schema.columns import describe_run, identity, index_where

OPEN = text("state = 'open'")
FIRST_LIVE = text("state IN ('intent', 'submitted')")
LIVE = text("state IN ('intent', 'uncertain', 'submitted', 'running')")
LIVE_OUTPUT = text("state IN ('intended', 'publishing', 'produced')")


def make_first_tables(op: Operations) -> None:
    """0001: run catalogue and ledger."""
    op.create_table(
        "files",
        Column("id", identity, primary_key=True),
        *describe_run(),
        Column("level", String(16), nullable=False),
        Column("name", String(255), nullable=False),
        Column("path", String(4096), nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("checksum", String(80), nullable=False),
        Column("events", BigInteger),
        UniqueConstraint("level", "experiment", "run", "name"),
    )
    op.create_table(
        "inputs",
        Column("level", String(16), primary_key=True),
        *describe_run(key=True),
        Column("digest", String(64), nullable=False),
        Column("files", Integer, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        Column("events", BigInteger),
    )
    op.create_table(
        "ledger",
        Column("id", String(32), primary_key=True),
        Column("serial", BigInteger, nullable=False),
        Column("catalogue_serial", BigInteger, nullable=False),
    )
    op.create_table(
        "runs",
        Column("id", identity, primary_key=True),
        *describe_run(),
        Column("type", String(16), nullable=False),
        Column("events", BigInteger),
        Column("start", String(20)),
        Column("stop", String(20)),
        UniqueConstraint("experiment", "run"),
    )
    op.create_table(
        "plans",
        Column("digest", String(64), primary_key=True),
        Column("content", LargeBinary, nullable=False),
        Column("begun", String(20), nullable=False),
        Column("ended", String(20)),
        Column("serial", BigInteger, nullable=False),
    )
    op.create_table(
        "recipes",
        Column("id", identity, primary_key=True),
        Column("digest", String(64), nullable=False, unique=True),
        Column("content", LargeBinary, nullable=False),
    )
    op.create_table(
        "intents",
        Column("id", identity, primary_key=True),
        Column("plan", String(64), ForeignKey("plans.digest"), nullable=False),
        Column("campaign", String(40), nullable=False),
        Column("step", String(24), nullable=False),
        *describe_run(),
        Column("state", String(12), nullable=False),
        Column("reason", String(500)),
        index_where("uq_intents_open", OPEN, "campaign", "step", "experiment", "run", unique=True),
    )
    op.create_table(
        "jobs",
        Column("id", identity, primary_key=True),
        Column("intent", identity, ForeignKey("intents.id"), nullable=False),
        Column("key", String(16), nullable=False),
        Column("failures", Integer, nullable=False),
        UniqueConstraint("intent", "key"),
    )
    op.create_table(
        "outputs",
        Column("id", identity, primary_key=True),
        Column("intent", identity, ForeignKey("intents.id"), nullable=False, index=True),
        Column("campaign", String(40), nullable=False),
        Column("step", String(24), nullable=False),
        *describe_run(),
        Column("output", String(64), nullable=False),
        Column("fingerprint", LargeBinary(32), nullable=False),
        Column("recipe", identity, ForeignKey("recipes.id"), nullable=False, index=True),
        Column("input", String(64), nullable=False),
        Column("conditions", String(64)),
        Column("state", String(12), nullable=False),
        Column("version", Integer, nullable=False),
        Column("storage", String(1024), nullable=False),
        Column("folder", String(1024), nullable=False),
        Column("events", BigInteger),
        Column("events_read", BigInteger),
        Column("produced", String(20)),
        UniqueConstraint("campaign", "step", "experiment", "run", "output", "version"),
        Index("ix_outputs_produced", "fingerprint", sqlite_where=text("state = 'produced'")),
        Index("ix_outputs_run", "campaign", "experiment", "run"),
        index_where("uq_outputs_live", LIVE_OUTPUT, "campaign", "fingerprint", unique=True),
    )
    op.create_table(
        "attempts",
        Column("id", identity, primary_key=True),
        Column("job", identity, ForeignKey("jobs.id"), nullable=False),
        Column("number", Integer, nullable=False),
        Column("name", String(128), nullable=False, unique=True),
        Column("nonce", String(32), nullable=False),
        Column("site", String(40), nullable=False),
        Column("state", String(12), nullable=False),
        Column("reference", String(128)),
        Column("failure", String(16)),
        Column("reason", String(2000)),
        Column("begun", String(20), nullable=False),
        Column("ended", String(20)),
        UniqueConstraint("job", "number"),
        index_where("uq_attempts_live", FIRST_LIVE, "job", unique=True),
    )
    op.create_table(
        "products",
        Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
        Column("path", String(255), primary_key=True),
        Column("attempt", identity, ForeignKey("attempts.id"), nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("checksum", String(80), nullable=False),
        Column("events", BigInteger),
    )


def add_payload_sets(op: Operations) -> None:
    """0002: the payload sets that runs were made with, snapshots of running tags, and what runs are bound to."""
    op.create_table(
        "payload_sets",
        Column("digest", String(64), primary_key=True),
        Column("buckets", LargeBinary, nullable=False),
    )
    op.create_table(
        "payload_buckets",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("payloads", LargeBinary, nullable=False),
    )
    op.create_table(
        "snapshots",
        Column("digest", String(64), primary_key=True),
        Column("tag", String(120), primary_key=True),
        Column("content", LargeBinary, nullable=False),
        Column("followed", String(27)),
    )
    op.create_table(
        "bindings",
        Column("campaign", String(40), primary_key=True),
        *describe_run(key=True),
        Column("snapshots", String(700), nullable=False),
    )


def add_lists_of_runs(op: Operations) -> None:
    """0003: what is known of runs and files, lists as they were last imported, quarantine, admissions, luminosity."""
    for column in (
        Column("seconds", Integer),
        Column("energy", String(16)),
        Column("quality", String(16)),
        Column("files", Integer),
        Column("removed", String(500)),
    ):
        op.add_column("runs", column)
    op.add_column("files", Column("storage", String(8), nullable=False, server_default="disk"))
    op.add_column("inputs", Column("on_disk", Integer, nullable=False, server_default="0"))
    op.execute("UPDATE inputs SET on_disk = files")
    _drop_defaults(op, "files", "storage")
    _drop_defaults(op, "inputs", "on_disk")
    op.create_table(
        "run_lists",
        Column("name", String(200), primary_key=True),
        Column("runs", LargeBinary, nullable=False),
        Column("imported", String(20), nullable=False),
    )
    op.create_table(
        "quarantine",
        Column("id", identity, primary_key=True),
        Column("list", String(200), nullable=False, index=True),
        Column("line", Integer, nullable=False),
        Column("text", String(500), nullable=False),
        Column("reason", String(500), nullable=False),
        Column("since", String(20), nullable=False),
    )
    op.create_table("admissions", Column("campaign", String(40), primary_key=True), *describe_run(key=True))
    op.create_table(
        "luminosity",
        Column("method", String(40), primary_key=True),
        Column("version", String(40), primary_key=True),
        Column("correction", String(120), primary_key=True),
        *describe_run(key=True),
        Column("value", Double, nullable=False),
        Column("statistical", Double),
        Column("systematic", Double),
    )


def lengthen_steps(op: Operations) -> None:
    """0004: the name of a step with the variant that it stands for, `cdst@adc0`."""
    for name in ("intents", "outputs"):
        with op.batch_alter_table(name) as table:
            table.alter_column("step", existing_type=String(24), type_=String(64), existing_nullable=False)


def add_engines(op: Operations) -> None:
    """0005: leases, the journal, batches, what is known of attempts and sites, pauses and decisions."""
    op.add_column("intents", Column("approval", String(64)))
    op.add_column("jobs", Column("after", BigInteger))
    op.create_table(
        "batches",
        Column("id", identity, primary_key=True),
        Column("name", String(128), nullable=False, unique=True),
        Column("site", String(40), nullable=False),
    )
    op.drop_index("uq_attempts_live", table_name="attempts")
    with op.batch_alter_table("attempts") as attempts:
        for column in (
            Column("batch", identity),
            Column("place", Integer),
            Column("fence", BigInteger, nullable=False, server_default="0"),
            Column("absences", Integer, nullable=False, server_default="0"),
            Column("unknown", String(20)),
            Column("cancel", String(500)),
            Column("signature", String(64)),
        ):
            attempts.add_column(column)
        attempts.create_foreign_key("fk_attempts_batch", "batches", ["batch"], ["id"])
        attempts.create_index("ix_attempts_batch", ["batch"])
    _drop_defaults(op, "attempts", "fence", "absences")
    op.create_index(
        "uq_attempts_live", "attempts", ["job"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.create_table(
        "leases",
        Column("scope", String(40), primary_key=True),
        Column("holder", String(200), nullable=False),
        Column("fence", BigInteger, nullable=False),
        Column("seconds", Double, nullable=False),
        Column("expires", Double, nullable=False),
    )
    op.create_table(
        "events",
        Column("id", identity, primary_key=True),
        Column("time", String(20), nullable=False),
        Column("fence", BigInteger, nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("digest", String(64), nullable=False),
    )
    op.create_table(
        "pauses",
        Column("id", identity, primary_key=True),
        Column("scope", String(80), nullable=False),
        Column("kind", String(12), nullable=False),
        Column("reason", String(500), nullable=False),
        Column("who", String(120), nullable=False),
        Column("since", String(20), nullable=False),
        Column("ended", String(20)),
        Column("ended_by", String(120)),
        Column("ended_reason", String(500)),
    )
    op.create_table(
        "decisions",
        Column("id", identity, primary_key=True),
        Column("time", String(20), nullable=False),
        Column("verb", String(20), nullable=False),
        Column("what", String(200), nullable=False),
        Column("who", String(120), nullable=False),
        Column("reason", String(500), nullable=False),
    )
    op.create_table(
        "sites",
        Column("name", String(40), primary_key=True),
        Column("seen", String(20)),
        Column("failures", Integer, nullable=False),
        Column("after", BigInteger),
        Column("reason", String(500)),
    )


def add_file_catalogues(op: Operations) -> None:
    """0008: rounds of verification, and which catalogues know which outputs."""
    op.create_table(
        "verifications",
        Column("id", identity, primary_key=True),
        Column("campaign", String(40), nullable=False, index=True),
        Column("begun", String(20), nullable=False),
        Column("ended", String(20)),
    )
    op.create_table(
        "examinations",
        Column("verification", identity, ForeignKey("verifications.id"), primary_key=True),
        Column("output", identity, primary_key=True),
        Column("path", String(255), primary_key=True),
        Column("trouble", String(8)),
        Column("text", String(1000)),
    )
    op.create_table(
        "registrations",
        Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
        Column("catalogue", String(200), primary_key=True),
        Column("name", String(255), nullable=False),
        Column("registered", String(20), nullable=False),
    )


def _drop_defaults(op: Operations, table: str, *columns: str) -> None:
    """Removes defaults that were only for existing rows: every writer gives these values."""
    with op.batch_alter_table(table) as changed:
        for column in columns:
            changed.alter_column(column, server_default=None)


def add_cpu_time(op: Operations) -> None:
    """0006: CPU time of attempts."""
    op.add_column("attempts", Column("cpu_seconds", Double))


def add_approvals(op: Operations) -> None:
    """0007: pinned trust roots, the generations that were launched, statements that were revoked."""
    op.create_table(
        "trust_roots",
        Column("id", identity, primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("version", Integer, nullable=False, unique=True),
        Column("content", LargeBinary, nullable=False),
        Column("pinned", String(20), nullable=False),
        Column("by", String(1000), nullable=False),
    )
    op.create_table(
        "launches",
        Column("campaign", String(40), primary_key=True),
        Column("generation", Integer, nullable=False),
        Column("lock", String(64), nullable=False),
        Column("approval", String(64), nullable=False),
        Column("since", String(20), nullable=False),
    )
    op.create_table(
        "revocations",
        Column("statement", String(64), primary_key=True),
        Column("since", String(20), nullable=False),
    )


def add_engines_of_batches(op: Operations) -> None:
    """0010: which engine took a batch; null means the present engine of its site."""
    op.add_column("batches", Column("engine", String(500)))


def add_withdrawals(op: Operations) -> None:
    """0011: withdrawals of statements, and the scopes of launches."""
    op.add_column("launches", Column("scopes", String(1000)))
    op.create_table(
        "floors",
        Column("subject", String(130), primary_key=True),
        Column("role", String(31), primary_key=True),
        Column("principal", String(130), primary_key=True),
        Column("moment", String(20), nullable=False),
    )


def add_counts(op: Operations) -> None:
    """0012: the registered number of events of a job's input files, and the number that its verified attempt read."""
    op.add_column("jobs", Column("events", BigInteger))
    op.add_column("attempts", Column("events_read", BigInteger))
