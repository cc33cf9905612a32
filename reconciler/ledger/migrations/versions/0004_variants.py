"""The name of a step with the variant that it stands for, `cdst@adc0`."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade():
    for name in ("intents", "outputs"):
        with op.batch_alter_table(name) as table:
            table.alter_column(
                "step",
                existing_type=sa.String(length=24),
                type_=sa.String(length=64),
                existing_nullable=False,
            )
