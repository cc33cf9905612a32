"""The runs of a step that a campaign declares, and those of them that are made: of a plan, or of a campaign that is not planned. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from reconciler.model.plan import CampaignPlan, Group
from reconciler.model.states import PlanAction
from reconciler.planning.gates.evidence import StepCount
from renderer.identity.digest_columns import choose, find_places, write
from renderer.identity.units import StepUnits
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import RunSet, format_runs
from schemas.manifest.variant import find_declared

_MADE = (PlanAction.REUSE, PlanAction.OBSOLETE)
"""Actions of a plan on units whose output exists, or that are not declared."""


class PlannedCampaign(Protocol):
    """A campaign with its units and its plan."""

    @property
    def campaign(self) -> Campaign: ...
    @property
    def units(self) -> Sequence[StepUnits]: ...
    @property
    def plan(self) -> CampaignPlan: ...


@dataclass(frozen=True, slots=True)
class StepRuns:
    """The runs of a step, or of a variant: declared ones, and those of them that are not made, by the plan's word for them. All are sorted.

    `digest_made` gives the digest of what was made of some runs.
    """

    name: str
    declared: Sequence[int]
    missing: Mapping[str, Sequence[int]]
    digest_made: Callable[[Sequence[int]], str]

    def count(self, runs: RunSet | None, named: float | None = None) -> StepCount:
        """The numbers, of all runs or of some; with the digest of what was made once that is at least the share `named` of them.

        Before that nobody signs it, and it costs more than all else.
        """
        declared = self.declared if runs is None else runs.choose(self.declared)
        missing = {
            word: found if runs is None else runs.choose(found) for word, found in self.missing.items()
        }
        lacking = set[int]().union(*missing.values())
        counted = {word: len(found) for word, found in missing.items() if found}
        count = StepCount(self.name, len(declared), len(declared) - len(lacking), counted)
        if named is None or not count.reaches(named):
            return count
        made = [run for run in declared if run not in lacking] if lacking else declared
        return replace(count, content=self.digest_made(made))


def list_planned(planned: PlannedCampaign, step: str) -> Iterator[StepRuns]:
    """The runs of a step of a planned campaign, for each of its variants."""
    for item in planned.units:
        if find_declared(item.step.name) != step:
            continue
        missing: dict[str, list[int]] = {}
        for group in planned.plan.groups:
            if group.step == item.step.name and group.action not in _MADE:
                missing.setdefault(_name_missing(group), []).extend(group.runs)
        missing = {word: sorted(found) for word, found in missing.items()}
        declared: Sequence[int] = item.runs
        if item.waiting:
            declared = sorted({*item.runs, *item.waiting})

        def digest_made(runs: Sequence[int], item: StepUnits = item) -> str:
            return _digest_units(item, runs)

        yield StepRuns(f"{planned.campaign.name}/{item.step.name}", declared, missing, digest_made)


def _name_missing(group: Group) -> str:
    return "to be made" if group.action in (PlanAction.SUBMIT, PlanAction.RESTATE) else group.action.word


def _digest_units(units: StepUnits, runs: Sequence[int]) -> str:
    """The digest of what some runs of a step are made from, which names their outputs: recipes, inputs and payload sets."""
    found = sha256("".join(sorted(one.digest for one in units.recipes)).encode())
    found.update(format_runs(runs).encode())
    whole = len(runs) == len(units.runs)
    places = [] if whole else find_places(units.runs, runs)
    for values in (units.inputs, units.payload_sets or ()):
        for text in write(values if whole or not values else choose(values, places)):
            found.update(text.encode())
    return found.hexdigest()
