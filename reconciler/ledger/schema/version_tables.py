"""The table of what brought a ledger to its versions. It shares the ledger's database."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from reconciler.ledger.schema.tables import identity, metadata

# Which tool brought the tables to which version, the latest last: whom older ones send people to.
upgrades = Table(
    "upgrades",
    metadata,
    Column("id", identity, primary_key=True),
    Column("version", String(32), nullable=False),
    Column("tool", String(200), nullable=False),
    Column("time", String(20), nullable=False),
)
