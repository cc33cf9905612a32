"""Which b2prod made the jobs of a batch, and of which release, by name and commit, they were approved to be."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade():
    op.add_column("batches", sa.Column("origin", sa.Text(), nullable=True))
