"""A gate opens by a comparison of just what its stage names, as it is there now."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from reconciler.ledger.schema.decision_tables import comparisons
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.editions import EditionWriter
from reconciler.ledger.writing.transaction import Writer
from reconciler.planning.gates.judging import StageState
from reconciler.validation.kept import comparison_heads
from tests.support.worlds.builders import swap
from tests.support.worlds.gated_worlds import COMPARING, FILE, Comparing


def test_a_comparison_opens_the_gate_only_if_it_is_of_what_is_there_now(tmp_path):
    world = Comparing(tmp_path)
    world.turn()
    check = lambda: world.stages()["check"]  # noqa: E731 -- the stage as it is at each moment
    assert check().lacks[0].text == "proc7/reco/mdst is not compared with proc6/reco/mdst yet"
    world.keep(outputs="a" * 64, created="2001-01-01T00:00:00Z")
    assert "compares other outputs of proc7/reco/mdst than those that count now" in check().lacks[0].text
    world.keep(stated={"events": {"min_runs": 2}}, created="2099-01-01T00:00:00Z")
    assert "other criteria than strict has now" in check().lacks[0].text
    world.keep("fail", created="2099-01-02T00:00:00Z")
    assert check().state is StageState.HELD
    world.keep(stated={"events": {"min_runs": 3}}, created="2099-01-03T00:00:00Z")
    assert check().state is StageState.HELD, "what is stale hides no failure"
    world.keep("warn", created="2099-01-04T00:00:00Z")
    assert "no `sign`" in check().lacks[0].text
    world.keep("pass", runs="3:1", created="2099-01-05T00:00:00Z")
    assert check().state is StageState.PASSED, "half of the runs is what the scheme wants"
    assert {row[1] for row in world.produced() if row[0] == "proc7"} == {"reco"}
    world.turn()
    assert {row[1] for row in world.produced() if row[0] == "proc7"} == {"reco", "thin"}
    assert world.stages()["thin"].evidence == ("proc7/thin: 2 of 2 runs are made",)


def test_a_look_at_some_runs_closes_no_gate(tmp_path):
    """The whole comparison could not be kept again: it is there already, and would never be the newest."""
    world = Comparing(tmp_path)
    world.write(FILE, COMPARING.replace("complete: 0.5", "complete: 1"))
    world.turn()
    assert world.keep()
    assert world.keep("fail", runs="3:1", created="2099-01-02T00:00:00Z")
    assert not world.keep(created="2099-01-03T00:00:00Z")
    assert world.stages()["check"].state is StageState.PASSED


@pytest.mark.parametrize(
    "datasets",
    [("proc7/reco/mdst:1", "proc6/reco/mdst"), ("proc7/reco/mdst", "proc6/reco/mdst:1")],
    ids=["an old state", "a reference of somebody's choice"],
)
def test_a_comparison_of_editions_that_the_scheme_does_not_name_opens_no_gate(tmp_path, datasets):
    world = Comparing(tmp_path)
    world.turn()
    world.keep(datasets=datasets)
    assert "is not compared with" in world.stages()["check"].lacks[0].text
    assert world.keep(), "the gate is closed for this reason alone"
    assert world.stages()["check"].state is StageState.PASSED


def test_a_comparison_of_some_runs_of_an_edition_opens_no_gate(tmp_path):
    world = Comparing(tmp_path)
    world.write(FILE, COMPARING.replace("{compare: proc7/reco/mdst,", '{compare: "proc7/reco/mdst:1",'))
    world.turn()
    with opened(world.state) as engine:
        writer = EditionWriter(Writer(engine, None), "shifter@example.org")
        whole = writer.freeze("proc7/reco/mdst", b"{}", None).digest
    edition = ("proc7/reco/mdst:1", "proc6/reco/mdst")
    world.keep(datasets=edition)
    assert "only some runs of proc7/reco/mdst:1" in world.stages()["check"].lacks[0].text
    world.keep(datasets=edition, edition=whole)
    assert world.stages()["check"].state is StageState.PASSED


def test_a_comparison_of_what_was_taken_over_is_stale_once_the_other_campaign_made_it_again(tmp_path):
    """What proc7 takes over from proc5 counts as its own: of both, the comparison must be of what is there now."""
    world = Comparing(tmp_path)
    third = (tmp_path / "productions/campaigns/proc7/campaign.yaml").read_text()
    world.write("productions/campaigns/proc5/campaign.yaml", third)
    world.lock()
    for name in ("proc5", "proc6"):
        world.reconcile(name)
    assert {row[0] for row in world.produced()} == {"proc5", "proc6"}
    assert world.stages()["reco"].state is StageState.PASSED, "proc7 takes over what proc5 made"
    world.keep()
    assert world.stages()["check"].state is StageState.PASSED
    with opened(world.state) as engine, engine.begin() as connection:
        again = outputs.c.campaign == "proc5", outputs.c.run == 2
        connection.execute(update(outputs).where(*again).values(produced="2099-02-01T00:00:00Z", version=2))
    assert (
        "compares other outputs of proc7/reco/mdst than those that count now"
        in world.stages()["check"].lacks[0].text
    )


@pytest.mark.parametrize(
    "made", [("proc7",), ("proc6", "proc7")], ids=["made by itself", "taken over from the reference"]
)
def test_a_comparison_of_a_change_that_was_taken_back_opens_no_gate(tmp_path, made):
    """What counts again was made before the comparison, as what was compared: times do not tell them apart."""
    world = Comparing(tmp_path)
    for name in made:
        world.reconcile(name)
    check = lambda: world.stages()["check"]  # noqa: E731 -- the stage as it is at each moment
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile("proc7")
    assert len({row[0] for row in world.produced()}) == len(made)
    world.keep()
    assert check().state is StageState.PASSED
    world.change(("trigger_mode: hlt", "trigger_mode: all"))
    assert "compares other outputs of proc7/reco/mdst than those that count now" in check().lacks[0].text
    world.keep(created="2099-01-02T00:00:00Z")
    assert check().state is StageState.PASSED
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert check().state is StageState.PASSED, "the first comparison is of what counts again"


def test_a_comparison_counts_again_with_what_it_compared(tmp_path):
    """It could not be kept again: it is there already, with its old time."""
    world = Comparing(tmp_path)
    world.change(("kind: calibration", "kind: calibration\nreuse: never"))
    world.turn()
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(outputs).values(produced="2001-01-01T00:00:00Z"))
    world.keep(created="2001-01-02T00:00:00Z")
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile("proc7")
    assert (
        "compares other outputs of proc7/reco/mdst than those that count now"
        in world.stages()["check"].lacks[0].text
    )
    world.change(("trigger_mode: hlt", "trigger_mode: all"))
    assert world.stages()["check"].state is StageState.PASSED


def test_each_comparison_is_read_once_however_many_stages_and_plans_ask(tmp_path, monkeypatch):
    world = Comparing(tmp_path)
    world.turn()
    world.keep()
    world.keep("fail", runs="3:1", stated={"events": {"min_runs": 7}}, created="2099-01-02T00:00:00Z")
    read = []
    monkeypatch.setattr(comparison_heads, "_KNOWN", {})
    real = comparison_heads.read_comparison
    monkeypatch.setattr(comparison_heads, "read_comparison", lambda *of: read.append(of[1]) or real(*of))
    for _ in range(3):
        assert world.stages()["check"].state is StageState.PASSED
    assert len(read) == len(set(read)) == 2


def test_a_comparison_of_what_a_step_of_another_name_had_made_opens_no_gate_once_that_is_taken_back(tmp_path):
    """What counts again is older than the comparison, and the only version that the campaign itself ever made."""
    world = Comparing(tmp_path)
    world.reconcile("proc7")
    file = tmp_path / "productions/campaigns/proc7/campaign.yaml"
    renamed = ("  reco:", "  other:"), ("{step: reco,", "{step: other,"), ("mode: all", "mode: hlt")
    world.write("productions/campaigns/proc5/campaign.yaml", swap(file.read_text(), *renamed))
    world.lock()
    world.reconcile("proc5")
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile("proc6")
    assert ("proc7", "reco", 1, "mdst", 2) not in world.produced(), "proc7 takes it over"
    world.keep()
    assert world.stages()["check"].state is StageState.PASSED
    world.change(("trigger_mode: hlt", "trigger_mode: all"))
    check = world.stages()["check"]
    assert "compares other outputs of proc7/reco/mdst than those that count now" in check.lacks[0].text


def test_a_comparison_opens_the_gate_though_the_step_has_another_name_since_its_outputs_were_made(tmp_path):
    world = Comparing(tmp_path)
    world.change(("  reco:", "  former:"), ("{step: reco,", "{step: former,"))
    world.write(FILE, COMPARING.replace("proc7/reco", "proc7/former"))
    world.reconcile("proc6", "proc7")
    world.change(("  former:", "  reco:"), ("{step: former,", "{step: reco,"))
    world.write(FILE, COMPARING)
    world.reconcile("proc7")
    assert {row[1] for row in world.produced() if row[0] == "proc7"} >= {"former"}
    assert "reco" not in {row[1] for row in world.produced() if row[0] == "proc7"}
    world.keep()
    assert world.stages()["check"].state is StageState.PASSED


def test_a_comparison_that_does_not_tell_its_outputs_opens_no_gate(tmp_path):
    """Older versions kept such ones: nobody knows whether they are of what counts now."""
    world = Comparing(tmp_path)
    world.turn()
    world.keep(outputs=None)
    assert "kept before comparisons told which outputs they compare; compare again" in (
        world.stages()["check"].lacks[0].text
    )
    assert world.keep()
    assert world.stages()["check"].state is StageState.PASSED


def test_a_comparison_of_runs_that_are_gone_opens_no_gate(tmp_path):
    world = Comparing(tmp_path)
    world.turn()
    world.keep()
    with opened(world.state) as engine, engine.begin() as connection:
        lost = outputs.c.campaign == "proc7", outputs.c.step == "reco", outputs.c.run == 2
        connection.execute(update(outputs).where(*lost).values(state="lost"))
    check = world.stages()["check"]
    assert "of proc7/reco/mdst, some runs that it compares have no output now" in check.lacks[0].text


def test_a_comparison_with_a_stopped_campaign_counts_while_its_newest_versions_are_the_same(tmp_path):
    world = Comparing(tmp_path)
    world.turn()
    world.keep()
    world.change(("kind: calibration", "kind: calibration\nstate: stopped"), campaign="proc6")
    assert world.stages()["check"].state is StageState.PASSED
    with opened(world.state) as engine, engine.begin() as connection:
        again = outputs.c.campaign == "proc6", outputs.c.run == 2
        connection.execute(update(outputs).where(*again).values(version=2))
    check = world.stages()["check"]
    assert "compares other outputs of proc6/reco/mdst than those that count now" in check.lacks[0].text


def test_a_damaged_comparison_hides_only_what_is_older(tmp_path, monkeypatch):
    """Nobody knows what it is about: it may be a failure. Who compares again goes on, or gets it back."""
    world = Comparing(tmp_path)
    world.turn()
    check = lambda: world.stages()["check"]  # noqa: E731 -- the stage as it is at each moment
    world.keep("fail", runs="3:1")
    world.keep(created="2099-01-02T00:00:00Z")

    def damage(created):
        monkeypatch.setattr(comparison_heads, "_KNOWN", {})
        with opened(world.state) as engine, engine.begin() as connection:
            one = comparisons.c.created == created
            connection.execute(update(comparisons).where(one).values(content=b"damaged"))

    damage("2099-01-01T00:00:00Z")
    assert check().state is StageState.PASSED
    damage("2099-01-02T00:00:00Z")
    assert check().state is StageState.UNKNOWN
    assert "cannot be read" in check().lacks[0].text
    assert {one.state for one in world.stages().values()} >= {StageState.PASSED, StageState.WAITING}
    assert world.keep("warn", created="2099-01-03T00:00:00Z")
    assert check().state is StageState.HELD
    damage("2099-01-03T00:00:00Z")
    assert check().state is StageState.UNKNOWN
    assert world.keep("warn", created="2099-01-04T00:00:00Z"), "it is written again"
    assert check().state is StageState.HELD
    assert not world.keep("warn")
