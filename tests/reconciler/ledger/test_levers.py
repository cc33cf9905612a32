"""An operator's levers, canaries and breakers: what stops, what goes on, and what is recorded of it."""

from __future__ import annotations

import os
import signal

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema.decision_tables import decisions, pauses
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.operator_actions import Scope
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.ledger.writing.units import Ledger
from reconciler.outside.errors import GuardRefused
from schemas.manifest.runs import parse_runs
from tests.support.worlds.processes import kill_when, run_forked, start_forked, wait_forked, wait_until
from tests.support.worlds.worlds import ONE_STEP, WHO, World, pull

pytestmark = pytest.mark.usefixtures("database")


def list_pauses(world):
    with reading(world.state) as connection:
        return [(pause.scope, pause.kind, pause.reason) for pause in read_pauses(connection)]


def unit(text):
    campaign, step, run = text.split("/")
    return Scope(text, campaign, step, frozenset(parse_runs(run)))


@pytest.mark.parametrize("scope", ["all", "site:local", "campaign:proc7"])
def test_what_is_paused_begins_nothing_until_it_is_resumed(tmp_path, scope):
    world = World(tmp_path, campaign=ONE_STEP)
    assert pull(world, lambda levers: levers.pause(scope, "the disk is being moved"))
    assert not pull(world, lambda levers: levers.pause(scope, "again"))
    world.reconcile()
    assert not world.starts
    assert pull(world, lambda levers: levers.resume(scope, "moved")) == 1
    assert world.reconcile().produced == 2
    rows = world.rows(pauses, "scope", "who", "reason", "ended_by", "ended_reason")
    assert rows == [(scope, WHO, "the disk is being moved", WHO, "moved")]


@pytest.mark.quick
@pytest.mark.parametrize("scope", ["site:other", "campaign:proc8"])
def test_a_pause_stops_nothing_else(tmp_path, scope):
    world = World(tmp_path, campaign=ONE_STEP)
    pull(world, lambda levers: levers.pause(scope, "elsewhere"))
    assert world.reconcile().produced == 2


def test_a_pause_in_the_middle_of_a_turn_stops_what_has_not_begun(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1), slots=1)
    world.behave("hang", "reco-1")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 1)
    pull(world, lambda levers: levers.pause("all", "stop"))
    (tmp_path / "go").touch()
    assert wait_forked(child) == 0
    assert len(world.starts) == 1
    assert len(world.produced()) == 1


def test_a_canary_goes_first_and_alone(tmp_path):
    world = World(
        tmp_path, ("limits:", "canary: {runs: 1}\nlimits:"), campaign=ONE_STEP, files=(1, 1, 1), slots=3
    )
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.behave("status 7", "reco-1")
    assert world.reconcile().produced == 0
    assert [line.split()[0] for line in world.starts] == ["reco"]
    world.behave("fine", "reco-1")
    assert world.reconcile().produced == 1
    assert world.reconcile().produced == 2


def test_a_canary_that_holds_waits_for_a_person(tmp_path):
    world = World(
        tmp_path, ("limits:", "canary: {runs: 1, then: hold}\nlimits:"), campaign=ONE_STEP, files=(1, 1)
    )
    assert world.reconcile().produced == 1
    for _ in range(2):
        assert world.reconcile().produced == 0
    ((scope, kind, reason),) = list_pauses(world)
    assert (scope, kind) == ("campaign:proc7", "canary")
    assert "b2prod resume campaign:proc7" in reason
    pull(world, lambda levers: levers.resume("campaign:proc7", "it looks good"))
    assert world.reconcile().produced == 1
    world.reconcile()
    assert list_pauses(world) == []


def test_the_fifth_equal_failure_pauses_the_campaign_and_names_the_line(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,) * 7, slots=1)
    world.change(('ranges: "1-2"', 'ranges: "1-7"'))
    world.behave("fatal geometry of run 3 is missing")
    world.reconcile()
    assert len(world.starts) == 5
    ((scope, kind, reason),) = list_pauses(world)
    assert (scope, kind) == ("campaign:proc7", "breaker")
    assert "geometry of run 3 is missing" in reason
    assert "line 2 of the log of b2p-" in reason
    world.behave("fine")
    world.reconcile()
    assert len(world.starts) == 5
    pull(world, lambda levers: levers.resume("campaign:proc7", "geometry is there"))
    assert world.reconcile().produced == 7


LACKING = 'report {"failure": {"class": "permanent", "message": "no branch x", "scope": "step"}}'


def test_the_first_failure_of_all_jobs_of_a_step_pauses_the_campaign(tmp_path):
    world = World(tmp_path, files=(1,) * 4, slots=1)
    world.change(('ranges: "1-2"', 'ranges: "1-4"'))
    world.behave("fine")
    for run_number in range(1, 5):
        world.behave(LACKING, f"thin-{run_number}")
    world.reconcile()
    assert [line.split()[0] for line in world.starts].count("thin") == 1
    ((scope, kind, reason),) = list_pauses(world)
    assert (scope, kind) == ("campaign:proc7", "breaker")
    assert reason.startswith("all jobs of thin would fail so: no branch x (b2p-")


