"""Which engine took a batch. Null is not known: the one that its site has."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0007"


def upgrade():
    op.add_column("batches", sa.Column("engine", sa.String(length=500), nullable=True))
