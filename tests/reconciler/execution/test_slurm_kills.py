"""The reconciler with a real Slurm: killed once at each kind of step that it takes, and in doubt."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta

import pytest

from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.ledger.schema import tables
from reconciler.model.engine import Uncertain
from tests.contract import doubles
from tests.support.services.slurm_cluster import Room
from tests.support.worlds.processes import run_forked, wait_until
from tests.support.worlds.reconciler_kills import KILLED, die_at, list_steps
from tests.support.worlds.slurm_campaign import SlurmWorld

UNITS = 3
STEPS = list_steps(SlurmEngine)


@pytest.fixture
def world(tmp_path, database, slurm, shared_tmp, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    monkeypatch.setattr(
        SlurmEngine, "visibility", timedelta(seconds=3)
    )  # squeue knows at once; a minute is for sites
    with Room(shared_tmp).entered():
        yield SlurmWorld(tmp_path, UNITS, width=10)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_i11_killed_at_a_step_and_run_again_nothing_is_made_twice(world, slurm, step, after):
    def doomed():
        die_at(*STEPS[step], after=after)
        while True:
            world.reconcile()

    assert run_forked(doomed) == KILLED

    def done():
        world.reconcile()
        return world.summary() == {"done": UNITS}

    wait_until(done, 90)
    started = [line.split()[2] for line in world.starts]
    assert len(started) == len(set(started)) == UNITS, "each job ran once"
    assert len(world.published()) == len(world.produced()) == UNITS
    states = world.attempts()
    assert states["verified"] == UNITS
    assert states.keys() <= {"verified", "lost"}
    with_name = [
        name
        for name in slurm.run("squeue", "-h", "-r", "-t", "all", "-o", "%j").split()
        if name in batches(world)
    ]
    assert len(with_name) == UNITS, "what Slurm was given is what the ledger knows"


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_b28_an_uncertain_attempt_does_not_keep_the_others_from_being_followed(
    tmp_path, database, slurm, shared_tmp, monkeypatch
):
    submit, batches_taken = SlurmEngine.submit, []

    def submit_all_but_the_first_without_an_answer(engine, batch):
        answers = submit(engine, batch)
        batches_taken.append(batch.name)
        return answers if len(batches_taken) == 1 else [Uncertain("no answer")] * len(answers)

    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    monkeypatch.setattr(SlurmEngine, "submit", submit_all_but_the_first_without_an_answer)
    doubles.install(tmp_path / "bin", {"sacct": str(shutil.which("sacct"))})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with Room(shared_tmp).entered():
        world = SlurmWorld(tmp_path / "world", 2, width=1)
        doubles.set_faults(tmp_path / "bin", {"sacct": "fail sacct: error: Connection refused"})
        # the other one may have left its result as well, which counts while nobody tells of it
        wait_until(lambda: world.reconcile() and world.attempts()["verified"] >= 1, 60)
        doubles.set_faults(tmp_path / "bin", {})
        wait_until(lambda: world.reconcile() and world.attempts() == {"verified": 2}, 60)
    assert len(world.starts) == 2


def batches(world):

    return {name for (name,) in world.rows(tables.batches, "name")}
