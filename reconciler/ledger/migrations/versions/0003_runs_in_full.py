"""What is known of runs and files, lists as they were last imported, quarantine, admissions, luminosity."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    for column in (
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("energy", sa.String(length=16), nullable=True),
        sa.Column("quality", sa.String(length=16), nullable=True),
        sa.Column("files", sa.Integer(), nullable=True),
        sa.Column("removed", sa.String(length=500), nullable=True),
    ):
        op.add_column("runs", column)
    op.add_column("files", sa.Column("storage", sa.String(length=8), nullable=False, server_default="disk"))
    op.add_column("inputs", sa.Column("on_disk", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE inputs SET on_disk = files")
    # only here, for the rows that are there: from now on the importers say both
    with op.batch_alter_table("files") as files:
        files.alter_column("storage", server_default=None)
    with op.batch_alter_table("inputs") as inputs:
        inputs.alter_column("on_disk", server_default=None)
    op.create_table(
        "run_lists",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("runs", sa.LargeBinary(), nullable=False),
        sa.Column("imported", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_run_lists")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("list", sa.String(length=200), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("since", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_index(op.f("ix_quarantine_list"), "quarantine", ["list"])
    op.create_table(
        "admissions",
        sa.Column("campaign", sa.String(length=40), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "experiment", "run", name=op.f("pk_admissions")),
    )
    op.create_table(
        "luminosity",
        sa.Column("method", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("correction", sa.String(length=120), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("statistical", sa.Double(), nullable=True),
        sa.Column("systematic", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint(
            "method", "version", "correction", "experiment", "run", name=op.f("pk_luminosity")
        ),
    )
