"""The payload sets that runs were made with, snapshots of running tags, and what runs are bound to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.create_table(
        "payload_sets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("buckets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_payload_sets")),
    )
    op.create_table(
        "payload_buckets",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("payloads", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_payload_buckets")),
    )
    op.create_table(
        "snapshots",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=120), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("followed", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("digest", "tag", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "bindings",
        sa.Column("campaign", sa.String(length=40), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("snapshots", sa.String(length=700), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "experiment", "run", name=op.f("pk_bindings")),
    )
