"""The plan as a function: two values in, one value out. Stories first, then properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plan import Intent, Made, Observed, Plan
from reconciler.model.states import PlanAction
from reconciler.planning.planner import _Planning, plan_campaign
from renderer.identity.fingerprint import name_changes
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import SKIMS, campaign, swap
from tests.support.worlds.planned_campaign import RUNS, PlannedCampaign


def rows(plan):
    """What a plan says, short: (action, step, outputs, runs)."""
    return [(g.action, g.step, g.outputs, tuple(run & 0xFFFFFFFF for run in g.runs)) for g in plan.groups]


TEN = tuple(range(529, 539))


def test_nothing_produced_everything_is_submitted_upstream_first():
    assert rows(PlannedCampaign().plan()) == [
        ("+", "reco", ("mdst", "cdst"), TEN),
        ("+", "skims", ("hlt_hadron", "hlt_bhabha"), TEN),
    ]


def test_plan_after_apply_is_empty():
    plan = PlannedCampaign().produce().plan()
    assert not plan.groups
    assert plan.done == 20


def test_a_changed_cut_restates_that_skim_alone_and_says_so():
    world = PlannedCampaign().produce().change(skims=swap(SKIMS, ("nTracksLE >= 3", "nTracksLE >= 4")))
    (group,) = world.plan().groups
    assert (group.action, group.step, group.outputs, len(group.runs)) == ("~", "skims", ("hlt_hadron",), 10)
    assert (
        group.reason
        == "cut changed: nTracksLE >= 3 and Bhabha2Trk == 0 -> nTracksLE >= 4 and Bhabha2Trk == 0"
    )


def test_what_a_recipe_gained_or_lost_is_told():
    before, after = (
        {"application": "basf2", "template": {"a": 1, "b": 2}},
        {"keep": ["x"], "template": {"b": 3, "c": 4}},
    )
    told = ["application changed: basf2 -> None", "keep changed", "a changed", "b changed", "c changed"]
    assert list(name_changes(before, after)) == told


def test_a_cut_that_is_changed_back_needs_nothing():
    world = PlannedCampaign().produce()
    changed = world.change(skims=swap(SKIMS, ("nTracksLE >= 3", "nTracksLE >= 4"))).produce()
    back = changed.change()
    assert not back.plan().groups


def test_a_changed_release_restates_everything_and_names_both():
    text = campaign(
        ("max_restate: 0", "max_restate: 100"), ("release: release-03-00-00", "release: release-04-00-00")
    )
    plan = PlannedCampaign().produce().change(campaign=text).plan()
    assert [(group.action, group.step, len(group.runs)) for group in plan.groups] == [
        ("~", "reco", 10),
        ("~", "skims", 10),
    ]
    assert plan.groups[0].reason == "release changed: release-03-00-00 -> release-04-00-00"
    assert plan.groups[1].reason == "input restated"


def test_a_late_file_restates_just_that_run():
    world = PlannedCampaign().produce()
    world.inputs[RUNS[3]] = "f" * 64
    assert rows(world.plan()) == [
        ("~", "reco", ("mdst", "cdst"), (532,)),
        ("~", "skims", ("hlt_hadron", "hlt_bhabha"), (532,)),
    ]
    assert world.plan().groups[0].reason == "input files changed"


def test_a_new_run_is_one_submission_more():
    world = PlannedCampaign().produce()
    new = run_key(3, 539)
    world.runs.append(new)
    world.inputs[new] = "e" * 64
    assert rows(world.plan()) == [
        ("+", "reco", ("mdst", "cdst"), (539,)),
        ("+", "skims", ("hlt_hadron", "hlt_bhabha"), (539,)),
    ]


def test_a_run_without_files_waits_and_so_does_what_is_behind_it():
    world = PlannedCampaign()
    del world.inputs[RUNS[0]]
    waiting = [row for row in rows(world.plan()) if row[0] == "waiting"]
    assert [(step, runs) for _, step, _, runs in waiting] == [("reco", (529,)), ("skims", (529,))]


@pytest.mark.parametrize(("limit", "action"), [(20, "~"), (19, "!")])
def test_what_a_change_allowed_to_be_made_again_is_a_ceiling_too(limit, action):
    text = campaign(
        ("max_restate: 0", "max_restate: 100"),
        ("release: release-03-00-00", f"restate: {{reason: why, limit: {limit}}}\nrelease: release-04-00-00"),
    )
    plan = PlannedCampaign().produce().change(campaign=text).plan()
    assert plan.groups[0].action == action
    assert ("restate.limit is 19, to restate are 20" in plan.groups[0].reason) == (action == "!")


def made_by(maker, *columns):
    return {value: maker for column in columns for value in column}


def test_what_another_campaign_made_is_reused():
    world = PlannedCampaign()
    (reco, _) = world.units()
    world.observed = Observed(elsewhere=made_by("proc6/reco", *reco.fingerprints.values()))
    assert rows(world.plan())[0] == ("+", "skims", ("hlt_hadron", "hlt_bhabha"), TEN)
    assert rows(world.plan())[1] == ("=", "reco", ("mdst", "cdst"), TEN)
    assert world.plan().groups[1].reason == "taken over from proc6/reco"


def test_an_added_skim_is_submitted_and_the_others_stay():
    text = campaign(
        ("max_restate: 0", "max_restate: 0"),
        ("[hlt_hadron, hlt_bhabha]", "[hlt_hadron, hlt_bhabha, line_hadron]"),
    )
    assert rows(PlannedCampaign().produce().change(campaign=text).plan()) == [
        ("+", "skims", ("line_hadron",), TEN)
    ]


def test_what_is_no_longer_declared_is_obsolete_and_is_no_change():
    text = campaign(("[hlt_hadron, hlt_bhabha]", "[hlt_hadron]"))
    plan = PlannedCampaign().produce().change(campaign=text).plan()
    assert rows(plan) == [("-", "skims", ("hlt_bhabha",), TEN)]
    assert [group.content for group in plan.groups] == [""], "it has no fingerprints any more"
    assert plan.done == 20


def intent_of(world, run, **how):
    (reco, _) = world.units()
    index = reco.runs.index(run)
    wanted = frozenset(column[index] for column in reco.fingerprints.values())
    return Intent(wanted, **{"live": False, "quarantined": False, "failure": None, **how})


def test_a_run_in_flight_is_not_submitted_again():
    world = PlannedCampaign()
    world.observed = Observed(intents={("reco", RUNS[0]): intent_of(world, RUNS[0], live=True)})
    found = rows(world.plan())
    assert ("in flight", "reco", ("mdst", "cdst"), (529,)) in found
    assert ("waiting", "skims", ("hlt_hadron", "hlt_bhabha"), (529,)) in found
    assert ("+", "reco", ("mdst", "cdst"), TEN[1:]) in found


@pytest.mark.parametrize(
    ("how", "action", "reason"),
    [
        ({"live": True}, "in flight", "submitted"),
        ({"quarantined": True, "failure": "no memory"}, "quarantined", "no memory"),
        ({"failure": "no memory"}, "+", "again, after: no memory"),
    ],
)
def test_a_unit_of_which_a_part_was_made_elsewhere_is_what_it_was(how, action, reason):
    world = PlannedCampaign()
    (reco, _) = world.units()
    elsewhere = made_by("proc6/reco", reco.fingerprints["mdst"][:1])
    world.observed = Observed(
        elsewhere=elsewhere, intents={("reco", RUNS[0]): intent_of(world, RUNS[0], **how)}
    )
    (group,) = [one for one in world.plan().groups if one.step == "reco" and one.outputs == ("cdst",)]
    assert (group.action, group.reason, group.runs) == (action, reason, (RUNS[0],))


def test_a_quarantined_unit_waits_until_something_changes():
    world = PlannedCampaign()
    world.observed = Observed(
        intents={("reco", RUNS[0]): intent_of(world, RUNS[0], quarantined=True, failure="no branch x")}
    )
    group = next(group for group in world.plan().groups if group.action == "quarantined")
    assert (group.step, group.runs, group.reason) == ("reco", (RUNS[0],), "no branch x")
    world.inputs[RUNS[0]] = "f" * 64
    assert not [group for group in world.plan().groups if group.action == "quarantined"]


def test_a_failed_attempt_is_tried_again_with_its_reason():
    world = PlannedCampaign()
    world.observed = Observed(
        intents={("reco", RUNS[0]): intent_of(world, RUNS[0], failure="node went away")}
    )
    assert ("+", "again, after: node went away") in [(g.action, g.reason) for g in world.plan().groups]


def test_a_lost_output_is_produced_again_without_counting_as_restated():
    world = PlannedCampaign(limits="max_units: 4000").produce()
    gone = world.units()[0].fingerprints["mdst"][0]
    world.observed = replace(
        world.observed, produced=set(world.observed.produced) - {gone}, lost={gone: "gone"}
    )
    (group,) = world.plan().groups
    assert (group.action, group.outputs, group.runs, group.reason) == (
        "+",
        ("mdst",),
        (RUNS[0],),
        "output is gone from the storage",
    )


@pytest.mark.parametrize(
    ("limit", "action"), [("max_restate: 9", "!"), ("max_restate: 19", "!"), ("max_restate: 20", "~")]
)
def test_more_restates_than_allowed_are_none(limit, action):
    text = campaign(("max_restate: 0", limit), ("prune_tracks: false", "prune_tracks: true"))
    plan = PlannedCampaign().produce().change(campaign=text).plan()
    assert [(group.action, group.step) for group in plan.groups] == [(action, "reco"), (action, "skims")]


def test_new_units_do_not_count_as_restated():
    world = PlannedCampaign(runs=RUNS[:8]).produce()
    fewer = world.change(
        campaign=campaign(("max_units: 4000, max_restate: 0", "max_units: 4000, max_restate: 2"))
    )
    fewer.inputs = {run: f"{run:064x}" for run in RUNS} | {RUNS[0]: "f" * 64}
    fewer.runs = list(RUNS)
    counts = [(group.action, group.step, len(group.runs)) for group in fewer.plan().groups]
    assert counts == [("+", "reco", 2), ("+", "skims", 2), ("~", "reco", 1), ("~", "skims", 1)]


def test_more_units_than_allowed_are_none():
    plan = PlannedCampaign(limits="max_units: 19").plan()
    assert {group.action for group in plan.groups} == {"!"}
    assert "max_units is 19, declared are 20" in plan.groups[0].reason


def test_as_many_units_as_allowed_are_made():
    assert {group.action for group in PlannedCampaign(limits="max_units: 20").plan().groups} == {"+"}


def test_what_reads_a_unit_that_a_limit_blocks_waits_for_it():
    text = campaign(("prune_tracks: false", "prune_tracks: true"))
    world = PlannedCampaign()
    plan = world.plan()
    made = world.produce(replace(plan, groups=tuple(one for one in plan.groups if one.step == "reco")))
    blocked, waiting = made.change(campaign=text).plan().groups
    assert (blocked.action, blocked.step, len(blocked.runs)) == ("!", "reco", 10)
    assert (waiting.action, waiting.step, waiting.reason) == ("waiting", "skims", "waits for reco")
    assert waiting.runs == blocked.runs


def test_a_run_that_must_not_be_made_is_blocked_with_its_reason():
    world = PlannedCampaign()
    plan = plan_campaign(world.campaign, world.units(), world.observed, refused={RUNS[0]: "too late"})
    told = {(g.action, g.step, g.reason) for g in plan.groups if RUNS[0] in g.runs}
    assert told == {("!", "reco", "too late"), ("!", "skims", "too late")}


def test_a_held_campaign_is_planned_and_nothing_is_launched():
    text = campaign(("limits:", "state: held\nlimits:"))
    plan = PlannedCampaign(campaign=text).plan()
    assert {(group.action, group.reason) for group in plan.groups} == {("!", "the campaign is held")}


def test_plans_that_are_equal_have_equal_digests_and_others_do_not():
    def whole(world):
        return Plan("ledger", 1, 1, (world.plan(),))

    assert whole(PlannedCampaign()).digest() == whole(PlannedCampaign()).digest()
    other = PlannedCampaign()
    other.inputs[RUNS[5]] = "f" * 64  # the same runs, another content
    assert rows(other.plan()) == rows(PlannedCampaign().plan())
    assert whole(other).digest() != whole(PlannedCampaign()).digest()


numbers = st.sets(st.integers(0, 30), max_size=12)


@given(declared=numbers, produced=numbers, elsewhere=numbers, seed=st.randoms())
def test_submitted_is_declared_minus_what_exists(declared, produced, elsewhere, seed):
    world = PlannedCampaign(runs=[run_key(3, number) for number in sorted(declared | produced)])
    reco = world.units()[0]
    values = {
        run & 0xFFFFFFFF: {column[index] for column in reco.fingerprints.values()}
        for index, run in enumerate(reco.runs)
    }
    world.runs = [run_key(3, number) for number in sorted(declared)]
    exists = set().union(*(values[number] for number in produced)) if produced else set()
    others = (
        set().union(*(values[number] for number in elsewhere & declared)) if elsewhere & declared else set()
    )
    world.observed = Observed(produced=exists, elsewhere=made_by("proc6/reco", others - exists))
    found = {
        (action, runs) for action, step, _, runs in rows(world.plan()) if step == "reco" and action in "+="
    }
    expected = {
        ("+", tuple(sorted(declared - produced - elsewhere))),
        ("=", tuple(sorted((declared & elsewhere) - produced))),
    }
    assert found == {row for row in expected if row[1]}


@given(st.sets(st.integers(0, 30), min_size=1, max_size=12), st.integers(31, 60))
def test_adding_a_run_adds_exactly_that_run(known, new):
    world = PlannedCampaign(runs=[run_key(3, number) for number in sorted(known)]).produce()
    world.runs.append(run_key(3, new))
    world.inputs[run_key(3, new)] = "e" * 64
    assert {runs for _, _, _, runs in rows(world.plan())} == {(new,)}


facts = st.dictionaries(
    st.tuples(st.sampled_from(("reco", "skims")), st.sampled_from(RUNS)),
    st.sampled_from(
        (
            *("in flight", "quarantined", "failed", "made", "elsewhere", "begun elsewhere"),
            *("lost", "refused", "waiting"),
        )
    ),
    max_size=8,
)


@given(facts=facts)
def test_units_that_are_judged_as_sets_get_what_they_would_get_one_by_one(facts):
    world = PlannedCampaign()
    units = {item.step.name: item for item in world.units()}
    intents, made, produced, elsewhere, begun, lost, refused = {}, {}, set(), {}, {}, {}, {}
    for (step, run), fact in facts.items():
        item = units[step]
        index = item.runs.index(run)
        values = [column[index] for column in item.fingerprints.values()]
        match fact:
            case "in flight" | "quarantined" | "failed":
                given = (fact == "in flight", fact == "quarantined", "no" if fact == "failed" else None)
                intents[step, run] = Intent(frozenset(values), *given)
            case "made":
                produced.add(values[0])
                made[step, item.recipes[1].output, run] = Made(b"other", item.recipes[1].content, "", None)
            case "elsewhere":
                elsewhere[values[0]] = "proc6/reco"
            case "begun elsewhere":
                begun[values[0]] = "proc6/reco"
            case "lost":
                lost[values[0]] = "gone"
            case "refused":
                refused[run] = "too late"
            case "waiting":
                world.inputs.pop(run, None)
    world.observed = Observed(produced, elsewhere, begun, made, intents, lost)

    def plan():
        return plan_campaign(world.campaign, world.units(), world.observed, refused=refused)

    together = plan()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Planning, "find_known", lambda *_: None)
        assert plan() == together


def test_every_action_has_a_word():
    assert list(PlanAction) == ["+", "~", "=", "!", "?", "-", "in flight", "waiting", "quarantined"]
