"""CPU time of attempts. Its number was given out before that of the migration that it follows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0008"


def upgrade():
    op.add_column("attempts", sa.Column("cpu_seconds", sa.Double(), nullable=True))
