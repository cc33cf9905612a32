"""Run catalogue and ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=80), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint(
            "level", "experiment", "run", "name", name=op.f("uq_files_level_experiment_run_name")
        ),
    )
    op.create_table(
        "inputs",
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("level", "experiment", "run", name=op.f("pk_inputs")),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("catalogue_serial", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_table(
        "plans",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("begun", sa.String(length=20), nullable=False),
        sa.Column("ended", sa.String(length=20), nullable=True),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_plans")),
    )
    op.create_table(
        "recipes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipes")),
        sa.UniqueConstraint("digest", name=op.f("uq_recipes_digest")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.Column("start", sa.String(length=20), nullable=True),
        sa.Column("stop", sa.String(length=20), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("experiment", "run", name=op.f("uq_runs_experiment_run")),
    )
    op.create_table(
        "intents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("campaign", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=24), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(["plan"], ["plans.digest"], name=op.f("fk_intents_plan")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intents")),
    )
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.create_index(
            "uq_intents_open",
            ["campaign", "step", "experiment", "run"],
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("intent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=16), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["intent"], ["intents.id"], name=op.f("fk_jobs_intent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("intent", "key", name=op.f("uq_jobs_intent_key")),
    )
    op.create_table(
        "outputs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("intent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=24), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("output", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("recipe", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("input", sa.String(length=64), nullable=False),
        sa.Column("conditions", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("storage", sa.String(length=1024), nullable=False),
        sa.Column("folder", sa.String(length=1024), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.Column("events_read", sa.BigInteger(), nullable=True),
        sa.Column("produced", sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(["intent"], ["intents.id"], name=op.f("fk_outputs_intent")),
        sa.ForeignKeyConstraint(["recipe"], ["recipes.id"], name=op.f("fk_outputs_recipe")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outputs")),
        sa.UniqueConstraint(
            "campaign",
            "step",
            "experiment",
            "run",
            "output",
            "version",
            name=op.f("uq_outputs_campaign_step_experiment_run_output_version"),
        ),
    )
    with op.batch_alter_table("outputs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outputs_intent"), ["intent"], unique=False)
        batch_op.create_index(
            "ix_outputs_produced", ["fingerprint"], unique=False, sqlite_where=sa.text("state = 'produced'")
        )
        batch_op.create_index(batch_op.f("ix_outputs_recipe"), ["recipe"], unique=False)
        batch_op.create_index("ix_outputs_run", ["campaign", "experiment", "run"], unique=False)
        batch_op.create_index(
            "uq_outputs_live",
            ["campaign", "fingerprint"],
            unique=True,
            sqlite_where=sa.text("state IN ('intended', 'publishing', 'produced')"),
            postgresql_where=sa.text("state IN ('intended', 'publishing', 'produced')"),
        )

    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=True),
        sa.Column("failure", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=2000), nullable=True),
        sa.Column("begun", sa.String(length=20), nullable=False),
        sa.Column("ended", sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_attempts_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job", "number", name=op.f("uq_attempts_job_number")),
        sa.UniqueConstraint("name", name=op.f("uq_attempts_name")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(
            "uq_attempts_live",
            ["job"],
            unique=True,
            sqlite_where=sa.text("state IN ('intent', 'submitted')"),
            postgresql_where=sa.text("state IN ('intent', 'submitted')"),
        )

    op.create_table(
        "products",
        sa.Column("output", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("attempt", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=80), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["attempt"], ["attempts.id"], name=op.f("fk_products_attempt")),
        sa.ForeignKeyConstraint(["output"], ["outputs.id"], name=op.f("fk_products_output")),
        sa.PrimaryKeyConstraint("output", "path", name=op.f("pk_products")),
    )
