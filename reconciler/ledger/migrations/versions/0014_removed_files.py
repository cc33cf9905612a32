"""Files that were removed, other places of files, and an index by which equal files are found."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def _identity():
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.create_index("ix_files_checksum", "files", ["checksum"])
    op.create_table(
        "replicas",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("storage", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_index("ix_replicas_file", "replicas", ["level", "experiment", "run", "name"])
    op.create_table(
        "removals",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=80), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.Column("storage", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("time", sa.String(length=20), nullable=False),
        sa.Column("restored", sa.String(length=20), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    op.create_index("ix_removals_file", "removals", ["level", "experiment", "run", "name"])
