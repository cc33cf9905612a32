"""A campaign whose plans are computed without a database."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from reconciler.model.plan import Made, Observed
from reconciler.planning.planner import plan_campaign
from renderer.identity.units import declare_units
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.repository import read_repository
from tests.support.inputs.sources import make_sources
from tests.support.worlds.builders import campaign, tree

RUNS = [run_key(3, number) for number in range(529, 539)]


@cache
def read(changes):
    repository, findings = read_repository(tree(**dict(changes)), load_templates())
    assert not findings
    return repository


class PlannedCampaign:
    """A campaign of two steps (reco → skims) over ten runs, and a ledger that tests fill."""

    def __init__(self, limits="max_units: 4000, max_restate: 100", runs=RUNS, **changes):
        changes.setdefault("campaign", campaign(("max_units: 4000, max_restate: 0", limits)))
        self.repository = read(tuple(sorted(changes.items())))
        self.campaign = self.repository.campaigns["proc7"].campaign
        self.inputs = {run: f"{run:064x}" for run in runs}
        self.runs = list(runs)
        self.observed = Observed()

    def units(self):
        return declare_units(self.campaign, self.repository, self.runs, make_sources({"raw": self.inputs}))

    def plan(self):
        return plan_campaign(self.campaign, self.units(), self.observed)

    def produce(self, plan=None):
        """The ledger after all planned units were produced."""
        made, produced = dict(self.observed.made), set(self.observed.produced)
        for item in self.units():
            for group in (plan or self.plan()).groups:
                if group.step == item.step.name and group.action in "+~":
                    for output in group.outputs:
                        recipe = next(recipe for recipe in item.recipes if recipe.output == output)
                        for run in group.runs:
                            index = item.runs.index(run)
                            value = item.fingerprints[output][index]
                            conditions = item.payload_sets[index] if item.payload_sets else None
                            made[group.step, output, run] = Made(
                                value, recipe.content, item.inputs[index], conditions
                            )
                            produced.add(value)
        self.observed = replace(self.observed, made=made, produced=produced)
        return self

    def change(self, **changes):
        """The same ledger with another declaration."""
        other = PlannedCampaign(**changes)
        other.observed, other.inputs, other.runs = self.observed, dict(self.inputs), list(self.runs)
        return other
