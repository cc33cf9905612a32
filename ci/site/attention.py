"""What needs a person now: whose move it is, since when, and the command that helps. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ci.cli.console import count_things
from ci.site.campaigns import CampaignContent
from ci.site.failures import FailureGroup, choose_stretch
from reconciler.ledger.writing.pauses import Pause
from reconciler.model.plan import Group
from reconciler.model.states import PauseKind, PlanAction
from reconciler.monitoring.health import BLOCKED, DEGRADED, STALLED, name_people
from reconciler.planning.gates.judging import StageState, StageStatus
from reconciler.sources.records import SourceRecord
from renderer.jobs.logs import gather_alike
from schemas.manifest.runs import format_runs
from schemas.policy.roles import Roles

SHIFTER, SITE, AUTHOR, PERSON = "shifter", "site engineer", "author of the campaign", "person who paused"
URGENT, SOON = "urgent", "soon"
_RANGES = 12

_MOVES = {
    PauseKind.OPERATOR: PERSON,
    PauseKind.BREAKER: SHIFTER,
    PauseKind.CANARY: "who looks at the canary",
    PauseKind.ALARM: SHIFTER,
    PauseKind.PRECONDITION: SITE,
    PauseKind.CATALOGUE: SHIFTER,
}
"""Kind of a pause → whose move it is. A full queue is nobody's: it ends by itself."""


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """Something that waits for a person. `about` is a campaign, a site or a source; `since` is a time, empty if it is not known."""

    urgency: str
    about: str
    what: str
    whose: str
    since: str = ""
    command: str = ""
    campaign: str = ""
    page: str = ""
    """The page of the site that shows its runs."""
    others: tuple[str, ...] = ()
    """The other campaigns of which the same is to be said."""


@dataclass(frozen=True, slots=True)
class AttentionSources:
    """What the items are made from: all that was read at one moment."""

    campaigns: Sequence[CampaignContent]
    failures: Sequence[FailureGroup]
    pauses: Sequence[Pause]
    stages: Sequence[StageStatus]
    sources: Sequence[SourceRecord]
    roles: Roles | None
    today: date


def list_attention(told: AttentionSources) -> tuple[AttentionItem, ...]:
    """The items, the urgent ones first, then the older ones first."""
    found = [
        *(item for pause in told.pauses if (item := _tell_pause(pause)) is not None),
        *_tell_stages(told),
        *(item for one in told.campaigns for item in _tell_campaign(one, told)),
        *(_tell_source(one) for one in told.sources if one.failures),
    ]
    alike = gather_alike(
        dict.fromkeys(found), _spell, lambda one: (one.urgency, one.whose, bool(one.campaign))
    )
    gathered = [
        replace(first, others=tuple(one.campaign for one in more)) for first, *more in alike if first.campaign
    ]
    gathered += [one for group in alike if not group[0].campaign for one in group]
    return tuple(sorted(gathered, key=lambda one: (one.urgency != URGENT, one.since or "9", one.about)))


def _spell(item: AttentionItem) -> str:
    """What is said, without the name of the campaign; items with a page of runs are never alike."""
    text = (
        re.sub(rf"(?<![\w-]){re.escape(item.campaign)}(?![\w-])", "…", item.what)
        if item.campaign
        else item.what
    )
    return f"{item.page}{item.command if item.page else ''} {text}"


def _tell_pause(pause: Pause) -> AttentionItem | None:
    if pause.kind == PauseKind.FULL:
        return None
    whose = _MOVES.get(pause.kind, SHIFTER)
    if pause.kind == PauseKind.OPERATOR:
        whose = pause.who
    command = "" if pause.kind == PauseKind.PRECONDITION else f"b2prod resume {pause.scope} --reason …"
    what = f"paused ({pause.kind}) by {pause.who}: {pause.reason}"
    campaign = pause.scope.removeprefix("campaign:") if pause.scope.startswith("campaign:") else ""
    return AttentionItem(URGENT, pause.scope, what, whose, pause.since, command, campaign)


def _tell_stages(told: AttentionSources) -> Iterator[AttentionItem]:
    """The open stages that wait for people, or are late.

    A stage that waits for another one is not told beside it, nor one whose evidence cannot be read since a campaign is left out.
    """
    left_out = {one.name for one in told.campaigns if one.unread is not None}
    for status in told.stages:
        overdue = status.is_overdue(told.today)
        unknown = status.state is StageState.UNKNOWN
        if status.state in (StageState.PASSED, StageState.WAITING) or not status.lacks:
            continue
        if unknown and left_out.intersection(name.partition("/")[0] for name in status.stage.names):
            continue
        if not (status.whose or overdue or status.state is not StageState.OPEN):
            continue  # b2prod makes it by itself
        people = name_people(told.roles, status.whose, told.today)
        whose = " and ".join(status.whose) or "production manager"
        whose += f" ({', '.join(people)})" if people else ""
        late = f"overdue since {status.due}: " if overdue else ""
        urgency = URGENT if overdue or status.state is not StageState.OPEN else SOON
        about, what = f"gate {status.name_gate()}", f"{late}{status.tell()}"
        yield AttentionItem(urgency, about, what, whose, status.since or "", status.lacks[0].command)


def _tell_campaign(one: CampaignContent, told: AttentionSources) -> Iterator[AttentionItem]:
    name = one.name
    if one.unread is not None:
        command = f"b2prod check {name}"
        urgency = SOON if one.state == "held" else URGENT  # nothing of it would begin anyway
        yield AttentionItem(urgency, name, f"left out: {one.unread}", AUTHOR, "", command, name)
    covered = ("in quarantine: ", *(f"{pause.scope} is paused since " for pause in told.pauses))
    groups = () if one.view is None else one.view.plan.groups
    for group in groups:
        if group.action in (PlanAction.QUARANTINED, PlanAction.UNKNOWN):
            yield _tell_group(name, group, told.failures)
    for status in one.statuses:
        if status.kind not in (BLOCKED, STALLED, DEGRADED) or status.reason.startswith(covered):
            continue
        urgency = SOON if status.kind == BLOCKED else URGENT
        whose = AUTHOR if status.kind == BLOCKED else SHIFTER
        yield AttentionItem(
            urgency, name, f"{status.kind}: {status.reason}", whose, "", f"b2prod plan {name}", name
        )


def _tell_group(name: str, group: Group, failures: Sequence[FailureGroup]) -> AttentionItem:
    runs = frozenset(group.runs)
    alike = [one for one in failures if (one.campaign, one.step) == (name, group.step) and runs & {*one.runs}]
    since = min((one.first for one in alike if one.first), default="")
    listed = format_runs(group.runs, most=_RANGES)
    unknown = group.action is PlanAction.UNKNOWN
    state = "unknown" if unknown else "in quarantine"
    what = f"{group.step}: {count_things(len(group.runs), 'unit')} {state} ({listed}): {group.reason}"
    stretch = choose_stretch(name, group.step, group.runs)
    command = f"b2prod plan {name}" if unknown else f"b2prod retry {stretch} --reason …"
    page = f"runs/index.html#campaign={name}&state={'?' if unknown else 'q'}"
    return AttentionItem(URGENT, name, what, SHIFTER, since, command, name, page)


def _tell_source(one: SourceRecord) -> AttentionItem:
    what = f"does not answer, {one.failures:,} times in a row: {one.reason}"
    return AttentionItem(SOON, f"source {one.name}", what, SITE, one.failed or "", "b2prod doctor")
