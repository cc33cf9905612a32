"""The tables of the run catalogue and of the ledger, which share one database and so one snapshot of a read."""

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
from reconciler.model.states import LIVE, AttemptState, FailureClass, IntentState, OutputState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def make_numbered(name: str, *parts: SchemaItem) -> Table:
    """A table whose rows have numbers, `id`, which the database gives them."""
    return Table(name, metadata, Column("id", identity, primary_key=True), *parts)


LIVE_ATTEMPT = text("state IN ('intent', 'uncertain', 'submitted', 'running')")
"""That an attempt may still come to a result (`LIVE`); written out, as the next two."""

LOST = text("attempts.state = 'lost'")
"""That an attempt was lost."""

LIVE_OUTPUT = text("state IN ('intended', 'publishing', 'produced')")
"""That an output is there or coming (`CLAIMING`); written out, since SQLite uses a partial index only for its own words."""

# One row. `serial` moves with what a plan depends on in the ledger, `catalogue_serial` with runs and files.
ledger = Table(
    "ledger",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("catalogue_serial", BigInteger, nullable=False),
)

# The run catalogue. `id` is the order of arrival, `files` how many RAW files the run was written to, `removed` why it
# is no longer to be used; null is not known, and for `removed` that it is in use.
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
# The runs of each list as it was last imported, in the text that `format_runs` writes, compressed by zlib.
run_lists = Table(
    "run_lists",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("runs", LargeBinary, nullable=False),
    Column("imported", String(20), nullable=False),
)
# Lines of lists that could not be trusted, until a later version of the list has them corrected.
quarantine = make_numbered(
    "quarantine",
    Column("list", String(200), nullable=False, index=True),
    Column("line", Integer, nullable=False),
    Column("text", String(500), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("since", String(20), nullable=False),
)
# Runs that an open selection of a campaign has taken in; this is never revoked.
admissions = Table(
    "admissions",
    metadata,
    Column("campaign", String(40), primary_key=True),
    *describe_run(key=True),
)
# Luminosity by run in inverse nanobarn: who measured it how, in which version, with which correction ("" for none).
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
    Column("simulated", Boolean),  # what the file says of its events
    UniqueConstraint("level", "experiment", "run", "name"),
    Index("ix_files_checksum", "checksum"),
    # What is simulated is little beside what the detector recorded, and every plan asks for it.
    Index(
        "ix_files_simulated",
        *("level", "experiment", "run"),
        sqlite_where=text("simulated IS 1"),
        postgresql_where=text("simulated IS true"),
    ),
)
# What a unit reads of one level of one run: kept with the files, so that a plan reads one row a run.
inputs = Table(
    "inputs",
    metadata,
    Column("level", String(16), primary_key=True),
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
    Column("serial", BigInteger, nullable=False),  # the ledger's, after the last write made for this plan
)
recipes = make_numbered(
    "recipes",
    Column("digest", String(64), nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
)
# The payloads that runs were made with, each set once: `buckets` are the digests of its buckets, one behind the other.
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
# What running tags were like: `followed` is when one was found to be so, null where a run merely began with it.
snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("tag", String(120), primary_key=True),
    Column("content", LargeBinary, nullable=False),  # of the file NAME.iov, compressed by zlib
    Column("followed", String(27)),
)
# Which snapshots of its `forward` tags, by digest and in their order, a run began with.
bindings = Table(
    "bindings",
    metadata,
    Column("campaign", String(40), primary_key=True),
    *describe_run(key=True),
    Column("snapshots", String(700), nullable=False),
)
# That a unit is to make certain outputs.
intents = make_numbered(
    "intents",
    Column("plan", String(64), ForeignKey("plans.digest"), nullable=False),
    Column("campaign", String(40), nullable=False),
    Column("step", String(64), nullable=False),
    *describe_run(),
    Column("state", StateText(IntentState, 12), nullable=False),
    Column("reason", String(500)),
    Column("approval", String(64)),  # digest of the approvals under which it was begun
    index_where(
        "uq_intents_open", text("state = 'open'"), "campaign", "step", "experiment", "run", unique=True
    ),
)
UNIT = (intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
"""The columns of an intent that say of which unit it is."""

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
    Index("ix_outputs_produced", "fingerprint", sqlite_where=text("state = 'produced'")),
)
# `after` is when a job that failed may be tried again, in seconds since 1970; `events` is how many its input files are
# registered with, null where that is not known of each.
jobs = make_numbered(
    "jobs",
    Column("intent", identity, ForeignKey("intents.id"), nullable=False),
    Column("key", String(16), nullable=False),
    Column("failures", Integer, nullable=False),  # attempts that count against the campaign's max_attempts
    Column("after", BigInteger),
    Column("events", BigInteger),
    Column("due", Text),  # JSON: output → name of its file; null in rows that are older than the column
    UniqueConstraint("intent", "key"),
)
# What was given to an engine in one call: `engine` is which, and where (null: the site's); `origin` JSON on what made it.
batches = make_numbered(
    "batches",
    Column("name", String(128), nullable=False, unique=True),
    Column("site", String(40), nullable=False),
    Column("engine", String(500)),
    Column("origin", Text),
)
# One submission of a job. `absences` counts complete answers in a row that did not know it, `unknown` is since when
# nothing can be told of it, `missed` since when it is gone without a result, `cancel` that its end was asked for.
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
    Column("cpu_seconds", Double),  # of the application, where the attempt is verified
    Column("events_read", BigInteger),  # the same
    Column("record", Text),  # JSON: what else is known of how it was made, and `event_numbers`, a checksum
    UniqueConstraint("job", "number"),
    index_where("uq_attempts_live", LIVE_ATTEMPT, "job", unique=True),
    index_where("ix_attempts_lost", text("state = 'lost'"), "site", "ended"),
)
UNIT_ATTEMPTS = attempts.join(jobs).join(intents)
"""Attempts, with their jobs and intents."""

UNDER_WAY = select(jobs.c.intent).select_from(attempts.join(jobs)).where(attempts.c.state.in_(LIVE))
"""The intents of which an attempt may still come to a result."""

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

# Who may write what the reconciler writes: `expires` is judged by the database's clock, the fence only grows.
leases = Table(
    "leases",
    metadata,
    Column("scope", String(40), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("expires", Double, nullable=False),  # seconds since 1970
)
# Every change of the ledger's rows, transaction by transaction; `digest` covers the content and the digest before.
events = make_numbered(
    "events",
    Column("time", String(20), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),  # canonical JSON, compressed by zlib
    Column("digest", String(64), nullable=False),
)
# How a site answers: when it last did, how often in a row it did not, and when it is asked again (seconds since 1970).
sites = Table(
    "sites",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("seen", String(20)),
    Column("failures", Integer, nullable=False),
    Column("after", BigInteger),
    Column("reason", String(500)),
)
# Rounds over a campaign's published files: one that was cut short is continued, of others what was wrong is kept.
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
# Outputs that a catalogue knows, by the address of the catalogue: written only after they were read back from it.
registrations = Table(
    "registrations",
    metadata,
    Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
    Column("catalogue", String(200), primary_key=True),
    Column("name", String(255), nullable=False),  # of the dataset, or of the manifest
    Column("registered", String(20), nullable=False),
)
