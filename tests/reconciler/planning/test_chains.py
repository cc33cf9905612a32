"""Campaigns that read one another, as a function: each run gets what a model of six lines says of it, at each campaign."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.plan import Made, Observed
from reconciler.model.states import MAKING, PlanAction
from reconciler.planning.planner import plan_campaign
from reconciler.planning.sources import follow_units, list_coming
from renderer.identity.units import declare_units
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import run_key
from schemas.manifest.step import StepInput
from tests.support.inputs.sources import make_sources
from tests.support.worlds.planned_campaign import PlannedCampaign

NUMBERS = range(529, 535)
WORLD = PlannedCampaign()
RECO, SKIMS = WORLD.campaign.steps
READ = ("detector/raw", "a/reco/mdst", "b/skims/hlt_hadron")
"""What each campaign of the chain reads."""


def declare(place, name):
    """The campaign at a place of the chain, with one step."""
    source = StepInput(level="mdst", dataset=READ[place])
    step = replace(SKIMS, input=source) if place else RECO
    return replace(WORLD.campaign, name=name, steps=(step,))


CHAIN = tuple(declare(place, name) for place, name in enumerate("abc"))


def make_units(runs, registered):
    """The units of the whole chain; `runs` are those of each campaign."""
    units = []
    for place, campaign in enumerate(CHAIN):
        source = follow_units(parse_dataset(READ[place]), units[-1]) if place else None
        sources = {READ[place]: source} if source else make_sources({"raw": registered})
        units.append(declare_units(campaign, WORLD.repository, runs[place], sources))
    return units


def observe(units, produced):
    """A ledger in which some runs are produced as declared (2), and some in another way (1)."""
    (item,) = units
    made, current = {}, set()
    for output, column in item.fingerprints.items():
        recipe = next(one.content for one in item.recipes if one.output == output)
        sets = item.payload_sets or [None] * len(column)
        for run, value, payload_set in zip(item.runs, column, sets, strict=True):
            if produced.get(run) == 2:
                current.add(value)
            elif produced.get(run) == 1:
                made[item.step.name, output, run] = Made(b"before", recipe, "another input", payload_set)
    return Observed(produced=current, made=made)


def expect(place, run, runs, registered, produced, together):
    """The model: what one run gets at a campaign of the chain; None if the campaign does not take it."""
    if run not in runs[place]:
        return None
    above = expect(place - 1, run, runs, registered, produced, together) if place else "done"
    if above in (None, "no input") or run not in registered:
        return "no input"
    if produced[place].get(run) == 2:
        return "done"
    comes = above == "done" or (above in MAKING and together[place - 1])
    made = PlanAction.RESTATE if produced[place].get(run) == 1 else PlanAction.SUBMIT
    return made if comes else PlanAction.WAITING


keys = st.sampled_from([run_key(3, number) for number in NUMBERS])
drawn = st.fixed_dictionaries(
    {
        "runs": st.tuples(*(st.sets(keys).map(sorted) for _ in CHAIN)),
        "registered": st.sets(keys),
        "produced": st.tuples(*(st.dictionaries(keys, st.sampled_from([1, 2])) for _ in CHAIN)),
        "together": st.tuples(st.booleans(), st.booleans()),
    }
)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(drawn)
def test_each_run_gets_what_the_model_says_at_each_campaign_of_a_chain(facts):
    runs, together, produced = facts["runs"], facts["together"], facts["produced"]
    registered = {run: f"{run:064x}" for run in facts["registered"]}
    units = make_units(runs, registered)
    plans = []
    for place, campaign in enumerate(CHAIN):
        coming = {}
        if place:
            name = parse_dataset(READ[place])
            seen = list_coming(plans[-1], name.step, together=together[place - 1])
            coming = {f"{name.campaign}/{name.step}": seen}
        observed = observe(units[place], produced[place])
        plans.append(plan_campaign(campaign, units[place], observed, coming=coming))
        got = {run: group.action for group in plans[-1].groups for run in group.runs}
        waits = set(units[place][0].waiting)
        for run in runs[place]:
            wanted = expect(place, run, runs, registered, produced, together)
            found = "no input" if run in waits else got.get(run, "done")
            assert found == wanted, (place, run)


@given(st.sets(keys, min_size=1))
def test_a_chain_of_campaigns_has_the_fingerprints_of_one_campaign_with_its_steps(taken):
    registered = {run: f"{run:064x}" for run in taken}
    runs = sorted(taken)
    chain = make_units([runs] * 3, registered)
    second = replace(SKIMS, input=StepInput(level="mdst", step="reco"))
    third = replace(SKIMS, name="again", input=StepInput(level="mdst", step=second.name, skim="hlt_hadron"))
    whole = replace(WORLD.campaign, steps=(RECO, second, third))
    together = declare_units(whole, WORLD.repository, runs, make_sources({"raw": registered}))
    assert [one.fingerprints for (one,) in chain] == [one.fingerprints for one in together]
