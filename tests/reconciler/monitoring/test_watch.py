"""`reconcile --watch`: turn after turn, whatever happens in one of them."""

from __future__ import annotations

import signal

import pytest

from reconciler.ledger.writing.lease import holding
from tests.support.worlds.command_world import RealWorld
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import pull

ENDED = 128 + signal.SIGTERM

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path):
    made = RealWorld(tmp_path, slots=2)
    made.watchers = []
    made.change(('ranges: "1-3"', 'ranges: "1-2"'))
    yield made
    for process in made.watchers:
        process.kill()
        process.wait()


def watch(world, *arguments):
    process = world.start("reconcile", "--watch", "--interval", "0.2", *arguments)
    world.watchers.append(process)
    return process


def read_log(world):
    return (world.root / "log").read_text()


def end(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


def test_new_declarations_launch_by_themselves_until_it_is_told_to_end(world):
    process = watch(world)
    wait_until(lambda: world.summary() == {"done": 2}, 60)
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    wait_until(lambda: world.summary() == {"done": 3}, 60)
    assert end(process) == ENDED
    assert "told to end; no job is under way" in read_log(world)


def test_a_campaign_with_a_slip_is_left_out_and_said_once_and_the_jobs_are_followed(world):
    world.behave("hang")
    process = watch(world)
    wait_until(lambda: len(world.starts) == 2, 60)
    world.change(("title: A campaign of a test", "title: Another\nrelese: x"), lock=False)
    wait_until(lambda: "is left out" in read_log(world), 60)
    (world.root / "go").touch()
    wait_until(lambda: world.attempts()["verified"] >= 2, 60)
    assert end(process) == ENDED
    assert read_log(world).count("is left out") == 1


def test_jobs_outlive_it_and_the_next_one_takes_them_up(world):
    world.behave("hang")
    process = watch(world)
    wait_until(lambda: len(world.starts) == 2, 60)
    assert end(process) == ENDED
    assert "told to end; 2 jobs under way (2 at local), which the next reconcile takes up" in read_log(world)
    assert len(world.processes()) > 0
    again = watch(world)
    (world.root / "go").touch()
    wait_until(lambda: world.summary() == {"done": 2}, 60)
    assert end(again) == ENDED
    assert len(world.starts) == 4
    assert world.attempts() == {"verified": 4}


def test_it_stands_by_while_another_has_the_lease(world):
    with holding(world.state):
        process = watch(world)
        wait_until(lambda: "another apply is at work" in read_log(world), 60)
        assert not world.starts
    wait_until(lambda: world.summary() == {"done": 2}, 60)
    assert end(process) == ENDED


def test_a_pause_is_heard_between_turns(world):
    pull(world, lambda levers: levers.pause("all", "stop"))
    process = watch(world)
    pull(world, lambda levers: levers.resume("all", "go"))
    wait_until(lambda: world.summary() == {"done": 2}, 60)
    assert end(process) == ENDED
