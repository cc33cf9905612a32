"""What good jobs used: time, memory and events per second, for each output of a campaign or for the latest jobs of recipes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection, select

from reconciler.ledger.schema.tables import attempts, jobs, outputs, recipes
from reconciler.model.states import AttemptState, OutputState

LATEST = 1000
"""How many outputs tell what the next jobs will need: enough for a percentile, and few enough to ask for each batch."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some numbers, their 95th percentile (the smallest of them that 95 of 100 do not exceed), and the largest."""

    count: int
    median: float
    high: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """The spread of the values; None if there are none."""
        found = sorted(values)
        if not found:
            return None
        middle, high = (math.ceil(share * len(found)) - 1 for share in (0.5, 0.95))
        return cls(len(found), found[middle], found[high], found[-1])


@dataclass(frozen=True, slots=True)
class OutputStatistics:
    """The verified jobs that made one output of a step, over all its produced versions.

    `jobs` is their number, `events` the sum of the events that they read, None if it is not known of each. `wall_seconds` and
    `cpu_seconds` are of one job, `peak_memory` is in bytes, `event_rate` is in events per second of wall time. A spread counts
    only the jobs of which the number is known, and is None if there are none.
    """

    campaign: str
    step: str
    output: str
    jobs: int
    events: int | None
    wall_seconds: Spread | None
    cpu_seconds: Spread | None
    peak_memory: Spread | None
    event_rate: Spread | None


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """The latest verified jobs with some recipes: wall time of a job in seconds, peak memory in bytes. None: not known of any.

    `seconds_per_event` is the wall time for an event that is read, over all jobs of which both are known.
    """

    jobs: int
    wall_seconds: Spread | None
    peak_memory: Spread | None
    seconds_per_event: float | None


def measure_jobs(connection: Connection, recipe_digests: Collection[str]) -> JobStatistics:
    """The statistics of the jobs that made the latest outputs with these recipes, at most `LATEST` outputs."""
    chosen = select(recipes.c.id).where(recipes.c.digest.in_(recipe_digests))
    made = (outputs.c.state == OutputState.PRODUCED, outputs.c.recipe.in_(chosen))
    latest = select(outputs.c.intent).where(*made).order_by(outputs.c.id.desc()).limit(LATEST).subquery()
    query = (
        select(attempts.c.wall_seconds, attempts.c.peak_memory, attempts.c.events_read)
        .join(jobs, jobs.c.id == attempts.c.job)
        .where(jobs.c.intent.in_(select(latest.c.intent)), attempts.c.state == AttemptState.VERIFIED)
    )
    rows = connection.execute(query).all()
    timed = [row for row in rows if row.wall_seconds is not None and row.events_read]
    return JobStatistics(
        jobs=len(rows),
        wall_seconds=Spread.of(row.wall_seconds for row in rows if row.wall_seconds is not None),
        peak_memory=Spread.of(row.peak_memory for row in rows if row.peak_memory is not None),
        seconds_per_event=sum(row.wall_seconds for row in timed) / sum(row.events_read for row in timed)
        if timed
        else None,
    )


def measure_outputs(
    connection: Connection, campaign: str, step: str | None = None, output: str | None = None
) -> tuple[OutputStatistics, ...]:
    """The statistics of a campaign's outputs, of one step or one output of it, sorted by step and output.

    A step of a variant is named with it, as in `cdst@adc2e-7`. Outputs of which nothing was produced are left out.
    """
    numbers = (attempts.c[name] for name in ("wall_seconds", "cpu_seconds", "peak_memory", "events_read"))
    query = (
        select(outputs.c.step, outputs.c.output, *numbers)
        .join(jobs, jobs.c.intent == outputs.c.intent)
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
        .where(attempts.c.state == AttemptState.VERIFIED)
    )
    if step is not None:
        query = query.where(outputs.c.step == step)
    if output is not None:
        query = query.where(outputs.c.output == output)
    groups: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        groups[row.step, row.output].append(row)
    return tuple(_measure(campaign, *key, rows) for key, rows in sorted(groups.items()))


def _measure(campaign: str, step: str, output: str, rows: list[Any]) -> OutputStatistics:
    read = [row.events_read for row in rows]
    return OutputStatistics(
        campaign=campaign,
        step=step,
        output=output,
        jobs=len(rows),
        events=None if None in read else sum(read),
        wall_seconds=Spread.of(row.wall_seconds for row in rows if row.wall_seconds is not None),
        cpu_seconds=Spread.of(row.cpu_seconds for row in rows if row.cpu_seconds is not None),
        peak_memory=Spread.of(row.peak_memory for row in rows if row.peak_memory is not None),
        event_rate=Spread.of(
            row.events_read / row.wall_seconds
            for row in rows
            if row.wall_seconds and row.events_read is not None
        ),
    )
