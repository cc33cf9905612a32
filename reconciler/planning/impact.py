"""The impact of another snapshot of a global tag: how many units it would restate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import attempts, jobs, outputs
from reconciler.ledger.store.database import State
from reconciler.model.plan import Group
from reconciler.model.states import AttemptState, OutputState, PlanAction
from reconciler.planning.views import View, view_campaign
from schemas.conditions.snapshot import Snapshot
from schemas.manifest.campaign import Limits
from schemas.repository import Repository

_WITHOUT_LIMIT = Limits(max_units=1 << 60, max_restate=1 << 60)


@dataclass(frozen=True, slots=True)
class Impact:
    """Units of one step that would be restated for one reason. `runs` are sorted run keys.

    `events` is the number of events that the units read when they were made. `hours` is the wall time of their jobs, from
    intent to verification. Each is None if the ledger does not know it for all of them.
    """

    campaign: str
    step: str
    outputs: tuple[str, ...]
    reason: str
    runs: tuple[int, ...]
    events: int | None
    hours: float | None


def measure_impact(
    connection: Connection, repository: Repository, state: State, names: Iterable[str], snapshot: Snapshot
) -> tuple[Impact, ...]:
    """What would be restated in the campaigns `names` if their tag had `snapshot`, without what is restated today.

    Limits and holds are ignored. Each campaign must have a lock.
    """
    found: list[Impact] = []
    for name in names:
        today = _view(connection, repository, name, state)
        # If the tag is running, this snapshot must be the newest.
        newest = replace(snapshot, retrieved="9999-12-31T23:59:59Z")
        other = replace(repository, snapshots={**repository.snapshots, snapshot.name: newest})
        then = _view(connection, other, name, state)
        due = {(group.step, run) for group in _list_restated(today) for run in group.runs}
        for group in _list_restated(then):
            if runs := tuple(run for run in group.runs if (group.step, run) not in due):
                made = [then.observed.made[group.step, group.outputs[0], run].fingerprint for run in runs]
                cost = _read_cost(connection, name, made)
                found.append(Impact(name, group.step, group.outputs, group.reason, runs, *cost))
    return tuple(found)


def _view(connection: Connection, repository: Repository, name: str, state: State) -> View:
    declared = repository.campaigns[name]
    campaign = replace(declared.campaign, limits=_WITHOUT_LIMIT, state="active", reuse=False, restate=None)
    free = replace(declared, campaign=campaign)
    campaigns = {**repository.campaigns, name: free}
    return view_campaign(connection, replace(repository, campaigns=campaigns), name, state)


def _list_restated(view: View) -> list[Group]:
    return [group for group in view.plan.groups if group.action == PlanAction.RESTATE]


def _read_cost(
    connection: Connection, campaign: str, fingerprints: list[bytes]
) -> tuple[int | None, float | None]:
    """Returns the events read and the hours of wall time of the jobs that made these outputs; None if not known."""
    events: list[int | None] = []
    spans: list[tuple[str, str | None]] = []
    for part in divide(fingerprints):
        here = and_(
            outputs.c.campaign == campaign,
            outputs.c.state == OutputState.PRODUCED,
            outputs.c.fingerprint.in_(part),
        )
        events += connection.scalars(select(outputs.c.events_read).where(here))
        times = (
            select(attempts.c.begun, attempts.c.ended)
            .join(jobs, jobs.c.id == attempts.c.job)
            .join(outputs, outputs.c.intent == jobs.c.intent)
            .where(here, attempts.c.state == AttemptState.VERIFIED)
        )
        spans += [(begun, ended) for begun, ended in connection.execute(times)]
    counted = [count for count in events if count is not None]
    took = [datetime.fromisoformat(ended) - datetime.fromisoformat(begun) for begun, ended in spans if ended]
    return (
        sum(counted) if len(counted) == len(fingerprints) else None,
        sum(took, timedelta()) / timedelta(hours=1) if len(took) == len(spans) else None,
    )
