"""Nothing behind a closed gate is submitted: in a real world of the local engine, whenever its reconciler is killed."""

from __future__ import annotations

from hashlib import sha256

import pytest

from reconciler.calibration.records import CalibrationWriter
from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.apply import apply_plan
from reconciler.execution.plan_memory import PlanMemory
from reconciler.execution.tracking import publication
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.outside.errors import GuardRefused
from reconciler.planning.gates.judging import StageState
from schemas.conditions.snapshot import LOCAL, freeze_tag, make_iov, write_snapshot
from schemas.files.canonical import canonical_json
from tests.support.worlds.gated_worlds import FILE, SCHEME, DatedWriting, Gated, Signatures
from tests.support.worlds.processes import run_forked
from tests.support.worlds.reconciler_kills import KILLED, die_at
from tests.support.worlds.worlds import QUIET


def test_units_behind_a_closed_gate_wait_with_the_reason_and_go_when_it_opens(tmp_path):
    world = Gated(tmp_path)
    assert world.waiting() == {"gate reco: 0 of 2 runs of proc7/reco are made (2 to be made)": 2}
    world.turn()
    assert world.summary() == {"done": 2, "waiting": 2}
    assert world.started("thin") == []
    assert world.waiting() == {
        "gate look: announce is done by people, who sign when it is: not signed by coordinator"
        " (nobody has signed), due 2019-02-15, coordinator": 2
    }
    world.sign("look")
    outcome = world.turn()
    assert outcome.produced == 2
    assert {one.state for one in world.stages().values()} == {StageState.PASSED}


def test_a_later_run_makes_the_signature_void_and_stops_nothing_that_was_made(tmp_path):
    world = Gated(tmp_path)
    world.turn()
    world.sign("look")
    world.turn()
    world.register_runs([3])
    world.register(3, "raw.3.0.root")
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.turn()
    assert [row[2] for row in world.produced() if row[1] == "thin"] == [1, 2]
    look = world.stages()["look"]
    assert look.state is StageState.HELD
    assert "the signature of coordinator@example.org is void: other evidence" in look.lacks[0].text
    world.sign("look")
    world.turn()
    assert [row[2] for row in world.produced() if row[1] == "thin"] == [1, 2, 3]


def test_a_day_that_is_changed_moves_no_gate_and_no_fingerprint(tmp_path):
    world = Gated(tmp_path)
    world.turn()
    world.sign("look")
    before = world.view().plan
    world.write(FILE, SCHEME.replace("2019-02-15", "2019-03-15"))
    assert world.view().plan == before
    assert world.stages()["look"].state is StageState.PASSED


def test_a_gate_that_closed_between_plan_and_apply_holds(tmp_path):
    world = Gated(tmp_path)
    world.turn()
    world.sign("look")
    plan = world.view().plan
    stored = {**plan.content(), "digest": plan.digest()}
    (tmp_path / "signed").unlink()
    options = TurnOptions(world.permits)
    with pytest.raises(GuardRefused, match="a gate of proc7 opened or closed"):
        apply_plan(world.state, world.repository(), stored, QUIET, options)
    assert world.started("thin") == []
    world.sign("look")
    assert apply_plan(world.state, world.repository(), stored, QUIET, options).produced == 2


class Revoking(Signatures):
    """The signatures are taken back as soon as a unit of the second step has begun."""

    def verify(self, names, plan):
        starts = self.root / "starts"
        if starts.exists() and "thin" in starts.read_text():
            (self.root / "signed").unlink(missing_ok=True)
        return super().verify(names, plan)


@pytest.mark.parametrize("stored", [False, True], ids=["reconcile", "apply"])
def test_who_takes_a_signature_back_stops_the_batches_that_have_not_begun(tmp_path, stored):
    world = Gated(tmp_path, slots=1)
    world.turn()
    world.sign("look")
    world.permits = Revoking(tmp_path)
    if stored:
        plan = world.view().plan
        content = {**plan.content(), "digest": plan.digest()}
        with pytest.raises(GuardRefused, match="loop/look is not signed any more"):
            apply_plan(world.state, world.repository(), content, QUIET, TurnOptions(world.permits))
    else:
        assert "loop/look is not signed any more" in world.turn().barred["proc7"]
    assert len(world.started("thin")) == 1
    world.turn()
    assert len(world.started("thin")) == 1
    assert [row[2] for row in world.produced() if row[1] == "thin"] == [1], "what had begun goes on"


