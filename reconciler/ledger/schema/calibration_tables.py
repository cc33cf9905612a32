"""The tables of calibration's loop: what was handed over, and what came back. They share the ledger's database."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Text

from reconciler.ledger.schema.tables import make_numbered

# Hand-overs to calibration. A row is written before the folder, and changed once: `written` is when the folder was read back.
# `base` is the snapshot, compressed by zlib, from which the global tag that comes back may differ only by what is returned.
hand_overs = make_numbered(
    "hand_overs",
    Column("scheme", String(40), nullable=False),
    Column("stage", String(80), nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("editions", Text, nullable=False),  # JSON: name → digest
    Column("content", LargeBinary, nullable=False),  # canonical JSON, compressed by zlib
    Column("base", LargeBinary, nullable=False),
    Column("place", String(4096), nullable=False),
    Column("who", String(120), nullable=False),
    Column("created", String(20), nullable=False),
    Column("written", String(20)),
    Column("announced", String(1000)),
    Index("ix_hand_overs_stage", "scheme", "stage", "iteration"),
)
# Payloads that came back, as the snapshot of a local database; `written` is when its folder for trials was read back.
payload_returns = make_numbered(
    "payload_returns",
    Column("scheme", String(40), nullable=False),
    Column("stage", String(80), nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("hand_over", String(64), ForeignKey("hand_overs.digest"), nullable=False),
    Column("snapshot", String(120), nullable=False),
    Column("content", LargeBinary, nullable=False),  # of the file SNAPSHOT.iov, compressed by zlib
    Column("place", String(4096), nullable=False),
    Column("who", String(120), nullable=False),
    Column("created", String(20), nullable=False),
    Column("written", String(20)),
    Index("ix_payload_returns_stage", "scheme", "stage", "iteration"),
)
