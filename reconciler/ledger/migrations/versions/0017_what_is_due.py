"""What files are due of a job: the folder of an attempt is written by the job, and does not say it."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade():
    op.add_column("jobs", sa.Column("due", sa.Text(), nullable=True))
