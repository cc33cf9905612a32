"""What files say of their events, simulated or real, and indexes of the few that are simulated."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade():
    op.add_column("files", sa.Column("simulated", sa.Boolean(), nullable=True))
    op.add_column("removals", sa.Column("simulated", sa.Boolean(), nullable=True))
    op.create_index(
        "ix_files_simulated",
        "files",
        ["level", "experiment", "run"],
        sqlite_where=sa.text("simulated IS 1"),
        postgresql_where=sa.text("simulated IS true"),
    )
    op.create_index(
        "ix_runs_simulated",
        "runs",
        ["experiment", "run"],
        sqlite_where=sa.text("type = 'mc'"),
        postgresql_where=sa.text("type = 'mc'"),
    )
