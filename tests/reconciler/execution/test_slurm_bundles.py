"""Bundles through the real Slurm: what ends well counts, what does not is tried again, and the reconciler may be killed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.execution.tracking import attempt_recorder
from reconciler.ledger.reading.unit_history import explain_unit
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.operator_actions import Scope
from schemas.manifest.runs import run_key
from tests.support.services.slurm_cluster import Room
from tests.support.worlds.processes import run_forked, wait_until
from tests.support.worlds.reconciler_kills import KILLED, die_at, list_steps
from tests.support.worlds.slurm_campaign import SlurmWorld
from tests.support.worlds.worlds import pull

UNITS = 5
STEPS = list_steps(SlurmEngine)
PARAMETERS = "    parameters: {trigger_mode: all}\n"

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path, database, slurm, shared_tmp, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    monkeypatch.setattr(SlurmEngine, "visibility", timedelta(seconds=3))
    monkeypatch.setattr(attempt_recorder, "PAUSE", 0.0)
    with Room(shared_tmp).entered():
        world = SlurmWorld(tmp_path, UNITS, width=10)
        world.change((PARAMETERS, f"{PARAMETERS}    bundle: {{runs: 3}}\n"), lock=False)
        yield world


def finish(world):
    def done():
        world.reconcile()
        return world.summary() == {"done": UNITS}

    wait_until(done, 120)
    assert len(world.published()) == len(world.produced()) == UNITS
    started = [line.split()[2] for line in world.starts]
    assert len(started) == len(set(started)), "an attempt was started twice"


def list_jobs(world):
    """The references of all attempts, in the order of their numbers."""
    return [reference for (reference,) in world.rows(tables.attempts, "reference")]


def list_states(world):
    """Run → the states of its attempts, in their order."""
    intents = dict(world.rows(tables.intents, "id", "run"))
    units = {number: intents[intent] for number, intent in world.rows(tables.jobs, "id", "intent")}
    states = {run: [] for run in range(1, UNITS + 1)}
    for job, state in world.rows(tables.attempts, "job", "state"):
        states[units[job]].append(state)
    return states


def explain(world, run):
    with reading(world.state) as connection:
        (history,) = explain_unit(connection, "proc7", "reco", run_key(3, run))
    return [tried["bundle"] for tried in history["attempts"]]


def test_one_that_fails_is_tried_again_alone_and_the_others_count(world):
    world.behave("first fatal geometry of the run is not there", "reco-2")
    finish(world)
    jobs = list_jobs(world)
    assert jobs[0] == jobs[1] == jobs[2] != jobs[3] == jobs[4], "three and two units share a job"
    assert list_states(world) == {
        1: ["verified"],
        2: ["failed", "verified"],
        3: ["verified"],
        4: ["verified"],
        5: ["verified"],
    }
    assert explain(world, 2) == [{"attempts": 3, "place": 2}, None]
    assert explain(world, 5) == [{"attempts": 2, "place": 2}]


def test_b11_what_a_killed_bundle_had_finished_counts_and_what_had_not_begun_did_not_fail(world):
    world.behave("first killed", "reco-2")
    finish(world)
    assert list_states(world) == {
        1: ["verified"],
        2: ["failed", "verified"],
        3: ["lost", "verified"],
        4: ["verified"],
        5: ["verified"],
    }
    reasons = dict(world.rows(tables.attempts, "state", "reason"))
    assert reasons["lost"].startswith("its bundle ended before it began: ")


def test_a_unit_that_is_cancelled_is_ended_alone(world, tmp_path):
    world.behave("hang", "reco-1")
    world.behave("hang", "reco-2")

    def cancel(run):
        scope = Scope("a unit", "proc7", "reco", frozenset({run_key(3, run)}))
        pull(world, lambda actions: actions.cancel(scope, "not wanted"))

    begun = "-e3r1-"  # the other bundle may begin before it
    wait_until(lambda: world.reconcile() and any(begun in line for line in world.starts), 60)
    wait_until(lambda: world.reconcile() and "running" in list_states(world)[1], 60)
    assert list_states(world)[3] == ["submitted"], "it has not begun, though its job runs"
    cancel(3)
    cancel(1)
    wait_until(lambda: world.reconcile() and list_states(world)[1] == ["cancelled"], 60)
    assert list_states(world)[3] == ["cancelled"]
    wait_until(lambda: any(line.endswith("-a1") for line in world.starts[1:]), 60)
    (tmp_path / "go").touch()
    ended = [["verified"]] * 3
    wait_until(lambda: world.reconcile() and [list_states(world)[run] for run in (2, 4, 5)] == ended, 60)
    assert len({line.split()[2] for line in world.starts}) == len(world.starts) == 4


def test_results_count_while_their_bundle_runs(world, tmp_path):
    world.behave("hang", "reco-3")
    wait_until(lambda: world.reconcile() and list_states(world)[3] == ["running"], 60)
    wait_until(lambda: world.reconcile() and world.attempts()["verified"] == 4, 60)
    assert list_states(world)[3] == ["running"]
    (tmp_path / "go").touch()
    finish(world)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_i11_killed_at_a_step_and_run_again_nothing_is_made_twice(world, slurm, step, after):
    def doomed():
        die_at(*STEPS[step], after=after)
        while True:
            world.reconcile()

    assert run_forked(doomed) == KILLED
    finish(world)
    started = [line.split()[2] for line in world.starts]
    assert len(started) == len(set(started)) == UNITS, "each unit ran once"
    states = world.attempts()
    assert states["verified"] == UNITS
    assert states.keys() <= {"verified", "lost"}
    names = {name for (name,) in world.rows(tables.batches, "name")}
    listed = slurm.run("squeue", "-h", "-r", "-t", "all", "-o", "%j").split()
    known = {reference for (reference,) in world.rows(tables.attempts, "reference") if reference is not None}
    assert len([name for name in listed if name in names]) == len(known), (
        "what Slurm was given is what the ledger knows"
    )
