"""The cost of a plan, as far as the ledger can tell: jobs, events, CPU time and disk space, step by step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from reconciler.ledger.reading.measurement import measure_cpu, measure_events
from reconciler.ledger.reading.statistics import measure_jobs
from reconciler.ledger.schema.tables import inputs, outputs, products, recipes
from reconciler.model.states import OutputState
from reconciler.planning.views import View
from renderer.identity.units import StepUnits
from schemas.manifest.runs import run_key
from schemas.manifest.variant import find_declared


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of the units of one step that a plan submits or restates. None means not known.

    `bytes_read` is the size of the registered files. `cpu_hours` and `bytes_written` are extrapolated from earlier events.
    `memory` is in bytes: 95 of 100 earlier jobs needed no more.
    """

    step: str
    units: int
    jobs: int | None = None
    events: int | None = None
    bytes_read: int | None = None
    cpu_hours: float | None = None
    bytes_written: float | None = None
    memory: float | None = None


def estimate_cost(connection: Connection, view: View, like: Sequence[str] = ()) -> tuple[Estimate, ...]:
    """The cost of the units that a campaign's plan makes, by step.

    If a recipe was never used, the estimate uses the cost of the same step in the campaigns `like`.
    """
    making = ((units, {*view.plan.list_making(units.step.name)}) for units in view.units)
    return tuple(_estimate_step(connection, view, units, runs, like) for units, runs in making if runs)


def measure_produced(connection: Connection, campaign: str, step: str | None = None) -> tuple[int, int]:
    """Returns the number of outputs of a campaign (or of one step and its variants) that exist, and their size in bytes."""
    count, size = func.count(outputs.c.id.distinct()), func.coalesce(func.sum(products.c.size), 0)
    query = (
        select(outputs.c.step, count, size)
        .outerjoin(products, products.c.output == outputs.c.id)
        .where(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
        .group_by(outputs.c.step)
    )
    rows = [row for row in connection.execute(query) if step is None or find_declared(row[0]) == step]
    return sum(row[1] for row in rows), sum(int(row[2]) for row in rows)


def _estimate_step(
    connection: Connection, view: View, units: StepUnits, runs: set[int], like: Sequence[str]
) -> Estimate:
    read = measure_input(connection, units, runs)
    if read.bytes_read is None:
        return read
    step, events = units.step, read.events
    mine = [recipe.digest for recipe in units.recipes]
    digests = [mine, _list_recipes(connection, [view.campaign.name, *like], step.name)]
    seconds = next((rate for one in digests if (rate := measure_cpu(connection, one)) is not None), None)
    kilobytes = next((rate for one in digests if (rate := measure_events(connection, one)) is not None), None)
    return replace(
        read,
        cpu_hours=None if events is None or seconds is None else events * seconds / 3600,
        bytes_written=None if events is None or kilobytes is None else events * kilobytes * 1000,
        memory=next(
            (spread.high for one in digests if (spread := measure_jobs(connection, one).peak_memory)), None
        ),
    )


def measure_input(connection: Connection, units: StepUnits, runs: Collection[int]) -> Estimate:
    """What a step reads for these run keys, without the cost of reading it.

    If units make the input of some runs, events and bytes are not known; jobs are known only if a job reads a whole run.
    """
    step = units.step
    by_run = step.split == "run"
    if units.reads_units(runs):
        return Estimate(step.name, len(runs), len(runs) if by_run else None)
    columns = (inputs.c.experiment, inputs.c.run, inputs.c.files, inputs.c.events, inputs.c.bytes)
    query = select(*columns).where(
        inputs.c.dataset == units.registered, inputs.c.experiment.in_({run >> 32 for run in runs})
    )
    rows = [row for row in connection.execute(query) if run_key(row.experiment, row.run) in runs]
    return Estimate(
        step=step.name,
        units=len(runs),
        jobs=len(runs) if by_run else sum(row.files for row in rows),
        events=None if any(row.events is None for row in rows) else sum(row.events for row in rows),
        bytes_read=sum(row.bytes for row in rows),
    )


def _list_recipes(connection: Connection, campaigns: Sequence[str], step: str) -> list[str]:
    query = (
        select(recipes.c.digest)
        .distinct()
        .join(outputs, outputs.c.recipe == recipes.c.id)
        .where(outputs.c.campaign.in_(campaigns), outputs.c.step == step)
    )
    return list(connection.scalars(query))