def test_a_quiet_turn_sees_that_a_gate_opened_or_closed(tmp_path):
    """Signatures move no serial of the ledger."""
    world = Gated(tmp_path)
    world.turn()
    memory, repository = PlanMemory(), world.repository()

    def read():
        with reading(world.state) as connection:
            signs = world.permits.open_sign_offs()
            found = memory.read(connection, repository, world.names, world.state, signs)
        return found.plan.campaigns[0].data()["summary"]

    assert read()["waiting"] == 2
    world.sign("look")
    assert (read()["submit"], read()["waiting"]) == (2, 0)
    (tmp_path / "signed").unlink()
    assert read()["waiting"] == 2


POINTS = {
    "unit's intent committed": (Ledger, "intend", "after"),
    "attempt's intent committed": (AttemptLedger, "begin", "after"),
    "submitted, not recorded": (LocalEngine, "submit", "after"),
    "not verified": (AttemptLedger, "record_verified", "before"),
    "published, not recorded": (publication, "publish", "after"),
    "produced": (Ledger, "record_produced", "after"),
}


@pytest.mark.slow
@pytest.mark.parametrize("open_first", [False, True], ids=["closed", "opened"])
@pytest.mark.parametrize("point", POINTS)
def test_i11_killed_anywhere_nothing_goes_before_its_gate_is_open(tmp_path, point, open_first):
    world = Gated(tmp_path)
    owner, name, when = POINTS[point]
    if open_first:
        world.turn()
        world.sign("look")

    def doomed():
        die_at(owner, name, after=when == "after")
        world.turn()

    assert run_forked(doomed) == KILLED
    if not open_first:
        assert world.started("thin") == []
    world.turn()
    if not open_first:
        assert world.started("thin") == []
        assert world.summary() == {"done": 2, "waiting": 2}
        world.sign("look")
        world.turn()
    assert world.summary() == {"done": 4}
    jobs = [tuple(line.split()[:2]) for line in world.starts]
    assert len(jobs) == len(set(jobs)) == 5, "a job ran twice, or not at all"


@pytest.mark.slow
def test_an_apply_that_was_killed_goes_on_though_its_own_runs_changed_the_words_of_a_gate(tmp_path):
    world = Gated(tmp_path)
    plan = world.view().plan
    stored = {**plan.content(), "digest": plan.digest()}

    def apply():
        options = TurnOptions(world.permits)
        return apply_plan(world.state, world.repository(), stored, QUIET, options)

    def doomed():
        die_at(Ledger, "record_produced", after=True)
        apply()

    assert run_forked(doomed) == KILLED
    apply()
    assert world.summary() == {"done": 2, "waiting": 2}
    assert world.started("thin") == []


@pytest.mark.slow
def test_what_is_in_flight_when_its_gate_closes_goes_on(tmp_path):
    world = Gated(tmp_path)
    world.turn()
    world.sign("look")

    def doomed():
        die_at(AttemptLedger, "record_submitted", after=True)
        world.turn()

    assert run_forked(doomed) == KILLED
    begun = {line.split()[1] for line in world.started("thin")}
    (tmp_path / "signed").unlink()
    world.turn()
    assert {line.split()[1] for line in world.started("thin")} >= begun
    made = [row[2] for row in world.produced() if row[1] == "thin"]
    assert made, "what had begun was published"


LOOP = """\
schema: scheme/1
title: The second step goes when calibration is happy
stages:
  reco: {make: [proc7/reco]}
  calibrate:
    hand_over: [proc7/reco/mdst]
    after: [reco]
    payloads: [A]
    returns: tag_back
    sign: [coordinator]
  thin: {make: [proc7/thin], after: [calibrate]}
"""
BASE = freeze_tag("tag_back", "PUBLISHED", [make_iov("B", "1", "0" * 32, (0, 0, -1, -1))])
BACK = freeze_tag("loop-calibrate-1", LOCAL, [make_iov("A", "abc", "abc" + "0" * 29, (3, 1, -1, -1))])


def hand_over(world, writer, runs="3:1-2"):
    """Intends to hand over what counts now of some runs; returns the digest of it."""
    told = world.freeze("proc7/reco/mdst", runs)
    content = canonical_json({"release": "release-03-00-00", "datasets": [told]})
    value = sha256(content).hexdigest()
    named = {told["edition"]: told["digest"]}
    writer.intend_hand_over(("loop", "calibrate", 1), value, content, named, BASE, "/out")
    return value


