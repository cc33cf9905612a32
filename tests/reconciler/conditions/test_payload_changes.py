"""A payload that changes: exactly the runs that it holds for are restated, and the plan names it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderer.identity.payloads import find_payloads
from renderer.identity.units import declare_units
from schemas.conditions.snapshot import FOREVER, Iov, freeze_tag
from schemas.manifest.runs import run_key
from tests.support.inputs.sources import make_sources
from tests.support.worlds.planned_campaign import RUNS, PlannedCampaign

TAG = "data_reprocessing_proc7"
NAMES = ("BeamSpot", "CDCTimeZeros", "ECLCrystalEnergy")

ENDS = [*RUNS, run_key(3, 0), run_key(3, 600), run_key(4, 0)]


@st.composite
def iovs(draw, name=None, revision=None):
    first = draw(st.sampled_from(ENDS))
    last = draw(st.sampled_from([*(end for end in ENDS if end > first), FOREVER]))
    number = revision or draw(st.integers(1, 9))
    return Iov(name or draw(st.sampled_from(NAMES)), str(number), f"{number:032x}", first, last)


@st.composite
def changes(draw):
    """The IoVs of a tag, and the same with one of them at another place, of another content, gone, or new."""
    before = draw(st.lists(iovs(), min_size=1, max_size=8, unique=True))
    place = draw(st.integers(0, len(before) - 1))
    changed = before[place]
    after = draw(
        st.sampled_from(
            [
                [draw(iovs(changed.payload, int(changed.revision)))],
                [replace(changed, revision="99", checksum="9" * 32)],
                [],
                [changed, draw(iovs())],
            ]
        )
    )
    return before, [*before[:place], *after, *before[place + 1 :]]


def declare(world, found):
    repository = replace(
        world.repository, snapshots={**world.repository.snapshots, TAG: freeze_tag(TAG, "PUBLISHED", found)}
    )
    world.units = lambda: declare_units(
        world.campaign, repository, world.runs, make_sources({"raw": world.inputs})
    )
    return repository


def look_at_every_iov(found, run):
    """Name → checksum, the highest revision of those that hold."""
    valid = sorted(
        (int(iov.revision), iov.payload, iov.checksum) for iov in found if iov.first <= run < iov.end
    )
    return {name: checksum for _, name, checksum in valid}


@pytest.mark.slow
@settings(max_examples=500)
@given(changes())
def test_the_runs_that_are_restated_are_those_that_a_look_at_every_iov_names(change):
    before, after = change
    world = PlannedCampaign()
    repository = declare(world, before)
    world.produce()
    sets = {
        conditions: {
            name: iov.checksum for name, iov in find_payloads((repository.snapshots[TAG],), run).items()
        }
        for run, conditions in zip(RUNS, world.units()[0].payload_sets, strict=True)
    }
    world.observed = replace(world.observed, payloads=sets)
    declare(world, after)
    plan = world.plan()
    expected = {run for run in RUNS if look_at_every_iov(before, run) != look_at_every_iov(after, run)}
    restated = [(group, run) for group in plan.groups for run in group.runs if group.step == "reco"]
    assert {run for _, run in restated} == expected
    assert {group.action for group in plan.groups} <= {"~"}
    assert {run for group in plan.groups if group.step == "skims" for run in group.runs} == expected
    for group, run in restated:
        old, new = look_at_every_iov(before, run), look_at_every_iov(after, run)
        moved = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        assert {name for name in NAMES if name in group.reason} == moved


def test_a_payload_that_changed_is_named_with_its_runs():
    world = PlannedCampaign()
    always = [Iov(name, "1", "1" * 32, 0, FOREVER) for name in NAMES]
    repository = declare(world, always)
    world.produce()
    (made,) = set(world.units()[0].payload_sets)
    payloads = find_payloads((repository.snapshots[TAG],), RUNS[0])
    world.observed = replace(
        world.observed, payloads={made: {name: iov.checksum for name, iov in payloads.items()}}
    )
    declare(world, [*always, Iov("CDCTimeZeros", "2", "2" * 32, RUNS[3], RUNS[6])])
    first, second = world.plan().groups
    assert (first.action, first.step, first.runs) == ("~", "reco", tuple(RUNS[3:6]))
    assert first.reason == "payload CDCTimeZeros changed"
    assert (second.step, second.reason, second.runs) == ("skims", "input restated", tuple(RUNS[3:6]))


def test_payloads_that_a_template_does_not_read_restate_nothing_and_are_not_given_to_jobs():
    world = PlannedCampaign()
    template = world.repository.templates["raw_to_mdst/1"]
    reading = replace(template, payloads=frozenset({"CDCTimeZeros"}))
    world.repository = replace(
        world.repository, templates={**world.repository.templates, "raw_to_mdst/1": reading}
    )
    always = [Iov(name, "1", "1" * 32, 0, FOREVER) for name in NAMES]
    declare(world, always)
    world.produce()
    ((given,),) = {tuple(chain[0].iovs for chain in (world.units()[0].chains.of(run),)) for run in RUNS}
    assert [iov.payload for iov in given] == ["CDCTimeZeros"]
    declare(world, [*always, Iov("BeamSpot", "2", "2" * 32, 0, FOREVER)])
    assert not world.plan().groups
    declare(world, [*always, Iov("CDCTimeZeros", "2", "2" * 32, RUNS[9], FOREVER)])
    assert [group.runs for group in world.plan().groups] == [(RUNS[9],)] * 2


def test_payloads_that_the_ledger_has_no_record_of_are_not_guessed():
    world = PlannedCampaign().produce()
    declare(world, [Iov("CDCTimeZeros", "2", "2" * 32, 0, FOREVER)])
    assert world.plan().groups[0].reason == "payloads changed"
