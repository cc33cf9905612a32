"""Admission: which units of a plan may begin in this turn, and why the others may not.

If nobody can check whether a step's input has the branches that the step reads, one unit of the step goes first.
So a missing branch costs one failed job, and not all jobs that a batch system would start at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from reconciler.execution.launch.canary_choice import choose_canary, list_open
from reconciler.execution.launch.canary_verdict import CanaryState
from reconciler.execution.tracking.attempt_recorder import LONGEST
from reconciler.ledger.schema.tables import UNIT, UNIT_ATTEMPTS, attempts, intents, jobs, outputs, recipes
from reconciler.ledger.writing.pauses import B2PROD, LONGEST_REASON, Pause, PauseWriter, find_pause
from reconciler.model.states import LIVE, IntentState, OutputState, PauseKind
from reconciler.model.work_items import Address, WorkItem
from reconciler.planning.input_check import list_ends, list_needs, look_into
from reconciler.planning.views import View
from renderer.applications import APPLICATIONS
from schemas.manifest.campaign import Campaign
from schemas.manifest.canary import HOLD, VERDICT
from schemas.manifest.runs import run_key
from schemas.repository import Repository

PAUSED = " is paused by "
"""Part of the reason of every unit that a pause stops."""


Hold = Callable[[WorkItem, str], None]
"""Called with a unit that does not begin, and with the reason."""

JudgeCanary = Callable[[View, frozenset[int]], CanaryState]
"""Called with a campaign and the runs of its canary, all made. Returns whether the rest may follow."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Work in progress: `early` are units with a failed job that is tried again later, `live` counts units by campaign."""

    early: frozenset[Address]
    live: Mapping[str, int]


def read_traffic(connection: Connection, now: int) -> Traffic:
    """Reads the traffic at time `now`, in seconds since 1970."""
    # a time beyond the longest pause comes from a wrong clock
    later = (intents.c.state == IntentState.OPEN, jobs.c.after > now, jobs.c.after <= now + LONGEST)
    early = select(*UNIT).join(jobs).where(*later)
    live = (
        select(intents.c.campaign, func.count(func.distinct(intents.c.id)).label("units"))
        .select_from(UNIT_ATTEMPTS)
        .where(attempts.c.state.in_(LIVE))
        .group_by(intents.c.campaign)
    )
    return Traffic(
        frozenset((campaign, step, run_key(*run)) for campaign, step, *run in connection.execute(early)),
        {row.campaign: row.units for row in connection.execute(live)},
    )


def choose_canaries(
    connection: Connection, views: Sequence[View], items: Iterable[WorkItem]
) -> dict[str, frozenset[int]]:
    """Campaign → the run keys of its canary, for the campaigns of the items that have one."""
    wanted = {item.campaign.name for item in items}
    return {
        view.campaign.name: choose_canary(connection, view, view.campaign.canary)
        for view in views
        if view.campaign.canary is not None and view.campaign.name in wanted
    }


def choose_work(
    paused: Sequence[Pause],
    pauses: PauseWriter,
    traffic: Traffic,
    views: Sequence[View],
    items: Sequence[WorkItem],
    hold: Hold,
    canaries: Mapping[str, frozenset[int]],
    judge: JudgeCanary,
) -> tuple[list[WorkItem], list[WorkItem]]:
    """The items that no pause, recent failure or canary holds back; and those that only a canary holds back.

    `hold` is told of all that are held back, with the reason. `canaries` are the runs of the campaigns' canaries.
    When a canary is complete, this may pause its campaign.
    """
    allowed = {
        view.campaign.name: _find_canary(view, canaries[view.campaign.name], paused, pauses, judge)
        for view in views
        if view.campaign.name in canaries
    }
    shown = {f"campaign:{view.campaign.name}" for view in views if waits_for_verdict(view.campaign)}
    paused = [one for one in paused if one.kind != PauseKind.CANARY or one.scope not in shown]
    chosen: list[WorkItem] = []
    behind: list[WorkItem] = []
    for item in items:
        campaign = item.campaign
        limit = allowed.get(campaign.name)
        if pause := find_pause(paused, campaign.name, campaign.site):
            hold(item, tell_pause(pause))
        elif item.address in traffic.early:
            hold(item, "a job failed a while ago, and is tried again later")
        elif limit is not None and item.run not in limit[0]:
            hold(item, limit[1])
            behind.append(item)
        else:
            chosen.append(item)
    return chosen, behind


def tell_pause(pause: Pause) -> str:
    """The reason why a unit does not begin during a pause."""
    return f"{pause.scope}{PAUSED}{pause.who}: {pause.reason}"


def limit_work(
    traffic: Traffic, planned: Iterable[WorkItem], items: Sequence[WorkItem], hold: Hold
) -> list[WorkItem]:
    """As many of the items as `max_in_flight` of their campaigns allows; `hold` is told of the others, with the reason.

    If a unit that makes an item's input is `planned` but not chosen, the item is left out too. Upstream steps come first.
    """
    coming = {item.address for item in planned}
    begun: Counter[str] = Counter()
    chosen: dict[Address, WorkItem] = {}
    for item in items:
        name, limit = item.campaign.name, item.campaign.limits.max_in_flight
        if item.upstream in coming and item.upstream not in chosen:
            hold(item, "what they read is not made yet")
        elif limit is not None and traffic.live.get(name, 0) + begun[name] >= limit:
            hold(item, f"{name} has `max_in_flight: {limit}`")
        else:
            begun[name] += 1
            chosen[item.address] = item
    return list(chosen.values())


