"""Before which moments statements count no longer, and the scopes of what was launched."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade():
    op.add_column("launches", sa.Column("scopes", sa.String(length=1000), nullable=True))
    op.create_table(
        "floors",
        sa.Column("subject", sa.String(length=130), nullable=False),
        sa.Column("role", sa.String(length=31), nullable=False),
        sa.Column("principal", sa.String(length=130), nullable=False),
        sa.Column("moment", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("subject", "role", "principal", name=op.f("pk_floors")),
    )
