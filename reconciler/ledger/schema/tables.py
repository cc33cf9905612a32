"""The tables of the run catalogue and of the ledger. They share one database, so that one read sees both at one moment."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    select,
    text,
)
from sqlalchemy.schema import SchemaItem

from reconciler.ledger.schema.columns import StateText, describe_run, identity, index_where
from reconciler.model.states import AttemptState, FailureClass, IntentState, OutputState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def make_numbered(name: str, *parts: SchemaItem) -> Table:
    """A table with a column `id`: row numbers that the database assigns."""
    return Table(name, metadata, Column("id", identity, primary_key=True), *parts)


LIVE_ATTEMPT = text("state IN ('intent', 'uncertain', 'submitted', 'running')")
"""An attempt may still give a result (`LIVE`). Here and below it is text: SQLite's partial indexes need the same words."""

LOST = text("attempts.state = 'lost'")
"""An attempt is lost."""

LIVE_OUTPUT = text("state IN ('intended', 'publishing', 'produced')")
"""An output exists or is being made (`CLAIMING`)."""

# One row. `serial` changes when something changes that a plan depends on, `catalogue_serial` with runs and files.
ledger = Table(
    "ledger",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("catalogue_serial", BigInteger, nullable=False),
)

# The run catalogue. `id` is the order of arrival, `files` the number of RAW files of the run, `removed` why the run must
# not be used any more. Null means not known; for `removed` it means that the run is in use.
runs = make_numbered(
    "runs",
    *describe_run(),
    Column("type", String(16), nullable=False),
    Column("events", BigInteger),
    Column("start", String(20)),
    Column("stop", String(20)),
    Column("seconds", Integer),
    Column("energy", String(16)),
    Column("quality", String(16)),
    Column("files", Integer),
    Column("removed", String(500)),
    UniqueConstraint("experiment", "run"),
    index_where("ix_runs_simulated", text("type = 'mc'"), "experiment", "run"),
)
# The runs of each list at its last import: text of `format_runs`, compressed by zlib.
run_lists = Table(
    "run_lists",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("runs", LargeBinary, nullable=False),
    Column("imported", String(20), nullable=False),
)
# Lines of lists with errors, until a later version of the list corrects them.
quarantine = make_numbered(
    "quarantine",
    Column("list", String(200), nullable=False, index=True),
    Column("line", Integer, nullable=False),
    Column("text", String(500), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("since", String(20), nullable=False),
)
# Runs that an open selection of a campaign has taken in; this is never undone.
admissions = Table(
    "admissions",
    metadata,
    Column("campaign", String(40), primary_key=True),
    *describe_run(key=True),
)
# Luminosity of runs in inverse nanobarn, by method, version and correction ("" for none).
luminosity = Table(
    "luminosity",
    metadata,
    Column("method", String(40), primary_key=True),
    Column("version", String(40), primary_key=True),
    Column("correction", String(120), primary_key=True),
    *describe_run(key=True),
    Column("value", Double, nullable=False),
    Column("statistical", Double),
    Column("systematic", Double),
)
files = make_numbered(
    "files",
    *describe_run(),
    Column("level", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String(80), nullable=False),
    Column("events", BigInteger),
    Column("storage", String(8), nullable=False),  # disk, tape or staging
    Column("simulated", Boolean),  # as the file says
    Column("dataset", String(200), nullable=False),
    UniqueConstraint("dataset", "experiment", "run", "name"),
    Index("ix_files_checksum", "checksum"),
    # Every plan asks for simulated files, and they are few.
    index_where(
        "ix_files_simulated",
        text("simulated IS 1"),
        *("dataset", "experiment", "run"),
        postgresql=text("simulated IS true"),
    ),
)
# Sums over the files of one dataset of one run, so that a plan reads one row for each run.
inputs = Table(
    "inputs",
    metadata,
    Column("dataset", String(200), primary_key=True),
    *describe_run(key=True),
    Column("digest", String(64), nullable=False),
    Column("files", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("events", BigInteger),
    Column("on_disk", Integer, nullable=False),  # how many of the files
)

plans = Table(
    "plans",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("begun", String(20), nullable=False),
    Column("ended", String(20)),
    Column("serial", BigInteger, nullable=False),  # the ledger's, after the last write for this plan
)
recipes = make_numbered(
    "recipes",
    Column("digest", String(64), nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
)
# The payload sets that were used, each once. `buckets` are the digests of its buckets, one after the other.
payload_sets = Table(
    "payload_sets",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("buckets", LargeBinary, nullable=False),
)
payload_buckets = Table(
    "payload_buckets",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("payloads", LargeBinary, nullable=False),
)
# Snapshots of running global tags. `followed` is when it was found to be so; null if runs only began with it.
snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("tag", String(120), primary_key=True),
    Column("content", LargeBinary, nullable=False),  # of the file NAME.iov, compressed by zlib
    Column("followed", String(27)),
)
# With which snapshots of its `forward` tags (digests, in the order of the tags) a run began.
bindings = Table(
    "bindings",
    metadata,
    Column("campaign", String(40), primary_key=True),
    *describe_run(key=True),
    Column("snapshots", String(700), nullable=False),
)
# Intents: a unit is to make certain outputs.
intents = make_numbered(
    "intents",
    Column("plan", String(64), ForeignKey("plans.digest"), nullable=False),
    Column("campaign", String(40), nullable=False),
    Column("step", String(64), nullable=False),
    *describe_run(),
    Column("state", StateText(IntentState, 12), nullable=False),
    Column("reason", String(500)),
    Column("approval", String(64)),  # digest of the approvals with which it began
    index_where(
        "uq_intents_open", text("state = 'open'"), "campaign", "step", "experiment", "run", unique=True
    ),
)
UNIT = (intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
"""The columns of an intent that name its unit."""

# One output of an intent.
outputs = make_numbered(
    "outputs",
    Column("intent", identity, ForeignKey("intents.id"), nullable=False, index=True),
    Column("campaign", String(40), nullable=False),
    Column("step", String(64), nullable=False),
    *describe_run(),
    Column("output", String(64), nullable=False),
    Column("fingerprint", LargeBinary(32), nullable=False),
    Column("recipe", identity, ForeignKey("recipes.id"), nullable=False, index=True),
    Column("input", String(64), nullable=False),
    Column("conditions", String(64)),
    Column("state", StateText(OutputState, 12), nullable=False),
    Column("version", Integer, nullable=False),
    Column("storage", String(1024), nullable=False),
    Column("folder", String(1024), nullable=False),
    Column("events", BigInteger),
    Column("events_read", BigInteger),
    Column("produced", String(20)),
    UniqueConstraint("campaign", "step", "experiment", "run", "output", "version"),
    index_where("uq_outputs_live", LIVE_OUTPUT, "campaign", "fingerprint", unique=True),
    Index("ix_outputs_run", "campaign", "experiment", "run"),
    index_where("ix_outputs_made", text("state = 'produced'"), "campaign", "recipe"),
    index_where("ix_outputs_publishing", text("state = 'publishing'"), "campaign"),
    Index("ix_outputs_produced", "fingerprint", sqlite_where=text("state = 'produced'")),
)
# `after` is when a failed job may be tried again, in seconds since 1970. `events` is the registered number of events of
# its input files, null if it is not known for each file.
jobs = make_numbered(
    "jobs",
    Column("intent", identity, ForeignKey("intents.id"), nullable=False),
    Column("key", String(16), nullable=False),
    Column("failures", Integer, nullable=False),  # attempts that count against the campaign's max_attempts
    Column("after", BigInteger),
    Column("events", BigInteger),
    Column("due", Text),  # JSON: output → name of its file; null in rows older than the column
    UniqueConstraint("intent", "key"),
)
# Jobs that an engine got in one call. `engine`: which one and where (null: the site's); `origin`: JSON on what made it.
batches = make_numbered(
    "batches",
    Column("name", String(128), nullable=False, unique=True),
    Column("site", String(40), nullable=False),
    Column("engine", String(500)),
    Column("origin", Text),
)
# One submission of a job. `absences` counts successive complete answers without it. `unknown`: since when nothing is
# known of it. `missed`: since when it is gone without a result. `cancel`: why its end was asked for.
attempts = make_numbered(
    "attempts",
    Column("job", identity, ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", String(128), nullable=False, unique=True),
    Column("nonce", String(32), nullable=False),
    Column("site", String(40), nullable=False),
    Column("state", StateText(AttemptState, 12), nullable=False),
    Column("reference", String(128)),  # the engine's id
    Column("failure", StateText(FailureClass, 16)),
    Column("reason", String(2000)),
    Column("begun", String(20), nullable=False),
    Column("ended", String(20)),
    Column("batch", identity, ForeignKey("batches.id"), index=True),
    Column("place", Integer),
    Column("fence", BigInteger, nullable=False),
    Column("absences", Integer, nullable=False),
    Column("unknown", String(20)),
    Column("missed", String(20)),
    Column("cancel", String(500)),
    Column("signature", String(64)),
    Column("cpu_seconds", Double),  # of the application, if the attempt is verified
    Column("events_read", BigInteger),  # the same
    Column("record", Text),  # JSON: details of how it was made, and `event_numbers`, a checksum
    Column("host", String(255)),  # where a verified attempt ran
    Column("wall_seconds", Double),
    Column("peak_memory", BigInteger),  # bytes of the application's largest process
    Column("kept", Text),  # JSON: name → digest of the files that were kept when it was verified
    UniqueConstraint("job", "number"),
    index_where("uq_attempts_live", LIVE_ATTEMPT, "job", unique=True),
    index_where("ix_attempts_lost", text("state = 'lost'"), "site", "ended"),
)
UNIT_ATTEMPTS = attempts.join(jobs).join(intents)
"""Attempts joined with their jobs and intents."""

UNDER_WAY = select(jobs.c.intent).select_from(attempts.join(jobs)).where(LIVE_ATTEMPT)
"""The intents with a live attempt, which an index lists."""

# The files of an output; `path` is below the output's folder, `kind` events or event list, `rows` the entries of its tree.
products = Table(
    "products",
    metadata,
    Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
    Column("path", String(255), primary_key=True),
    Column("attempt", identity, ForeignKey("attempts.id"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String(80), nullable=False),
    Column("events", BigInteger),
    Column("rows", BigInteger),
    Column("kind", String(16)),
)

# Contents that the state keeps of verified attempts: when the last attempt used one, and at which site.
kept_files = Table(
    "kept_files",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("site", String(40), nullable=False),
    Column("used", String(20), nullable=False),
    Index("ix_kept_files_used", "site", "used"),
)

# Who may write as the reconciler. `expires` is compared with the database's clock; the fence only grows.
leases = Table(
    "leases",
    metadata,
    Column("scope", String(40), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("expires", Double, nullable=False),  # seconds since 1970
)
# The journal, one row for each transaction; `digest` is computed from the content and the digest before.
events = make_numbered(
    "events",
    Column("time", String(20), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),  # canonical JSON, compressed by zlib
    Column("digest", String(64), nullable=False),
)
# How a site answers: the last time, failures in a row, and when it is asked again (seconds since 1970).
sites = Table(
    "sites",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("seen", String(20)),
    Column("failures", Integer, nullable=False),
    Column("after", BigInteger),
    Column("reason", String(500)),
)
# Rounds of verification. An interrupted round is continued; of an ended one only what was wrong is kept.
verifications = make_numbered(
    "verifications",
    Column("campaign", String(40), nullable=False, index=True),
    Column("begun", String(20), nullable=False),
    Column("ended", String(20)),
)
examinations = Table(
    "examinations",
    metadata,
    Column("verification", identity, ForeignKey("verifications.id"), primary_key=True),
    Column("output", identity, primary_key=True),  # no foreign key: outputs may be rebuilt from the journal
    Column("path", String(255), primary_key=True),
    Column("trouble", String(8)),  # gone, changed or wrong; null is fine
    Column("text", String(1000)),
)
# Outputs in a catalogue, by its address; a row is written only after the output was read back from it.
registrations = Table(
    "registrations",
    metadata,
    Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
    Column("catalogue", String(200), primary_key=True),
    Column("name", String(255), nullable=False),  # of the dataset, or of the manifest
    Column("registered", String(20), nullable=False),
)
