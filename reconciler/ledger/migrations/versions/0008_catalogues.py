"""Rounds of verification, and which catalogues know which outputs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0005"


def number():
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.create_table(
        "verifications",
        sa.Column("id", number(), nullable=False),
        sa.Column("campaign", sa.String(length=40), nullable=False),
        sa.Column("begun", sa.String(length=20), nullable=False),
        sa.Column("ended", sa.String(length=20), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verifications")),
    )
    op.create_index(op.f("ix_verifications_campaign"), "verifications", ["campaign"])
    op.create_table(
        "examinations",
        sa.Column("verification", number(), nullable=False),
        sa.Column("output", number(), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("trouble", sa.String(length=8), nullable=True),
        sa.Column("text", sa.String(length=1000), nullable=True),
        sa.PrimaryKeyConstraint("verification", "output", "path", name=op.f("pk_examinations")),
        sa.ForeignKeyConstraint(
            ["verification"], ["verifications.id"], name=op.f("fk_examinations_verification")
        ),
    )
    op.create_table(
        "registrations",
        sa.Column("output", number(), nullable=False),
        sa.Column("catalogue", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("registered", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("output", "catalogue", name=op.f("pk_registrations")),
        sa.ForeignKeyConstraint(["output"], ["outputs.id"], name=op.f("fk_registrations_output")),
    )
