"""Health: statuses of a campaign, with reasons. Whether a campaign is complete is told by the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import quantiles
from typing import Any

from sqlalchemy import Connection, select

from reconciler.execution.launch.canary_choice import describe_stuck_canary
from reconciler.execution.launch.staging import count_away
from reconciler.ledger.reading.progress import list_flaws
from reconciler.ledger.schema.tables import UNIT, UNIT_ATTEMPTS, attempts, intents, outputs, sites
from reconciler.ledger.writing.pauses import Pause, find_full, find_pause
from reconciler.model.plan import Group
from reconciler.model.states import LIVE, MAKING, AttemptState, OutputState, PlanAction
from reconciler.model.work_items import format_address
from reconciler.planning.gates.judging import StageStatus
from reconciler.planning.views import View
from renderer.jobs.logs import gather_alike, tell_alike
from schemas.files.times import read_time
from schemas.manifest.runs import run_key
from schemas.policy.roles import Roles

PROGRESSING, WAITING, BLOCKED, STALLED, DEGRADED = "Progressing", "Waiting", "Blocked", "Stalled", "Degraded"
OVERDUE = "Overdue"

SILENCE = timedelta(hours=1)
"""A campaign counts as stalled if nothing is known about one of its jobs for this time."""

STRAGGLING = 3.0
"""A job is slow if it takes longer than this number times the ninth decile of its step."""

HISTORY = 20
"""The number of verified jobs from which the limit of a step is computed."""


_DELAYED = (
    select(intents.c.id, intents.c.reason)
    .join(outputs, outputs.c.intent == intents.c.id)
    .where(outputs.c.state == OutputState.PUBLISHING, intents.c.reason.is_not(None))
    .distinct()
    .order_by(intents.c.id)
)
"""Selects units that were made and whose storage could not be written when it was tried."""


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """One status of a campaign, and the reason."""

    campaign: str
    kind: str
    reason: str

    def data(self) -> dict[str, str]:
        """The status as JSON data."""
        return {"campaign": self.campaign, "condition": self.kind, "reason": self.reason}


def judge_campaign(
    connection: Connection, view: View, paused: Sequence[Pause], now: datetime
) -> tuple[HealthStatus, ...]:
    """The statuses of a campaign at the time `now`, the good one first; empty if everything is done and no job runs."""
    name = view.campaign.name
    return tuple(HealthStatus(name, kind, reason) for kind, reason in _judge(connection, view, paused, now))


def tell_overdue(
    statuses: Iterable[StageStatus], roles: Roles | None, now: datetime
) -> tuple[HealthStatus, ...]:
    """The overdue stages of schemes, for each campaign that they are about; with the people whose move it is, and their deputies.

    A stage that waits is not told beside the one that it waits for.
    """
    today = now.astimezone(UTC).date()
    found = []
    for status in statuses:
        if status.is_closed or not status.is_overdue(today):
            continue
        people = name_people(roles, status.whose, today)
        listed = f" ({', '.join(people)})" if people else ""
        reason = f"{status.scheme}: {status.tell()}{listed}"
        names = sorted({name.partition("/")[0] for name in status.stage.names})
        found += [HealthStatus(name, OVERDUE, reason) for name in names]
    return tuple(dict.fromkeys(found))


def name_people(roles: Roles | None, names: Iterable[str], today: date) -> list[str]:
    """The people of roles, and those who stand in for them on a day."""
    if roles is None:
        return []
    known = [role for name in names if (role := roles.role(name)) is not None]
    people = [person for role in known for person in role.people]
    people += [
        one.deputy
        for role in known
        for one in roles.delegations
        if one.role == role.name and one.first <= today <= one.last
    ]
    return list(dict.fromkeys(people))


def judge_ending(connection: Connection, name: str, now: datetime) -> tuple[HealthStatus, ...]:
    """The statuses of a campaign that is not planned, while its jobs are under way to their end; empty if none is."""
    live = _read_live(connection, name)
    ending = [row for row in live if row.cancel is not None]
    told = []
    if going := len(live) - len(ending):
        told.append((PROGRESSING, f"{_count(going, 'job')} under way to the end, and nothing new begins"))
    if ending:
        told.append((PROGRESSING, f"{_count(len(ending), 'job')} being ended: {ending[0].cancel}"))
    told += [(STALLED, reason) for reason in _find_silent(live, now)]
    return tuple(HealthStatus(name, kind, reason) for kind, reason in told)


def _judge(
    connection: Connection, view: View, paused: Sequence[Pause], now: datetime
) -> Iterator[tuple[str, str]]:
    live = _read_live(connection, view.campaign.name)
    known = [row for row in live if row.state != AttemptState.UNCERTAIN and row.unknown is None]
    if known:
        yield PROGRESSING, f"{_count(len(known), 'job')} under way"
    if reason := _name_groups(view, PlanAction.WAITING):
        yield WAITING, reason
    yield from ((WAITING, reason) for reason in _find_tapes(connection, view))
    wanted = any(group.action in MAKING for group in view.plan.groups)
    if wanted and (full := find_full(paused, view.campaign.site)):
        since = f"{view.campaign.site}, since {full.since}"
        yield WAITING, f"{full.reason} ({since}); it is tried again by itself"
    if pause := find_pause(paused, view.campaign.name, view.campaign.site):
        yield BLOCKED, f"{pause.scope} is paused since {pause.since} by {pause.who}: {pause.reason}"
    if reason := describe_stuck_canary(connection, view):
        yield BLOCKED, reason
    if reason := _name_groups(view, PlanAction.BLOCKED):
        yield BLOCKED, reason
    yield from ((STALLED, reason) for reason in _find_stalls(connection, view, live, now))
    if reason := _name_groups(view, PlanAction.QUARANTINED):
        yield DEGRADED, f"in quarantine: {reason}"
    lost, wrong = list_flaws(connection, view.campaign.name)
    if lost:
        found = f"the last `b2prod verify` found {_count(len(lost), 'file')} gone or changed: {lost[0]}"
        yield DEGRADED, f"{found}; `b2prod plan --refresh {view.campaign.name}` says what is made again"
    if wrong:
        found = f"{_count(len(wrong), 'file')} to be what they should not: {wrong[0]}"
        yield DEGRADED, f"the last `b2prod verify` found {found}"


def _find_tapes(connection: Connection, view: View) -> Iterator[str]:
    """The steps that would read files that are not on disk, in words."""
    for units in view.units:
        wished = {*view.plan.list_making(units.step.name)}
        if units.registered is None or not wished:
            continue
        away, there, count = count_away(connection, units.registered, wished)
        if away:
            yield f"{units.step.name}: the input of {_count(away, 'unit')} is on tape, {there} of {count} files are on disk"


def _find_silent(live: list[Any], now: datetime) -> Iterator[str]:
    if silent := [one for one in live if one.unknown is not None and now - read_time(one.unknown) > SILENCE]:
        oldest = min(silent, key=lambda row: row.unknown)
        yield (
            f"of {_count(len(silent), 'job')} nothing is known, of {_name(oldest)} since {oldest.unknown}:"
            f" {oldest.reason}; `b2prod settle` decides where the engine never will"
        )


def _find_stalls(connection: Connection, view: View, live: list[Any], now: datetime) -> Iterator[str]:
    yield from _find_silent(live, now)
    if delayed := connection.execute(_DELAYED.where(outputs.c.campaign == view.campaign.name)).all():
        yield f"{_count(len(delayed), 'unit')} made, waiting for their storage: {delayed[0].reason}"
    site = connection.execute(select(sites).where(sites.c.name == view.campaign.site)).first()
    if site is not None and site.failures:
        seen = f"it last answered at {site.seen}" if site.seen else "it never answered"
        yield f"{site.name} does not answer ({_count(site.failures, 'time')} in a row, {seen}): {site.reason}"
    for step, limit in _read_limits(connection, view.campaign.name).items():
        if slow := [row for row in live if row.step == step and now - read_time(row.begun) > limit]:
            yield f"{step}: {_count(len(slow), 'job')} under way for more than {limit}, {_name(slow[0])} first"


def _read_limits(connection: Connection, campaign: str) -> dict[str, timedelta]:
    """The longest normal time of a job for each step, from its verified jobs and including the time in the queue."""
    query = (
        select(intents.c.step, attempts.c.begun, attempts.c.ended)
        .select_from(UNIT_ATTEMPTS)
        .where(intents.c.campaign == campaign, attempts.c.state == AttemptState.VERIFIED)
        .order_by(attempts.c.id.desc())
        .limit(1000)
    )
    took: dict[str, list[float]] = {}
    for step, begun, ended in connection.execute(query):
        took.setdefault(step, []).append((read_time(ended) - read_time(begun)).total_seconds())
    return {
        step: timedelta(seconds=round(max(60.0, STRAGGLING * quantiles(seconds, n=10)[-1])))
        for step, seconds in took.items()
        if len(seconds) >= HISTORY
    }


def _read_live(connection: Connection, campaign: str) -> list[Any]:
    columns = (attempts.c[name] for name in ("state", "begun", "unknown", "reason", "cancel"))
    query = select(*columns, *UNIT).select_from(UNIT_ATTEMPTS)
    mine = (intents.c.campaign == campaign, attempts.c.state.in_(LIVE))
    return list(connection.execute(query.where(*mine).order_by(attempts.c.id)))


def _name_groups(view: View, action: str) -> str | None:
    """Says how many units have the most frequent reason for an action. Similar reasons count as one."""
    groups = [group for group in view.plan.groups if group.action == action]
    if not groups:
        return None
    gathered = list(gather_alike(groups, lambda group: group.reason, lambda group: group.step))
    alike = max(gathered, key=_count_units)
    reason = f"{alike[0].step}: {tell_alike(group.reason for group in alike)}"
    others = f", and {_count(len(gathered) - 1, 'other reason')}" if len(gathered) > 1 else ""
    return f"{_count(_count_units(alike), 'unit')} of {reason}{others}"


def _count_units(groups: Iterable[Group]) -> int:
    return sum(len(group.runs) for group in groups)


def _name(row: Any) -> str:
    return format_address((row.campaign, row.step, run_key(row.experiment, row.run)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
