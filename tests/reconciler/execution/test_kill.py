"""The real command line, killed and interrupted at moments that nobody chose."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest

from ci.cli.exits import Exit
from tests.support.worlds.command_world import RealWorld, check_whole
from tests.support.worlds.processes import wait_until


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_i11_killed_at_random_and_run_again(tmp_path, seed):
    choose = random.Random(seed)
    world = RealWorld(tmp_path, slots=2)
    world.behave("slow 0.15")
    assert world.call("plan", "-o", str(tmp_path / "plan.json")) == Exit.FINE
    for command in (("apply", str(tmp_path / "plan.json")), ("reconcile", "--once")):
        process = world.start(*command)
        time.sleep(choose.uniform(0.8, 2.2))
        process.kill()
        process.wait()
    assert world.call("reconcile", "--once") == Exit.FINE
    check_whole(world)
    jobs = [line.split()[1] for line in world.starts]
    assert len(jobs) - world.attempts()["lost"] <= 6, "a job was started although its attempt lived"


@pytest.mark.slow
def test_b18_what_still_runs_is_adopted_and_not_started_again(tmp_path):
    world = RealWorld(tmp_path, slots=6)
    world.behave("hang")
    process = world.start("reconcile", "--once")
    wait_until(lambda: len(world.starts) == 6)
    process.kill()
    process.wait()
    assert len(world.processes()) > 0, "the jobs outlive the one who started them"
    again = world.start("reconcile", "--once")
    time.sleep(1.5)
    assert again.poll() is None, "it waits for what runs"
    (tmp_path / "go").touch()
    assert again.wait(timeout=60) == Exit.FINE
    check_whole(world)
    assert len(world.starts) == 6
    assert world.attempts() == {"verified": 6}


@pytest.mark.slow
def test_an_interrupt_ends_the_jobs_and_leaves_a_consistent_ledger(tmp_path):
    world = RealWorld(tmp_path, slots=2)
    world.change(("max_restate: 10", "max_restate: 10, max_attempts: 1"))
    world.behave("hang")
    process = world.start("reconcile", "--once")
    wait_until(lambda: len(world.starts) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == Exit.INTERRUPTED
    assert world.processes() == []
    assert world.attempts().keys() == {"cancelled"}, "what we ended ourselves is not a failure of the job"
    world.behave("fine")
    assert world.call("reconcile", "--once") == Exit.FINE
    assert world.summary() == {"done": 3}


@pytest.mark.slow
def test_b14_the_second_of_two_applies_is_refused(tmp_path):
    world = RealWorld(tmp_path, slots=6)
    world.behave("hang")
    first = world.start("reconcile", "--once")
    wait_until(lambda: len(world.starts) == 6)
    assert world.call("reconcile", "--once") == Exit.REFUSED
    (tmp_path / "go").touch()
    assert first.wait(timeout=60) == Exit.FINE
    assert len(world.starts) == 6


@pytest.mark.slow
def test_s32_a_secret_of_the_environment_does_not_reach_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("B2PROD_TEST_SECRET", "canary")
    world = RealWorld(tmp_path, slots=6)
    world.behave("environment")
    assert world.call("reconcile", "--once") == Exit.FINE
    seen = json.loads((tmp_path / "environment").read_text())
    assert "PATH" in seen
    assert "canary" not in seen.values()
    given = {"PATH", "HOME", "LANG", "TMPDIR", "LC_CTYPE", "BELLE2_CONDB_METADATA"}
    assert set(seen) <= given, os.environ.keys()
