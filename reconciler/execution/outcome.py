"""The outcome of a turn: numbers and messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.execution.launch.admission import PAUSED
from reconciler.model.states import PlanAction
from reconciler.model.work_items import Address, WorkItem
from reconciler.planning.views import View


@dataclass(slots=True)
class Outcome:
    """The outcome of a turn.

    Units: `produced`; `failed` with reasons; `skipped`, because the unit that they read was not produced or another unit makes
    the same output; `staging`, whose input is on tape; `delayed`, whose jobs are done but whose storage accepts nothing now,
    with reasons; `held`, which did not begin, counted by reason.
    Attempts: `submitted` in this turn; at its end `live`, of which `attached` run on this machine; `unknown`, about which the
    engine cannot tell anything.
    Campaigns that were left out, with reasons: `absent` cannot be read or had an error; `barred` were stopped by a guard,
    because an approval is missing or a person must first say whether the storage is right.
    `planned` counts the plan's units by action; `declared_held` counts the blocked units of held campaigns.
    `operated` tells each operation on datasets that was done, as a line. `troubles` are other messages for a person.
    """

    produced: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0
    submitted: int = 0
    live: int = 0
    attached: int = 0
    unknown: int = 0
    staging: int = 0
    delayed: Mapping[Address, str] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    absent: dict[str, str] = field(default_factory=dict)
    barred: dict[str, str] = field(default_factory=dict)
    planned: Counter[str] = field(default_factory=Counter)
    declared_held: int = 0
    operated: list[str] = field(default_factory=list)
    troubles: Iterable[str] = ()

    @property
    def paused(self) -> int:
        """How many units did not begin because of a pause."""
        return sum(count for reason, count in self.held.items() if PAUSED in reason)

    def leave_out(self, campaign: str, reason: str, *, barred: bool = False) -> None:
        """Leaves a campaign out for the rest of the turn; `barred` if a guard stopped it."""
        (self.barred if barred else self.absent).setdefault(campaign, reason)

    def hold(self, item: WorkItem, reason: str) -> None:
        """Counts a unit that did not begin. A claimed unit is not counted: the plan says what it waits for."""
        if not item.claimed:
            self.held[reason] += 1

    def is_left_out(self, campaign: str) -> bool:
        return campaign in self.barred or campaign in self.absent

    def count_plan(self, views: Iterable[View]) -> None:
        """Counts the plan's units by action."""
        for view in views:
            for group in view.plan.groups:
                self.planned[group.action] += len(group.runs)
                if group.action == PlanAction.BLOCKED and view.campaign.state == "held":
                    self.declared_held += len(group.runs)
