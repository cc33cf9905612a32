"""The reconciler with the real services of DiracX: killed once at each kind of step that it takes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.engines.diracx.engine import DiracxEngine
from tests.contract.diracx import DiracxRig, playing
from tests.support.worlds.processes import run_forked, wait_until
from tests.support.worlds.reconciler_kills import KILLED, die_at, list_steps
from tests.support.worlds.worlds import ONE_STEP, World

STEPS = list_steps(DiracxEngine) | {"what a job left is brought": (DiracxEngine, "fetch")}


@pytest.fixture
def rig(request, tmp_path, monkeypatch):
    monkeypatch.setattr(DiracxEngine, "visibility", timedelta(seconds=1))
    with DiracxRig.serving(request, tmp_path, monkeypatch) as rig:
        yield rig


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_i11_killed_at_a_step_and_run_again_nothing_is_made_twice(rig, diracx_worker, tmp_path, step):
    with playing(rig, diracx_worker, World(tmp_path / "world", campaign=ONE_STEP, files=(1, 1))) as world:

        def doomed():
            die_at(*STEPS[step], after=True)
            while True:
                world.reconcile()

        assert run_forked(doomed) == KILLED
        wait_until(lambda: world.reconcile() and world.summary() == {"done": 2}, 120)
        started = [line.split()[2] for line in world.starts]
        assert len(started) == len(set(started)) == 2, "each job ran once"
        assert len(world.published()) == len(world.produced()) == 2
        states = world.attempts()
        assert states["verified"] == 2
        assert states.keys() <= {"verified", "lost"}
