"""What a job tells of how its outputs were made: kinds and rows of files, and a record of its attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade():
    op.add_column("attempts", sa.Column("record", sa.Text(), nullable=True))
    op.add_column("products", sa.Column("rows", sa.BigInteger(), nullable=True))
    op.add_column("products", sa.Column("kind", sa.String(length=16), nullable=True))
