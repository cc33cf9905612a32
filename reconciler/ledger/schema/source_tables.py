"""The table of watched sources."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table

from reconciler.ledger.schema.tables import metadata

# How a watched source answers: when it was last asked, answered and failed, how often it failed in a row, and when it is
# asked again (seconds since 1970). `reason` is why it last failed, `note` what was wrong with its last answer. `listed`:
# the paths in a list of files at its last import, one a line, compressed by zlib.
sources = Table(
    "sources",
    metadata,
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