def _find_canary(
    view: View, runs: frozenset[int], paused: Sequence[Pause], pauses: PauseWriter, judge: JudgeCanary
) -> tuple[frozenset[int], str] | None:
    """The runs to which a canary limits a campaign, and the reason; None if all runs may begin."""
    canary, name = view.campaign.canary, view.campaign.name
    assert canary is not None
    if not runs and (canary.first is None or canary.then == VERDICT):
        return runs, f"the canary of {name} has no run that the campaign takes"
    scope = f"campaign:{name}"
    if list_open(view, runs):
        if canary.then == VERDICT:
            _show_canary(scope, "", paused, pauses)
        return runs, f"the canary of {name} goes first"
    if canary.then == VERDICT:
        state = judge(view, runs)
        _show_canary(scope, state.reason, paused, pauses)
        return None if state.is_open else (runs, state.reason)
    if canary.then == HOLD and pauses.find_resumed(scope, PauseKind.CANARY, by_person=True) is None:
        reason = f"its canary of {len(runs)} runs is complete; look at it, then `b2prod resume {scope}`"
        pauses.pause(scope, PauseKind.CANARY, reason, "b2prod")
        return frozenset(), f"the canary of {name} goes first"
    return None


def waits_for_verdict(campaign: Campaign) -> bool:
    """Whether the rest of a campaign follows its canary only with a verdict, and never because a person resumes it."""
    return campaign.canary is not None and campaign.canary.then == VERDICT


def _show_canary(scope: str, reason: str, paused: Sequence[Pause], pauses: PauseWriter) -> None:
    """Makes the pause of a canary that waits for its verdict say the reason; ends it if there is none.

    The pause only tells people: whether the rest follows is judged in each turn.
    """
    known = [one for one in paused if (one.scope, one.kind) == (scope, PauseKind.CANARY)]
    if [one.reason for one in known] == [reason[:LONGEST_REASON]]:
        return
    if known:
        pauses.resume(scope, reason or "its canary is open, or is made again", B2PROD, PauseKind.CANARY)
    if reason:
        pauses.pause(scope, PauseKind.CANARY, reason, B2PROD)


StepKey = tuple[str, str]
"""Campaign and step."""


def check_inputs(
    connection: Connection, repository: Repository, items: Sequence[WorkItem]
) -> tuple[Mapping[StepKey, str], Mapping[StepKey, Address | None]]:
    """Checks the input of the items' steps. If an output was already produced by a step's recipes, the step needs no check.

    Returns:
        lacking: step → text, for steps whose input lacks what they read.
        unproven: step → one of its units that is live, or None, for steps whose input nobody could check.
    """
    doubtful: dict[StepKey, list[WorkItem]] = {}
    for item in items:
        if APPLICATIONS[item.step.application].reads_by_name:
            doubtful.setdefault(item.address[:2], []).append(item)
    wanted = {}
    for key, some in list(doubtful.items()):
        step = some[0].step
        made = {output for item in some for output in item.names}
        digests = {one.digest for one in some[0].units.recipes if one.output in made}
        if digests <= _find_proven(connection, digests):
            del doubtful[key]
        elif (read := some[0].units.registered) and (needs := list_needs(step, repository)) is not None:
            wanted[key] = needs, list_ends(connection, read, [item.run for item in some])
    looked = look_into(wanted) if wanted else {}
    lacking = {key: one.text for key, one in looked.items() if one.lacking}
    unproven = {key: _find_live(connection, key) for key in doubtful if key not in looked}
    return lacking, unproven


def _find_proven(connection: Connection, digests: set[str]) -> set[str]:
    """The digests of the recipes by which an output was produced."""
    made = exists().where(outputs.c.recipe == recipes.c.id, outputs.c.state == OutputState.PRODUCED)
    return set(connection.scalars(select(recipes.c.digest).where(recipes.c.digest.in_(digests), made)))


def _find_live(connection: Connection, key: StepKey) -> Address | None:
    """A live unit of a step, or None."""
    query = select(intents.c.experiment, intents.c.run).select_from(UNIT_ATTEMPTS)
    query = query.where(attempts.c.state.in_(LIVE))
    here = (intents.c.campaign == key[0], intents.c.step == key[1])
    row = connection.execute(query.where(*here).limit(1)).first()
    return None if row is None else (*key, run_key(row.experiment, row.run))


class FirstUnits:
    """Decides, in one turn, which unit of a step goes first.

    `unproven` has the steps of which one unit must go first. Its value is a unit that is already live, or None.
    """

    def __init__(self, unproven: Mapping[StepKey, Address | None]) -> None:
        self._ahead = dict(unproven)
        self._waiting: dict[StepKey, deque[WorkItem]] = {}

    def admit(self, item: WorkItem) -> bool:
        """Whether a unit may begin now. If not, it is kept until the first unit has ended."""
        key = item.address[:2]
        if key not in self._ahead:
            return True
        if self._ahead[key] is None:
            self._ahead[key] = item.address
        if self._ahead[key] == item.address:
            return True
        self._waiting.setdefault(key, deque()).append(item)
        return False

    def end(self, address: Address, *, produced: bool) -> list[WorkItem]:
        """The units that may begin after a unit ended: all that waited if it was produced, else the next one."""
        key = address[:2]
        waiting = self._waiting.get(key, deque())
        if key in self._ahead and produced:
            del self._ahead[key]
            self._waiting.pop(key, None)
            return list(waiting)
        if self._ahead.get(key) != address:
            return []
        follower = waiting.popleft() if waiting else None
        self._ahead[key] = follower.address if follower else None
        return [follower] if follower else []

    def list_waiting(self) -> Iterator[WorkItem]:
        """Yields the units that still wait."""
        for waiting in self._waiting.values():
            yield from waiting
