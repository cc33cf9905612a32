"""The tables of what people decided, and of the ledger itself: trust, pauses, decisions, places, versions.

They share the ledger's database.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table, UniqueConstraint

from reconciler.ledger.schema.columns import StateText
from reconciler.ledger.schema.tables import make_numbered, metadata
from reconciler.model.states import PauseKind

# Trust roots that were pinned, by which approvals are judged: the one with the highest id counts, and versions only grow.
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
    Column("scopes", String(1000)),  # JSON, scope → [digest, generation since which it is]; NULL: not known
)
# The moments before which nothing counts any more of what a person signed in a role: it was revoked, or replaced.
floors = Table(
    "floors",
    metadata,
    Column("subject", String(130), primary_key=True),
    Column("role", String(31), primary_key=True),
    Column("principal", String(130), primary_key=True),
    Column("moment", String(20), nullable=False),
)
# Approving statements that were seen to be revoked, by the sha256 of their bytes.
revocations = Table(
    "revocations",
    metadata,
    Column("statement", String(64), primary_key=True),
    Column("since", String(20), nullable=False),
)
# The latest time by which approvals were judged, a row with the id 1: what had expired then does not come back with a clock.
latest_time = Table(
    "latest_time",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("moment", String(20), nullable=False),
)
# What is stopped for the time being: `all`, `site:NAME` or `campaign:NAME`.
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
    Column("subject", LargeBinary),  # JSON, compressed by zlib: what an alarm asks about, each by its name
)
# What a person did to units, and why.
decisions = make_numbered(
    "decisions",
    Column("time", String(20), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("what", String(200), nullable=False),
    Column("who", String(120), nullable=False),
    Column("reason", String(500), nullable=False),
)
# The ids that a ledger had before it was put back from a copy, or made again: attempts of these may still be at engines.
former_ledgers = Table(
    "former_ledgers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("until", String(20), nullable=False),
    Column("reason", String(500), nullable=False),
)
# The state folder and the storages that a ledger works with: each has a marker in it with the same id.
places = Table(
    "places",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(8), nullable=False),  # state or storage
    Column("path", String(1024), nullable=False),
    Column("since", String(20), nullable=False),
    UniqueConstraint("kind", "path"),
)
# Which tool brought the tables to which version, the latest last: whom older ones send people to.
upgrades = make_numbered(
    "upgrades",
    Column("version", String(32), nullable=False),
    Column("tool", String(200), nullable=False),
    Column("time", String(20), nullable=False),
)
