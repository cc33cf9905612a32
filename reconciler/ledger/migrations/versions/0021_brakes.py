"""What a brake asked about, and since when an attempt is missed."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade():
    op.add_column("pauses", sa.Column("subject", sa.LargeBinary(), nullable=True))
    lost = sa.text("state = 'lost'")
    op.create_index(
        "ix_attempts_lost", "attempts", ["site", "ended"], sqlite_where=lost, postgresql_where=lost
    )
    op.add_column("attempts", sa.Column("missed", sa.String(20), nullable=True))
