"""A failure is not a new plan: a unit that nothing helps rests, whatever is planned in between, and its attempts are bounded."""

from __future__ import annotations

import pytest

from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.sites import site_engines
from reconciler.model.engine import Uncertain
from tests.support.worlds.worlds import ONE_STEP, World

pytestmark = pytest.mark.usefixtures("database")

ALL, HLT = "trigger_mode: all", "trigger_mode: hlt"
BOUND = ("max_restate: 10", "max_restate: 10, max_attempts: 2")


def flip(world, number):
    world.change((ALL, HLT) if number % 2 == 0 else (HLT, ALL))


def count_starts(world):
    return sum("e3r1-" in start for start in world.starts)


@pytest.mark.parametrize("failure", ["input", "permanent"])
def test_what_failed_for_good_rests_also_after_something_else_was_declared_in_between(tmp_path, failure):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.behave(f'report {{"failure": {{"class": "{failure}", "message": "no branch x"}}}}', "reco-1")
    for turn in range(6):
        world.reconcile()
        flip(world, turn)
    assert count_starts(world) == 2
    assert ("quarantined", "reco", "3:1", "no branch x") in world.groups()
    assert world.retry() == 2
    world.behave("fine", "reco-1")
    world.reconcile()
    flip(world, 0)
    world.reconcile()
    assert world.state_view().plan.is_empty
    assert count_starts(world) == 4


def test_the_failures_of_a_unit_are_counted_over_all_plans_until_a_person_lets_it_be_tried_again(tmp_path):
    world = World(tmp_path, BOUND, campaign=ONE_STEP, files=(1, 1))
    world.behave("status 7", "reco-1")
    for turn in range(10):
        world.reconcile()
        flip(world, turn)
    assert count_starts(world) == 4  # two for each of what was declared
    assert world.summary()["quarantined"] == 1
    world.retry()
    world.reconcile()
    assert count_starts(world) == 5


def test_a_job_that_is_never_begun_comes_to_an_end(tmp_path, monkeypatch):
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 1"), campaign=ONE_STEP)
    monkeypatch.setattr(site_engines, "SHORTEST", 0.0)
    monkeypatch.setattr(
        LocalEngine, "submit", lambda self, batch: [Uncertain("timed out") for _ in batch.handles]
    )
    for _ in range(20):
        world.reconcile()
    assert not world.starts
    assert world.attempts() == {"lost": 15}  # five of each of three jobs
    assert world.summary() == {"quarantined": 2}
    assert "5 attempts came to nothing" in world.quarantined()[0][2]
