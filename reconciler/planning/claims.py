"""Claims: what campaigns of one plan are to make, so that an equal output is made once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from reconciler.model.plan import CampaignPlan
from reconciler.model.states import MAKING, PlanAction
from renderer.identity.units import StepUnits
from schemas.manifest.campaign import Campaign
from schemas.policy.site import Site

CLAIMING = (*MAKING, PlanAction.IN_FLIGHT)
"""The actions on units whose outputs no other unit makes at the same time."""


class Planned(Protocol):
    """A campaign that is planned: its units and its plan."""

    @property
    def campaign(self) -> Campaign: ...
    @property
    def units(self) -> Sequence[StepUnits]: ...
    @property
    def plan(self) -> CampaignPlan: ...


def list_claims(
    sites: Mapping[str, Site], others: Iterable[Planned], campaign: Campaign, units: Sequence[StepUnits]
) -> dict[bytes, str]:
    """The outputs of a campaign that other campaigns are to make at the same storage: fingerprint → campaign and step.

    `others` are planned before it; `units` are its own. A campaign that reuses nothing waits for nobody.
    """
    claims: dict[bytes, str] = {}
    recipes = {recipe.digest for item in units for recipe in item.recipes}
    storage = sites[campaign.site].storage
    for other in others if campaign.reuse else ():
        if sites[other.campaign.site].storage != storage:
            continue
        for item in other.units:
            shared = {recipe.output for recipe in item.recipes if recipe.digest in recipes}
            groups = [one for one in other.plan.groups if one.step == item.step.name]
            place = {run: index for index, run in enumerate(item.runs)} if shared else {}
            for group in groups:
                for output in shared.intersection(group.outputs) if group.action in CLAIMING else ():
                    column = item.fingerprints[output]
                    made = (column[place[run]] for run in group.runs)
                    claims.update(dict.fromkeys(made, f"{other.campaign.name}/{item.step.name}"))
    return claims
