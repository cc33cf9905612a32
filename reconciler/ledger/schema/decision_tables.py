"""The tables of what people decided, and of the ledger itself: trust, pauses, decisions, comparisons, places, versions.

They share the ledger's database.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table, UniqueConstraint

from reconciler.ledger.schema.columns import StateText
from reconciler.ledger.schema.tables import make_numbered, metadata
from reconciler.model.states import PauseKind

# Pinned trust roots, by which approvals are judged. The one with the highest id counts; versions only grow.
trust_roots = make_numbered(
    "trust_roots",
    Column("digest", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),  # JSON, file → text, compressed by zlib
    Column("pinned", String(20), nullable=False),
    Column("by", String(1000), nullable=False),
    UniqueConstraint("version"),
)
# The last lock under which a campaign was launched, by generation and digest, and the approvals for it.
launches = Table(
    "launches",
    metadata,
    Column("campaign", String(40), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("lock", String(64), nullable=False),
    Column("approval", String(64), nullable=False),
    Column("since", String(20), nullable=False),
    Column("scopes", String(1000)),  # JSON, scope → [digest, its first generation]; NULL: not known
)
# Withdrawals: what a person signed in a role before the moment no longer counts, because it was revoked or replaced.
floors = Table(
    "floors",
    metadata,
    Column("subject", String(130), primary_key=True),
    Column("role", String(31), primary_key=True),
    Column("principal", String(130), primary_key=True),
    Column("moment", String(20), nullable=False),
)
# Revoked statements, by the sha256 of their bytes.
revocations = Table(
    "revocations",
    metadata,
    Column("statement", String(64), primary_key=True),
    Column("since", String(20), nullable=False),
)
# The latest time that was seen, one row with the id 1. What had expired then stays expired when a clock is set back.
latest_time = Table(
    "latest_time",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("moment", String(20), nullable=False),
)
# Pauses of `all`, `site:NAME` or `campaign:NAME`.
pauses = make_numbered(
    "pauses",
    Column("scope", String(80), nullable=False),
    Column("kind", StateText(PauseKind, 12), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("who", String(120), nullable=False),
    Column("since", String(20), nullable=False),
    Column("ended", String(20)),
    Column("ended_by", String(120)),
    Column("ended_reason", String(500)),
    Column("subject", LargeBinary),  # JSON, compressed by zlib: the names that an alarm asks about
)
# Operator actions and their reasons.
decisions = make_numbered(
    "decisions",
    Column("time", String(20), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("what", String(200), nullable=False),
    Column("who", String(120), nullable=False),
    Column("reason", String(500), nullable=False),
)
# Editions: what a dataset was when a person froze it. Rows never change. `digest` is that of the content.
editions = Table(
    "editions",
    metadata,
    Column("dataset", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),  # canonical JSON, compressed by zlib
    Column("reason", String(500)),
    Column("who", String(120), nullable=False),
    Column("created", String(20), nullable=False),
)
# Comparisons of datasets that a person kept, by the digest of their content. Rows never change.
comparisons = Table(
    "comparisons",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),  # canonical JSON, compressed by zlib
    Column("who", String(120), nullable=False),
    Column("created", String(20), nullable=False),
)
# Ids that the ledger had before it was restored or rebuilt. Attempts with these ids may still be at engines.
former_ledgers = Table(
    "former_ledgers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("until", String(20), nullable=False),
    Column("reason", String(500), nullable=False),
)
# The state folder and the storages of the ledger. Each holds a marker with the same id.
places = Table(
    "places",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(8), nullable=False),  # state or storage
    Column("path", String(1024), nullable=False),
    Column("since", String(20), nullable=False),
    UniqueConstraint("kind", "path"),
)
# Which tool migrated the tables to which version, the latest last. Messages of older tools name it.
upgrades = make_numbered(
    "upgrades",
    Column("version", String(32), nullable=False),
    Column("tool", String(200), nullable=False),
    Column("time", String(20), nullable=False),
)
