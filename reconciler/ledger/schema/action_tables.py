"""The tables of what people and brakes decided about production: pauses and decisions. They share the ledger's database."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, String, Table

from reconciler.ledger.schema.tables import identity, metadata

# What is stopped for the time being: `all`, `site:NAME` or `campaign:NAME`, by an operator, a breaker or a canary.
pauses = Table(
    "pauses",
    metadata,
    Column("id", identity, primary_key=True),
    Column("scope", String(80), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("who", String(120), nullable=False),
    Column("since", String(20), nullable=False),
    Column("ended", String(20)),
    Column("ended_by", String(120)),
    Column("ended_reason", String(500)),
    Column("subject", LargeBinary),  # JSON, compressed by zlib: what an alarm asks about, each by its name
)
# What a person did to units, and why.
decisions = Table(
    "decisions",
    metadata,
    Column("id", identity, primary_key=True),
    Column("time", String(20), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("what", String(200), nullable=False),
    Column("who", String(120), nullable=False),
    Column("reason", String(500), nullable=False),
)
