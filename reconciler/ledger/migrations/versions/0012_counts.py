"""How many events the input files of a job are registered with, and how many its verified attempt read."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade():
    op.add_column("jobs", sa.Column("events", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("events_read", sa.BigInteger(), nullable=True))
