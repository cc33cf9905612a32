"""Which runs are a campaign's canary, and which of their units are not done."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, or_, select

from reconciler.ledger.schema.tables import intents
from reconciler.model.plan import Group
from reconciler.model.states import PlanAction
from reconciler.planning.views import View
from schemas.manifest.canary import Canary, aim, divide_period
from schemas.manifest.runs import format_run, format_runs, run_key, split_key

_READ = 100
"""Rows that are read at a time."""


def choose_canary(connection: Connection, view: View, canary: Canary) -> frozenset[int]:
    """The run keys of a canary; empty if the campaign has none of them.

    The first runs are those that were begun first, and then the first ones that have an input. Chosen ones are what the manifest
    names, as far as the campaign takes them. For a spread, the runs of the closed selections are divided into equal parts: in each
    part the run counts that was begun first, else the one with an input that is nearest to an even distance. So no later run or
    input changes what was begun.
    """
    if canary.spread is not None:
        return frozenset(_spread(connection, view, canary.spread))
    there = {run for units in view.units for run in units.runs}
    if canary.chosen is None:
        begun = _list_begun(connection, view.campaign.name, there, canary.first)
        return frozenset([*begun, *sorted(there - {*begun})][: canary.first])
    waiting = {run for units in view.units for run in units.waiting}
    return frozenset(run for run in canary.chosen if run in there or run in waiting)


def _list_begun(connection: Connection, campaign: str, there: set[int], count: int | None) -> list[int]:
    """As many of the runs as were begun first, in this order; all of them for None. A canary goes first, so few rows are read."""
    query = select(intents.c.experiment, intents.c.run).where(intents.c.campaign == campaign)
    begun: dict[int, None] = {}
    with connection.execute(query.order_by(intents.c.id).execution_options(yield_per=_READ)) as rows:
        for row in rows:
            if len(begun) == count:
                break
            if (run := run_key(*row)) in there:
                begun[run] = None
    return [*begun]


def _spread(connection: Connection, view: View, count: int) -> list[int]:
    there = {run for units in view.units for run in units.runs}
    parts = divide_period(list(view.lock.runs), count)
    begun = (_find_begun(connection, view.campaign.name, part) for part in parts)
    return [
        run
        for number, (part, first) in enumerate(zip(parts, begun, strict=True))
        if (run := choose_nearest(part, aim(number, len(parts), part), there, first)) is not None
    ]


def choose_nearest(part: Sequence[int], wanted: int, there: set[int], begun: int | None) -> int | None:
    """The run of a part that counts: the one that was begun first, else the nearest to the wanted one of those that are there."""
    if begun is not None:
        return begun
    place = part.index(wanted)
    near = ((abs(number - place), run) for number, run in enumerate(part) if run in there)
    return min(near, default=(0, None))[1]


def _find_begun(connection: Connection, campaign: str, part: Sequence[int]) -> int | None:
    """The run of a part of which a unit was begun first, or None."""
    (low, first), (high, last) = split_key(part[0]), split_key(part[-1])
    inside = (
        or_(intents.c.experiment > low, and_(intents.c.experiment == low, intents.c.run >= first)),
        or_(intents.c.experiment < high, and_(intents.c.experiment == high, intents.c.run <= last)),
    )
    query = select(intents.c.experiment, intents.c.run).where(intents.c.campaign == campaign, *inside)
    row = connection.execute(query.order_by(intents.c.id).limit(1)).first()
    return None if row is None else run_key(*row)


def list_open(view: View, runs: frozenset[int]) -> list[Group]:
    """The groups of a canary that are not done. A run that was made before and is blocked now does not count."""
    made = {(step, run) for step, _, run in view.observed.made}
    found = []
    for group in view.plan.groups:
        left = [run for run in group.runs if run in runs]
        if group.action == PlanAction.BLOCKED:
            left = [run for run in left if (group.step, run) not in made]
        if left and group.action not in (PlanAction.OBSOLETE, PlanAction.REUSE):
            found.append(group)
    return found


def describe_stuck_canary(connection: Connection, view: View) -> str | None:
    """Why the canary cannot become complete by itself, so that all other runs wait for ever; None if it can."""
    if view.campaign.canary is None or view.campaign.state != "active":
        return None
    runs = choose_canary(connection, view, view.campaign.canary)
    groups = list_open(view, runs)
    stuck = [group for group in groups if group.action in (PlanAction.BLOCKED, PlanAction.QUARANTINED)]
    waiting = [group for group in groups if group.action == PlanAction.WAITING]
    if not stuck or len(stuck) + len(waiting) < len(groups):
        absent = runs - {run for units in view.units for run in units.runs}
        return (
            f"all others wait for its canary, of which {format_runs(sorted(absent), 10)} has no input"
            if absent
            else None
        )
    run = next(run for run in stuck[0].runs if run in runs)
    return (
        f"all others wait for its canary of {len(runs)} runs, which is not complete:"
        f" {stuck[0].step}/{format_run(run)} is {stuck[0].action.word} ({stuck[0].reason});"
        " solve that, or remove the canary from the campaign"
    )