def test_one_strange_file_after_good_ones_pauses_nothing(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,) * 4, slots=1)
    world.change(('ranges: "1-2"', 'ranges: "1-4"'))
    world.behave(LACKING, "reco-3")
    assert world.reconcile().produced == 3
    assert list_pauses(world) == []


def test_failures_among_successes_pause_nothing(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,) * 12, slots=4)
    world.change(('ranges: "1-2"', 'ranges: "1-12"'))
    for run_number in range(8, 13):
        world.behave("status 7", f"reco-{run_number}")
    assert world.reconcile().produced == 7
    assert list_pauses(world) == []


def test_max_in_flight_bounds_a_campaign(tmp_path):
    world = World(
        tmp_path, ("max_restate: 10", "max_restate: 10, max_in_flight: 1"), campaign=ONE_STEP, files=(1, 1)
    )
    assert world.reconcile().produced == 1
    assert world.reconcile().produced == 1


def test_cancelled_units_end_and_wait_for_retry(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.behave("hang", "reco-1")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 2)
    assert pull(world, lambda levers: levers.cancel(unit("proc7/reco/3:1"), "wrong run")) == 1
    assert wait_forked(child) == 0
    assert world.processes() == []
    assert world.attempts() == {"verified": 1, "cancelled": 1}
    assert world.summary() == {"done": 1, "quarantined": 1}
    world.reconcile()
    assert len(world.starts) == 2
    world.behave("fine", "reco-1")
    assert world.retry() == 1
    assert world.reconcile().produced == 1
    assert [row[:2] for row in world.rows(decisions, "verb", "reason")] == [
        ("cancel", "wrong run"),
        ("retry", "mended"),
    ]


def test_quarantined_by_hand_is_not_tried(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.behave("status 7", "reco-1")
    world.reconcile()
    assert pull(world, lambda levers: levers.quarantine(unit("proc7/reco/3:1"), "bad file")) == 1
    world.behave("fine", "reco-1")
    assert world.reconcile().produced == 0
    assert world.summary() == {"done": 1, "quarantined": 1}


def test_units_that_did_not_begin_are_stopped_by_a_person(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    scope = unit("proc7/reco/3:1")
    assert pull(world, lambda levers: levers.quarantine(scope, "bad file")) == 1
    assert pull(world, lambda levers: levers.quarantine(scope, "again")) == 0
    assert world.reconcile().produced == 1
    assert ("quarantined", "reco", "3:1", "bad file") in world.groups()
    world.change(("trigger_mode: all", "trigger_mode: hlt"))  # whatever it would make
    assert ("quarantined", "reco", "3:1", "bad file") in world.groups()
    assert pull(world, lambda levers: levers.release(scope, "mended")) == 1
    assert world.reconcile().produced == 2
    assert world.summary() == {"done": 2}


def test_a_unit_is_stopped_that_the_turn_had_planned_already(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1), slots=1)
    world.behave("hang", "reco-1")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 1)
    assert pull(world, lambda levers: levers.quarantine(unit("proc7/reco/3:2"), "bad file")) == 1
    (tmp_path / "go").touch()
    assert wait_forked(child) == 0
    assert len(world.starts) == 1
    assert world.summary() == {"done": 1, "quarantined": 1}


