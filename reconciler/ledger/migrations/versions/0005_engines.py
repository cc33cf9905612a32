"""Leases, the journal, batches, what is known of attempts and sites, pauses and decisions."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

LIVE = sa.text("state IN ('intent', 'uncertain', 'submitted', 'running')")


def number():
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.add_column("intents", sa.Column("approval", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("after", sa.BigInteger(), nullable=True))
    op.create_table(
        "batches",
        sa.Column("id", number(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("name", name=op.f("uq_batches_name")),
    )
    op.drop_index("uq_attempts_live", table_name="attempts")
    with op.batch_alter_table("attempts") as attempts:
        attempts.add_column(sa.Column("batch", number(), nullable=True))
        attempts.add_column(sa.Column("place", sa.Integer(), nullable=True))
        attempts.add_column(sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"))
        attempts.add_column(sa.Column("absences", sa.Integer(), nullable=False, server_default="0"))
        attempts.add_column(sa.Column("unknown", sa.String(length=20), nullable=True))
        attempts.add_column(sa.Column("cancel", sa.String(length=500), nullable=True))
        attempts.add_column(sa.Column("signature", sa.String(length=64), nullable=True))
        attempts.create_foreign_key(op.f("fk_attempts_batch"), "batches", ["batch"], ["id"])
        attempts.create_index(op.f("ix_attempts_batch"), ["batch"])
    with op.batch_alter_table("attempts") as attempts:  # only for the rows that are there
        attempts.alter_column("fence", server_default=None)
        attempts.alter_column("absences", server_default=None)
    op.create_index(
        "uq_attempts_live", "attempts", ["job"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.create_table(
        "leases",
        sa.Column("scope", sa.String(length=40), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_leases")),
    )
    op.create_table(
        "events",
        sa.Column("id", number(), nullable=False),
        sa.Column("time", sa.String(length=20), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_table(
        "pauses",
        sa.Column("id", number(), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("since", sa.String(length=20), nullable=False),
        sa.Column("ended", sa.String(length=20), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=True),
        sa.Column("ended_reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", number(), nullable=False),
        sa.Column("time", sa.String(length=20), nullable=False),
        sa.Column("verb", sa.String(length=20), nullable=False),
        sa.Column("what", sa.String(length=200), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_table(
        "sites",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("seen", sa.String(length=20), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sites")),
    )
