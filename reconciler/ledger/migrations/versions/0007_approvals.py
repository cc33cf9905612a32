"""Pinned trust roots, the generations that were launched, statements that were revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade():
    op.create_table(
        "trust_roots",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("pinned", sa.String(length=20), nullable=False),
        sa.Column("by", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trust_roots")),
        sa.UniqueConstraint("version", name=op.f("uq_trust_roots_version")),
    )
    op.create_table(
        "launches",
        sa.Column("campaign", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lock", sa.String(length=64), nullable=False),
        sa.Column("approval", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("campaign", name=op.f("pk_launches")),
    )
    op.create_table(
        "revocations",
        sa.Column("statement", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("statement", name=op.f("pk_revocations")),
    )
