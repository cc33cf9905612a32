"""The tables of operations on datasets: what was done to which outputs, where their copies lie, and what is protected.

They share the ledger's database.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, text

from reconciler.ledger.schema.columns import StateText, identity, index_where
from reconciler.ledger.schema.tables import make_numbered, metadata
from reconciler.model.operations import CopyKind, OperationKind, OperationState

# Operations. A row is written before the effect, and changed when it was read back. `digest` is that of the action, `approval`
# that of the signatures that permitted it; `content` is canonical JSON, compressed by zlib, of what else the kind needs; `told`
# is the result, or why it was refused.
operations = make_numbered(
    "operations",
    Column("kind", StateText(OperationKind, 12), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("approval", String(64)),
    Column("state", StateText(OperationState, 12), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("told", String(2000)),
    Column("content", LargeBinary),
    Column("outputs", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("who", String(120), nullable=False),
    Column("begun", String(20), nullable=False),
    Column("ended", String(20)),
    index_where("uq_operations_open", text("state = 'intended'"), "kind", "subject", unique=True),
    Index("ix_operations_subject", "subject", "kind"),
)
# The outputs of an operation, each with its own state.
operation_items = Table(
    "operation_items",
    metadata,
    Column("operation", identity, ForeignKey("operations.id"), primary_key=True),
    Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
    Column("state", StateText(OperationState, 12), nullable=False),
    Column("told", String(1000)),
    Index("ix_operation_items_output", "output"),
)
# Where copies of an output lie, and when this was read back. An output without a row of a disk copy is on disk at its own
# place. `there` is false of a copy that was taken away.
copies = Table(
    "copies",
    metadata,
    Column("output", identity, ForeignKey("outputs.id"), primary_key=True),
    Column("kind", StateText(CopyKind, 8), primary_key=True),
    Column("storage", String(1024), nullable=False),
    Column("folder", String(1024), nullable=False),
    Column("there", Boolean, nullable=False),
    Column("verified", String(20), nullable=False),
)
# Datasets that nobody may delete before a day; `ended` is when a person took the protection back.
protections = make_numbered(
    "protections",
    Column("dataset", String(200), nullable=False),
    Column("until", String(20), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("who", String(120), nullable=False),
    Column("time", String(20), nullable=False),
    Column("ended", String(20)),
    Column("ended_by", String(120)),
)
