"""What came of a turn, in numbers and words."""

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
    """What came of an apply: units produced, failed with the reason, in vain waited for; attempts still under way, here or elsewhere.

    `staging` units wait for their input, which is on tape; those `delayed` are made, and wait for their storage; `held`
    counts, by reason, those that did not begin. `absent` campaigns were left out since something of theirs cannot be read,
    or went wrong, `barred` ones since a guard stopped them: an approval is missing, or a person has to say first whether
    their storage is the right one.
    `planned` counts what the plan had, by action; `declared_held` is how many of those blocked are of campaigns that are held.
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
        """How many units did not begin because somebody, or a breaker, stopped them."""
        return sum(count for reason, count in self.held.items() if PAUSED in reason)

    def leave_out(self, campaign: str, reason: str, *, barred: bool = False) -> None:
        """From now on nothing of a campaign begins in this turn; `barred` where a guard says so."""
        (self.barred if barred else self.absent).setdefault(campaign, reason)

    def is_left_out(self, campaign: str) -> bool:
        """Whether nothing of a campaign begins."""
        return campaign in self.barred or campaign in self.absent

    def count_plan(self, views: Iterable[View]) -> None:
        """Takes note of what is planned."""
        for view in views:
            for group in view.plan.groups:
                self.planned[group.action] += len(group.runs)
                if group.action == PlanAction.BLOCKED and view.campaign.state == "held":
                    self.declared_held += len(group.runs)
