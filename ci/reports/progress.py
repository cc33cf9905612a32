"""What a person sees of an apply: the plan, a progress bar, and the result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from ci.cli.console import count_things, progress, say
from ci.cli.exits import Exit
from reconciler.execution.outcome import Outcome
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.writing.tallies import count_live
from reconciler.model.operations import Operation
from reconciler.model.states import MAKING, PlanAction
from reconciler.model.work_items import Address
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.views import StateView
from renderer.jobs.logs import gather_alike

FAILURES = 20
"""The largest number of failures that are told. Failures with the same reason are told as one."""


class Watching(ExitStack):
    """Shows the plan and a progress bar on stderr, as soon as the plan is known, and a bar for each operation on datasets."""

    def __init__(self) -> None:
        super().__init__()
        self._bars: dict[str, Callable[[], None]] = {}

    def begin(self, state_view: StateView) -> Callable[[str, Address], None]:
        """Says what the plan makes, and shows the bar. The returned function must be called for each unit."""
        plan = state_view.plan
        wanted = sum(campaign.count(*MAKING) for campaign in plan.campaigns)
        names = ", ".join(campaign.campaign for campaign in plan.campaigns) or "no campaign"
        ready = [one for one in plan.operations if one.is_ready]
        more = f", {count_things(len(ready), 'operation')} to do" if ready else ""
        say(f"plan {plan.digest()[:12]} for {names}: {count_things(wanted, 'unit')} to make{more}")
        advance = self.enter_context(progress("units", wanted))
        return lambda _what, _unit: advance()

    def watch(self, operation: Operation, files: int) -> None:
        """Moves the bar of an operation on, which begins when it is told of first."""
        if operation.digest not in self._bars:
            what = f"{operation.kind} {operation.subject}, files"
            self._bars[operation.digest] = self.enter_context(progress(what, operation.files))
        for _ in range(files):
            self._bars[operation.digest]()


def tell_outcome(outcome: Outcome, left_out: int = 0) -> int:
    """Says what an apply did, and returns the exit code of a given plan. `left_out` is the number of campaigns left out."""
    failures = gather_alike(outcome.failed, lambda one: one[1])
    for (unit, reason), *others in failures[:FAILURES]:
        more = f" (and {count_things(len(others), 'unit')} alike)" if others else ""
        say(f"failed: {unit}: {reason}{more}")
    if rest := sum(map(len, failures[FAILURES:])):
        say(f"… and {count_things(rest, 'unit')} more")
    for text in outcome.operated:
        say(text)
    for text in describe_troubles(outcome):
        say(text)
    for reason, count in outcome.held.most_common(5):
        say(f"{count_things(count, 'unit')} not begun: {reason}")
    if outcome.staging:
        staging = count_things(outcome.staging, "unit")
        say(f"{staging} waiting for input that is on tape; the next reconcile asks again")
    if outcome.live:
        unknown = f", {outcome.unknown} of which nothing is known" if outcome.unknown else ""
        say(f"{count_things(outcome.live, 'job')} under way{unknown}; the next reconcile takes them up")
    say(sum_up(outcome, left_out))
    return _judge_units(outcome) or (Exit.UNAVAILABLE if outcome.absent else Exit.FINE)


def sum_up(outcome: Outcome, left_out: int = 0) -> str:
    """One line on a turn: what was made, and the state of the other units."""
    planned = outcome.planned
    counts = (
        (outcome.skipped, "behind those not tried"),
        (outcome.live, "in flight"),
        (planned[PlanAction.WAITING] + outcome.staging, "waiting"),
        (planned[PlanAction.BLOCKED], "blocked"),
        (planned[PlanAction.UNKNOWN], "unknown"),
        (outcome.paused, "paused"),
        (sum(outcome.held.values()) - outcome.paused, "not begun"),
        (planned[PlanAction.QUARANTINED], "in quarantine"),
    )
    told = [f"{count_things(outcome.produced, 'unit')} produced, {len(outcome.failed)} failed"]
    told += [f"{count:,} {what}" for count, what in counts if count > 0]
    if left := left_out + len(outcome.absent) + len(outcome.barred):
        told.append(f"{count_things(left, 'campaign')} left out")
    return ", ".join(told)


def judge_turn(outcome: Outcome, left_out: int = 0) -> int:
    """The exit code of a turn that should make everything declared."""
    planned = outcome.planned
    undone = planned[PlanAction.BLOCKED] - outcome.declared_held
    undone += planned[PlanAction.QUARANTINED] + planned[PlanAction.UNKNOWN] + left_out + len(outcome.absent)
    rest = Exit.PARTLY if undone else Exit.REFUSED if outcome.paused else Exit.FINE
    return _judge_units(outcome) or rest


def _judge_units(outcome: Outcome) -> Exit:
    if outcome.barred:
        return Exit.REFUSED
    if outcome.failed or outcome.skipped:
        return Exit.PARTLY
    return Exit.UNAVAILABLE if outcome.delayed else Exit.FINE


def describe_live(state: State) -> str:
    """The jobs that still run after a reconciler ended, by site."""
    try:
        with reading(state) as connection:
            live = count_live(connection)
    except SourceUnavailable:
        return "the ledger cannot be read; jobs that were submitted run on"
    if not live:
        return "no job is under way"
    where = ", ".join(f"{count:,} at {site}" for site, count in sorted(live.items()))
    return f"{count_things(sum(live.values()), 'job')} under way ({where}), which the next reconcile takes up"


def describe_troubles(outcome: Outcome) -> list[str]:
    """What kept a turn from doing everything, except failures of units."""
    left_out = (*outcome.absent.items(), *outcome.barred.items())
    told = [f"{name} is left out: {text}" for name, text in left_out]
    told += outcome.troubles
    if outcome.delayed:
        first = next(iter(outcome.delayed.values()))
        told.append(f"{count_things(len(outcome.delayed), 'unit')} made, waiting for their storage: {first}")
    return told
