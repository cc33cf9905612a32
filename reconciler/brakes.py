"""Brakes: which of the units that a plan would make may begin in this turn, and what holds the others back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from reconciler.gathering import View
from reconciler.ledger.pauses import CANARY, PauseWriter, find_pause
from reconciler.ledger.tables import LIVE, attempts, intents, jobs
from reconciler.ordering import Wish
from reconciler.orders import Address
from reconciler.plan import OBSOLETE, REUSE
from schemas.campaign import Canary
from schemas.runs import run_key


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is under way: units with a job that is not to be tried again yet, and how many units live, by campaign."""

    early: frozenset[Address]
    live: Mapping[str, int]


def read_traffic(connection: Connection, now: int) -> Traffic:
    """The traffic at a moment; `now` is in seconds since 1970."""
    return Traffic(frozenset(_read_early(connection, now)), _count_live(connection))


def choose_wishes(
    pauses: PauseWriter, traffic: Traffic, views: Sequence[View], wishes: Sequence[Wish]
) -> list[Wish]:
    """The wishes that may begin. A canary that is complete may pause its campaign."""
    paused = pauses.list_pauses()
    allowed = {view.campaign.name: _find_canary(view, pauses) for view in views}
    begun: Counter[str] = Counter()
    chosen = []
    for wish in wishes:
        campaign = wish.view.campaign
        runs, limit = allowed[campaign.name], campaign.limits.max_in_flight
        if find_pause(paused, campaign.name, campaign.site) or wish.address in traffic.early:
            continue
        if runs is not None and wish.run not in runs:
            continue
        if limit is not None and traffic.live.get(campaign.name, 0) + begun[campaign.name] >= limit:
            continue
        begun[campaign.name] += 1
        chosen.append(wish)
    return chosen


def _find_canary(view: View, pauses: PauseWriter) -> frozenset[int] | None:
    """The runs that may be made because the canary is not done; None when all may."""
    canary = view.campaign.canary
    if canary is None:
        return None
    runs = choose_canary(view, canary)
    open_runs = {
        run
        for group in view.plan.groups
        if group.action not in (OBSOLETE, REUSE)
        for run in group.runs
        if run in runs
    }
    if open_runs:
        return runs
    scope = f"campaign:{view.campaign.name}"
    if canary.hold and pauses.find_resumed(scope, CANARY) is None:
        reason = f"its canary of {len(runs)} runs is complete; look at it, then `b2prod resume {scope}`"
        pauses.pause(scope, CANARY, reason, "b2prod")
        return frozenset()
    return None


def choose_canary(view: View, canary: Canary) -> frozenset[int]:
    """The first runs of a campaign, of those that have or had an input."""
    return frozenset(sorted({run for units in view.units for run in units.runs})[: canary.runs])


def _read_early(connection: Connection, now: int) -> set[Address]:
    """The units with a job that failed, and is not yet to be tried again."""
    columns = (intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
    query = select(*columns).join(jobs, jobs.c.intent == intents.c.id)
    rows = connection.execute(query.where(intents.c.state == "open", jobs.c.after > now))
    return {(row.campaign, row.step, run_key(row.experiment, row.run)) for row in rows}


def _count_live(connection: Connection) -> dict[str, int]:
    """Units under way, by campaign."""
    query = (
        select(intents.c.campaign, func.count(func.distinct(intents.c.id)).label("units"))
        .join(jobs, jobs.c.intent == intents.c.id)
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(attempts.c.state.in_(LIVE))
        .group_by(intents.c.campaign)
    )
    return {row.campaign: row.units for row in connection.execute(query)}