def test_so_many_units_as_nobody_means_are_not_stopped_one_by_one(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    with pytest.raises(GuardRefused, match="b2prod pause campaign:proc7"):
        pull(world, lambda levers: levers.quarantine(unit("proc7/reco/3:1-20000"), "x"))


def test_what_is_accepted_is_not_stopped_any_more(tmp_path):
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 1"), campaign=ONE_STEP)
    world.behave("status 7", "reco-1")
    world.behave("status 7", "reco-2")
    world.reconcile()
    key = next(line.split()[1] for line in world.starts if "e3r1-" in line)
    world.behave("status 7", f"reco-{key}")
    world.behave("fine", "reco-1")
    world.retry()
    pull(world, lambda levers: levers.quarantine(unit("proc7/reco/3:2"), "bad run"))
    world.reconcile()
    scope = unit("proc7/reco/3:1")
    pull(world, lambda levers: levers.quarantine(scope, "bad file"))
    assert pull(world, lambda levers: levers.accept_incomplete(scope, "file is broken on tape")) == 1
    world.reconcile()
    assert world.summary() == {"done": 1, "quarantined": 1}
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert {(action, runs) for action, _, runs, _ in world.groups()} == {
        ("restate", "3:1"),
        ("quarantined", "3:2"),
    }


@pytest.mark.parametrize("lever", ["quarantine", "cancel"])
def test_what_is_being_published_is_made_and_not_stopped(tmp_path, monkeypatch, lever):
    """Whoever was killed between the final place and the record left a file there, which nothing would name any more."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))

    def die(self, intent):
        os._exit(0)

    monkeypatch.setattr(Ledger, "record_produced", die)
    assert run_forked(world.reconcile) == 0
    monkeypatch.undo()
    (published,) = world.published()
    number = next(run for run in (1, 2) if f".{run}." in published or f"r0000{run}" in published)
    pull(world, lambda levers: getattr(levers, lever)(unit(f"proc7/reco/3:{number}"), "looks odd"))
    world.retry()
    world.reconcile()
    assert len(world.published()) == 2
    assert world.summary() == {"done": 2}


def test_b28_an_incomplete_unit_is_accepted_as_it_is(tmp_path):
    """One of two files cannot be processed: the other's output is published, and the unit is done."""
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 2"), campaign=ONE_STEP)
    world.behave("status 7", "reco-1")
    world.reconcile()
    key = next(line.split()[1] for line in world.starts if "e3r1-" in line)
    world.behave("status 7", f"reco-{key}")
    world.behave("fine", "reco-1")
    world.reconcile()
    assert world.summary() == {"done": 1, "quarantined": 1}
    scope = unit("proc7/reco/3:1")
    assert pull(world, lambda levers: levers.accept_incomplete(scope, "file is broken on tape")) == 1
    world.reconcile()
    assert world.summary() == {"done": 2}
    assert len(world.published()) == 2
    with pytest.raises(GuardRefused, match="nothing of"):
        pull(world, lambda levers: levers.accept_incomplete(scope, "again"))


def test_b28_what_runs_is_neither_absent_nor_adopted(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,))
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.behave("hang")
    kill_when(world.reconcile, lambda: len(world.starts) == 1)
    scope = Scope("proc7", "proc7")
    assert pull(world, lambda levers: levers.list_doubtful(scope)) == []
    with pytest.raises(GuardRefused, match="0 attempts"):
        pull(world, lambda levers: levers.adopt(scope, "4711", "seen in the queue"))
    for process in world.processes():
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("removed", ["campaign", "step"])
def test_what_was_taken_out_of_git_can_still_be_ended_settled_and_retried(tmp_path, capsys, removed):
    world = World(tmp_path, ("max_units: 100", "max_attempts: 1, max_units: 100"), campaign=ONE_STEP)
    world.behave("status 7", "reco-1")
    world.reconcile()
    capsys.readouterr()
    if removed == "step":
        world.change(("  reco:\n", "  reco2:\n"))
    else:
        campaigns = world.root / "productions/campaigns"
        (campaigns / "proc7").rename(campaigns / "proc8")
        world.lock()
    server = ["--database", world.state.server] if world.state.server else []
    base = ["--root", str(tmp_path), "--state", str(world.state.folder), *server]
    gone = "proc7" if removed == "campaign" else "proc7/reco"
    for arguments, says in (
        (["cancel", "proc7/reco"], "nothing of this is under way"),
        (["settle", "proc7/reco", "--absent"], "0 attempts declared absent"),
        (["retry", "proc7/reco/3:1"], "1 unit will be tried again"),
    ):
        assert run([*base, *arguments, "--reason", "x"]) == Exit.FINE
        told = "".join(capsys.readouterr())
        assert f"{gone} is not declared any more" in told
        assert says in told
    assert run([*base, "cancel", "proc7/recco", "--reason", "x"]) == Exit.USAGE
    assert "has no step recco" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pause", "proc7", "--reason", "x"], "campaign:NAME"),
        (["pause", "campaign:proc9", "--reason", "x"], "nothing that can be paused"),
        (["settle", "proc7/reco/3:1", "--reason", "x"], "one of --adopt"),
        (["cancel", "proc9", "--reason", "x"], "there is no campaign proc9"),
        (["cancel", "proc7/recco", "--reason", "x"], "has no step recco"),
        (["cancel", "proc7/reco/3-1", "--reason", "x"], "3-1"),
    ],
)
def test_wrong_use_is_told(tmp_path, capsys, arguments, says):
    world = World(tmp_path, campaign=ONE_STEP)
    state = ["--root", str(tmp_path), "--state", str(world.state.folder)]
    server = ["--database", world.state.server] if world.state.server else []
    assert run([*state, *server, *arguments]) == Exit.USAGE
    assert says in capsys.readouterr().err


def test_the_verbs_say_what_they_did(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    server = ["--database", world.state.server] if world.state.server else []
    base = ["--root", str(tmp_path), "--state", str(world.state.folder), *server]
    for arguments, says in (
        (["pause", "all", "--reason", "a storm"], "all is paused"),
        (["resume", "all", "--reason", "it went by"], "all goes on"),
        (["retry", "proc7", "--reason", "x"], "nothing was changed"),
        (["quarantine", "proc7/reco", "--reason", "x"], "nothing was changed"),
    ):
        assert run([*base, *arguments]) == Exit.FINE
        assert says in capsys.readouterr().err