def test_a_hand_over_passes_when_exactly_what_came_back_is_in_the_tag(tmp_path):
    world = Gated(tmp_path)
    world.write(FILE, LOOP)

    def upload(*iovs):
        pulled = freeze_tag("tag_back", "PUBLISHED", [*BASE.iovs, *iovs])
        world.write("productions/global-tags/tag_back.iov", write_snapshot(pulled).decode())

    upload()
    world.turn()
    tell = lambda: world.stages()["calibrate"].lacks[0].text  # noqa: E731 -- what is lacking at each moment
    assert tell() == "proc7/reco/mdst not handed over"
    about = ("loop", "calibrate", 1)
    with opened(world.state) as engine:
        writer = CalibrationWriter(Writer(engine, None), "calibration-manager@example.org")
        part = hand_over(world, writer, "3:2")
        assert tell() == "proc7/reco/mdst not handed over", "it is only intended"
        writer.record_hand_over(part, "/out")
        assert tell() == "only a part was handed over: 1 of 2 runs of proc7/reco/mdst"
        whole = hand_over(world, writer)
        writer.record_hand_over(whole, "/out")
        assert tell() == "A not returned"
        writer.intend_return(about, "2" * 64, whole, BACK, "/back")
        writer.record_return("2" * 64, "/back")
        assert tell() == "the payloads are returned, and tag_back is as before"
        upload(*BACK.iovs, make_iov("C", "1", "c" * 32, (0, 0, -1, -1)))
        assert tell().startswith("tag_back does not hold exactly what was returned: C")
        assert world.stages()["calibrate"].state is StageState.HELD
        upload(*BACK.iovs)
        assert tell() == "not signed by coordinator (nobody has signed)"
        world.sign("calibrate")
        assert world.stages()["calibrate"].state is StageState.PASSED
        writer.record_hand_over(hand_over(world, writer, "3:1-2 "), "/out")
        assert tell() == "A not returned", "what came back is of an earlier hand-over"
    assert world.started("thin") == []


def test_runs_that_were_made_again_are_to_be_handed_over_again_unless_payloads_are_back(tmp_path):
    world = Gated(tmp_path)
    world.write(FILE, LOOP)
    world.write("productions/global-tags/tag_back.iov", write_snapshot(BASE).decode())
    world.turn()
    stage = lambda: world.stages()["calibrate"]  # noqa: E731 -- the stage as it is at each moment
    with opened(world.state) as engine:
        writer = CalibrationWriter(Writer(engine, None, DatedWriting("2099-01-01T00:00:00Z")), "somebody")
        first = hand_over(world, writer)
        writer.record_hand_over(first, "/out")
        assert stage().lacks[0].text == "A not returned"
        world.change(("trigger_mode: all", "trigger_mode: hlt"))
        world.turn()
        told = "2 runs of proc7/reco/mdst were made again (3:1-2)"
        assert stage().lacks[0].text == f"{told} after the hand-over of 2099-01-01T00:00:00Z; hand over again"
        assert stage().lacks[0].command == "b2prod handover loop calibrate -o DIR"
        assert any(told in reason for reason in world.waiting())
        world.write(FILE, LOOP.replace("[proc7/reco/mdst]", '["proc7/reco/mdst:1"]'))
        assert stage().lacks[0].text == "A not returned", "an edition stays what it was"
        world.write(FILE, LOOP)
        world.change(("trigger_mode: hlt", "trigger_mode: all"))
        assert stage().lacks[0].text == "A not returned", "what was handed over counts again"
        world.change(("trigger_mode: all", "trigger_mode: hlt"))
        writer.intend_return(("loop", "calibrate", 1), "2" * 64, first, BACK, "/back")
        writer.record_return("2" * 64, "/back")
        assert stage().lacks[0].text == "the payloads are returned, and tag_back is as before"
        assert f"since then {told}" in stage().evidence
        writer.record_hand_over(hand_over(world, writer), "/out")
        assert stage().lacks[0].text == "A not returned"


def test_a_hand_over_that_names_no_digest_of_its_outputs_is_judged_by_its_edition(tmp_path):
    """Those of older versions do not have it."""
    world = Gated(tmp_path)
    world.write(FILE, LOOP)
    world.write("productions/global-tags/tag_back.iov", write_snapshot(BASE).decode())
    world.turn()
    told = world.freeze("proc7/reco/mdst", "3:1-2")
    del told["outputs"]
    content = canonical_json({"release": "release-03-00-00", "datasets": [told]})
    value = sha256(content).hexdigest()
    with opened(world.state) as engine:
        writer = CalibrationWriter(Writer(engine, None), "somebody")
        writer.intend_hand_over(("loop", "calibrate", 1), value, content, {}, BASE, "/out")
        writer.record_hand_over(value, "/out")
    assert world.stages()["calibrate"].lacks[0].text == "A not returned"
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.turn()
    assert "2 runs of proc7/reco/mdst were made again (3:1-2)" in world.stages()["calibrate"].lacks[0].text
