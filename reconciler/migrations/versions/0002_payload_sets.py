"""The payload sets that runs were made with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.create_table(
        "payload_sets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("buckets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_payload_sets")),
    )
    op.create_table(
        "payload_buckets",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("payloads", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_payload_buckets")),
    )
