"""What one signs when a gate of a scheme holds a part of a campaign: the whole. And what a review tells of a changed scheme."""

from __future__ import annotations

import pytest

from ci.approvals.decision import describe_decision
from ci.changes.project import Project
from ci.cli.exits import Exit
from tests.support.inputs.keys import ORDER
from tests.support.worlds.signable_checkout import SignableCheckout

SECOND = """\
  second:
    application: basf2
    template: raw_to_mdst/1
    input: {level: raw}
    outputs: [cdst]
    parameters: {trigger_mode: all}
limits:"""
SCHEME = """\
schema: scheme/1
title: The second step goes when somebody has looked at the first
stages:
  reco: {make: [proc7/reco]}
  look: {announce: [proc7/reco/mdst], after: [reco], sign: [coordinator]}
  second: {make: [proc7/second], after: [look]}
"""
FILE = "productions/schemes/loop.yaml"


class Restating(SignableCheckout):
    """Two steps are made, and both are to be made again; the scheme, which came then, holds the second one."""

    def __init__(self, root, circle):
        super().__init__(root, circle)
        self.change(("limits:", SECOND))
        self.approve()
        assert self.launch() == Exit.FINE
        assert len(self.produced()) == 4
        self.write(FILE, SCHEME)
        file = self.root / "productions/campaigns/proc7/campaign.yaml"
        file.write_text(file.read_text().replace("trigger_mode: all", "trigger_mode: hlt"))
        self.lock()

    def approve(self):
        self.sign(*ORDER)
        self.commit("approvals")

    def versions(self):
        return sorted((step, version) for _, step, _, _, version in self.produced() if version > 1)


@pytest.fixture
def world(tmp_path, circle):
    return Restating(tmp_path, circle)


def tell_decision(world):
    repository = world.repository()
    declared = repository.campaigns["proc7"]
    return describe_decision(Project(world.root, world.state), repository, declared, declared.lock, None)


def test_one_signs_the_whole_and_what_waits_goes_by_the_same_signatures(world):
    told = tell_decision(world)
    assert "units: restate 4, done 0" in told
    assert "2 of them wait at first, and go by the same signatures once it opens: gate reco: 0 of 2" in told
    world.approve()
    assert world.launch() == Exit.FINE
    assert world.versions() == [("reco", 2)] * 2
    assert "2 of them wait at first, and go by the same signatures once it opens: gate look" in tell_decision(
        world
    )
    world.write(FILE, SCHEME.replace("after: [look]", "after: [reco]"))
    world.commit("the gate opens")
    assert world.launch() == Exit.FINE, "nobody signs the campaign again"
    assert world.versions() == [("reco", 2)] * 2 + [("second", 2)] * 2


def test_a_gate_does_not_divide_what_is_above_the_limit_into_parts_that_are_not(world):
    world.change(("max_restate: 10", "max_restate: 3"))
    world.approve()
    assert world.launch() == Exit.PARTLY
    assert world.versions() == []
    blocked = [row for row in world.groups() if row[0] == "blocked"]
    assert [row[1] for row in blocked] == ["reco", "second"]
    assert all(row[3].endswith("max_restate is 3, to restate are 4") for row in blocked)


def review(world, capsys, text):
    """The review of a change of the scheme, or of its removal."""
    base = world.commit("before")
    if text is None:
        (world.root / FILE).unlink()
    else:
        world.write(FILE, text)
    world.commit("the change")
    capsys.readouterr()
    assert world.call("review", "--base", base, "--head", "HEAD") == Exit.FINE
    return capsys.readouterr().out


def test_a_review_tells_which_stages_change_and_which_units_then_go(world, capsys):
    world.approve()
    assert world.launch() == Exit.FINE
    text = SCHEME.replace("after: [look]", "after: [reco]").replace(
        "after: [reco], sign: [coordinator]", 'after: [reco], due: "2019-02-15", sign: [validation]'
    )
    told = review(world, capsys, text.replace("{make: [proc7/reco]}", "{make: [proc7/reco], complete: 0.5}"))
    assert "## Scheme `loop`: 2 units let go" in told
    for line in (
        "the stage `reco`, `complete`: none → `0.5`",
        "the stage `look`, `due`: none → `2019-02-15`",
        "the stage `look`, `sign`: `coordinator` → `validation`",
        "the stage `second`, `after`: `look` → `reco`",
        "**This change opens gate `look`:** 2 units of `proc7/second` go, which wait now",
    ):
        assert line in told


def test_a_review_tells_what_goes_when_a_stage_or_a_whole_scheme_is_removed(world, capsys):
    world.approve()
    assert world.launch() == Exit.FINE
    lines = [line for line in SCHEME.splitlines() if not line.startswith("  look")]
    told = review(world, capsys, "\n".join(lines).replace(", after: [look]", "") + "\n")
    assert "**the stage `look` is gone**: `announce` `proc7/reco/mdst`, `after` `reco`" in told
    assert "**This change opens gate `look`:** 2 units of `proc7/second` go" in told
    world.write(FILE, SCHEME)
    told = review(world, capsys, None)
    assert "**it is gone, and holds nothing back any more** of `proc7`" in told
    assert "**This change opens gate `look`:** 2 units of `proc7/second` go" in told


def test_a_review_tells_what_a_new_scheme_holds_and_that_a_day_moves_no_gate(world, capsys):
    world.approve()
    assert world.launch() == Exit.FINE
    told = review(world, capsys, SCHEME.replace("sign:", 'due: "2019-02-15", sign:'))
    assert "## Scheme `loop`: no gate moves" in told
    assert "As things are now, that opens and closes no gate." in told
    (world.root / FILE).unlink()
    told = review(world, capsys, SCHEME)
    assert "it is new" in told
    assert "This change closes gate `look`: 2 units of `proc7/second` wait, which go now" in told
