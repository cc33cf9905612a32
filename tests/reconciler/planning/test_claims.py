"""What several units of one plan would make is made once: between campaigns, and between steps of one campaign."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plan import CampaignPlan, Intent
from reconciler.planning.claims import CLAIMING, list_claims
from reconciler.planning.planner import plan_campaign
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import campaign
from tests.support.worlds.planned_campaign import PlannedCampaign

ALL = ("max_units: 4000, max_restate: 0", "max_units: 4000, max_restate: 100")
TWIN = (
    "limits:",
    """\
  again:
    application: uproot
    input: {step: reco, level: mdst}
    skims: [hlt_hadron]
    parameters: {tree: events}
limits:""",
)
"""A step whose outputs are some of those of `skims`."""

RUN = run_key(3, 529)


@dataclass(frozen=True)
class Planned:
    """A campaign of a plan."""

    campaign: object
    units: tuple
    plan: CampaignPlan


def declare(name="proc7", numbers=(529,), *, reuse=True, twin=False, state="active"):
    world = PlannedCampaign(
        runs=[run_key(3, number) for number in sorted(numbers)],
        campaign=campaign(ALL, *([TWIN] if twin else [])),
    )
    world.campaign = replace(world.campaign, name=name, reuse=reuse, state=state)
    return world


def plan_together(worlds):
    """The plans of campaigns at one moment, in order."""
    views = []
    for world in worlds:
        units = world.units()
        claims = list_claims(world.repository.sites, views, world.campaign, units)
        plan = plan_campaign(world.campaign, units, world.observed, claims=claims)
        views.append(Planned(world.campaign, units, plan))
    return views


def act(view):
    return {
        (group.step, run): (group.action, group.reason) for group in view.plan.groups for run in group.runs
    }


def test_of_two_campaigns_that_would_make_the_same_the_first_makes_it():
    first, second = plan_together([declare("proc7"), declare("proc8")])
    assert act(first) == {("reco", RUN): ("+", "not produced"), ("skims", RUN): ("+", "not produced")}
    assert act(second) == {
        ("reco", RUN): ("waiting", "proc7/reco is to make the same"),
        ("skims", RUN): ("waiting", "proc7/skims is to make the same"),
    }
    assert not second.plan.count(*CLAIMING)


@pytest.mark.parametrize(
    ("first", "second", "action"),
    [
        ({"reuse": False}, {}, "waiting"),
        ({}, {"reuse": False}, "+"),
        ({"state": "held"}, {}, "+"),
        ({"numbers": (530,)}, {}, "+"),
    ],
)
def test_only_who_reuses_waits_and_only_for_who_makes(first, second, action):
    _, other = plan_together([declare("proc7", **first), declare("proc8", **second)])
    assert act(other)["reco", RUN][0] == action


def test_campaigns_at_different_storages_wait_for_nobody():
    here, there = declare("proc7"), declare("proc8")
    site = replace(here.repository.sites["local"], name="elsewhere", storage="other")
    there.repository = replace(there.repository, sites={**there.repository.sites, "elsewhere": site})
    there.campaign = replace(there.campaign, site="elsewhere")
    assert act(plan_together([here, there])[1])["reco", RUN][0] == "+"


def test_a_step_that_would_make_what_another_one_makes_waits_and_is_done_with_it():
    world = declare(twin=True)
    assert act(plan_together([world])[0])["again", RUN] == ("waiting", "proc7/skims makes the same")
    world.produce()
    assert not world.plan().groups
    assert world.plan().done == 3


@pytest.mark.parametrize("reuse", [True, False])
def test_within_a_campaign_who_began_goes_on(reuse):
    world = declare(twin=True, reuse=reuse)
    again = next(item for item in world.units() if item.step.name == "again")
    wanted = frozenset(column[0] for column in again.fingerprints.values())
    reco = PlannedCampaign(runs=[RUN]).produce()
    world.observed = replace(
        reco.observed,
        made={key: one for key, one in reco.observed.made.items() if key[0] == "reco"},
        produced={one.fingerprint for key, one in reco.observed.made.items() if key[0] == "reco"},
        intents={("again", RUN): Intent(wanted, live=False, quarantined=False, failure="no memory")},
    )
    told = act(plan_together([world])[0])
    assert told["again", RUN] == ("+", "again, after: no memory")
    assert told["skims", RUN] == ("waiting", "proc7/again makes the same")
    stopped = {("again", RUN): Intent(wanted, live=False, quarantined=True, failure="no memory")}
    world.observed = replace(world.observed, intents=stopped)
    told = act(plan_together([world])[0])
    assert told["again", RUN][0] == "quarantined"
    assert told["skims", RUN][0] == "+"


def test_what_another_campaign_began_is_waited_for_even_if_it_is_not_planned():
    world = declare()
    (reco, _) = world.units()
    world.observed = replace(world.observed, begun=dict.fromkeys(reco.fingerprints["mdst"], "proc6/reco"))
    assert act(plan_together([world])[0])["reco", RUN] == ("waiting", "proc6/reco makes the same")


campaigns = st.lists(
    st.tuples(st.sets(st.integers(529, 533), min_size=1), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(campaigns)
def test_every_output_is_made_once_by_those_who_reuse_and_in_the_end_all_is_done(drawn):
    worlds = [
        declare(f"proc{number}", numbers, reuse=reuse, twin=twin, state="held" if held else "active")
        for number, (numbers, reuse, twin, held) in enumerate(drawn)
    ]
    for _ in range(3):
        views = plan_together(worlds)
        makers = {}
        for view in views:
            units = {item.step.name: item for item in view.units}
            for group in [one for one in view.plan.groups if one.action in CLAIMING]:
                item = units[group.step]
                for output in group.outputs:
                    for run in group.runs:
                        value = item.fingerprints[output][item.runs.index(run)]
                        makers.setdefault(value, []).append(view.campaign)
        for found in makers.values():
            assert len({one.name for one in found}) == len(found), "a campaign makes it once"
            assert sum(one.reuse for one in found[1:]) == 0, "only the first one reuses"
            if found[0].reuse is False:
                assert not any(one.reuse for one in found)
        for world, view in zip(worlds, views, strict=True):
            world.produce(view.plan)
        for world in worlds:
            elsewhere = {
                value: f"{other.campaign.name}/reco"
                for other in worlds
                if other is not world and world.campaign.reuse
                for value in other.observed.produced
            }
            world.observed = replace(world.observed, elsewhere=elsewhere)
    for world, view in zip(worlds, plan_together(worlds), strict=True):
        actions = {group.action for group in view.plan.groups}
        assert actions <= ({"!", "="} if world.campaign.state == "held" else {"="})
