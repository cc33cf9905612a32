"""The tables of identity: which ledgers this one was before, and which folders are its own. They share the ledger's database."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, UniqueConstraint

from reconciler.ledger.schema.tables import metadata

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
