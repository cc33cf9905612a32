"""The outcome of a turn, in numbers and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.execution.launch.admission import PAUSED
from reconciler.model.states import PlanAction
from reconciler.model.work_items import Address
from reconciler.planning.views import View


@dataclass(slots=True)
class Outcome:
    """The outcome of a turn.

    Units: `produced`; `failed`, each with its reason; `skipped`, since the unit that they read was not produced, or another
    unit makes the same; `staging`, whose input is on tape; `delayed`, whose jobs are done and whose storage takes nothing
    now, each with the reason; `held`, which did not begin, counted by reason.
    Attempts: `submitted` in this turn; at its end `live`, of which `attached` run on this machine; `unknown`, of which the
    engine can tell nothing.
    Campaigns that were left out, each with the reason: `absent`, of which something cannot be read or went wrong;
    `barred`, which a guard stopped, since an approval is missing or a person must first say whether their storage is right.
    `planned` counts the plan's units by action; `declared_held` is how many of the blocked ones are of held campaigns.
    `troubles` are other messages for a person.
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
    troubles: Iterable[str] = ()

    @property
    def paused(self) -> int:
        """How many units did not begin because of a pause."""
        return sum(count for reason, count in self.held.items() if PAUSED in reason)

    def leave_out(self, campaign: str, reason: str, *, barred: bool = False) -> None:
        """Leaves a campaign out for the rest of the turn; `barred` where a guard stopped it."""
        (self.barred if barred else self.absent).setdefault(campaign, reason)

    def is_left_out(self, campaign: str) -> bool:
        """Whether a campaign is left out."""
        return campaign in self.barred or campaign in self.absent

    def count_plan(self, views: Iterable[View]) -> None:
        """Counts the plan's units by action."""
        for view in views:
            for group in view.plan.groups:
                self.planned[group.action] += len(group.runs)
                if group.action == PlanAction.BLOCKED and view.campaign.state == "held":
                    self.declared_held += len(group.runs)
