"""Signals end a command at whatever moment: in bounded time, with a line, without a traceback, and the ledger goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from tests.support.worlds.command_world import (
    ENTRY,
    STARTED,
    SignalledWorld,
    check_whole,
    read_log,
)
from tests.support.worlds.processes import wait_until

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
BOUND = 30
"""Seconds for the end of a process on a busy machine."""


@pytest.fixture(autouse=True)
def nothing_left():
    """What did not end, as it should have, does not run beside the other tests."""
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()


@pytest.fixture
def world(tmp_path):
    return SignalledWorld(tmp_path, slots=2)


def wait_for_ear(process):
    """Until a process takes SIGTERM itself: before, it is Python's own start that ends, as any program's would."""

    def listens():
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught & 1 << (signal.SIGTERM - 1))

    wait_until(listens)


def check_end(world, process, number, said):
    assert process.wait(timeout=BOUND) == 128 + number
    log = read_log(world)
    assert "Traceback" not in log
    assert f"b2prod: ended by {number.name}; " in log
    assert said in log


@pytest.mark.parametrize("number", ENDING)
def test_who_is_told_to_end_while_it_loads_begins_nothing(world, number):
    process = world.start("reconcile", "--once")
    wait_for_ear(process)
    process.send_signal(number)
    check_end(world, process, number, "nothing was begun")
    assert not world.starts


@pytest.mark.slow
@pytest.mark.parametrize("watch", [False, True], ids=["once", "watch"])
@pytest.mark.parametrize("seed", range(6))
def test_at_whatever_moment_it_ends_in_time_and_another_turn_goes_on(tmp_path, seed, watch):
    choose = random.Random(f"{seed} {watch}")
    world = SignalledWorld(tmp_path, slots=2)
    world.behave("slow 0.15")
    command = ("reconcile", "--watch", "--interval", "0.2") if watch else ("reconcile", "--once")
    for _ in range(3):
        (tmp_path / "log").unlink(missing_ok=True)
        process = world.start(*command)
        wait_for_ear(process)
        number = choose.choice(ENDING)
        time.sleep(choose.choice([choose.uniform(0.0, 0.4), choose.uniform(0.4, 3.0)]))
        if process.poll() is not None:
            break  # it had done already
        process.send_signal(number)
        if twice := choose.random() < 0.5:
            time.sleep(choose.uniform(0.0, 0.3))
            process.send_signal(number)
        code = process.wait(timeout=BOUND)
        log = read_log(world)
        assert "Traceback" not in log, log
        if code != Exit.FINE:  # a command that had done when it was told ends as it would have
            assert code == 128 + number, (twice, log)
            assert f"ended by {number.name}" in log
    world.behave("fine")
    (tmp_path / "log").unlink(missing_ok=True)
    assert world.call("retry", "proc7", "--reason", "told to end") == Exit.FINE
    assert world.call("reconcile", "--once") == Exit.FINE, read_log(world)
    assert world.summary() == {"done": 3}
    assert len(world.published()) == 6


@pytest.mark.slow
def test_a_second_ctrl_c_ends_it_at_once_and_what_runs_is_taken_up(world):
    world.behave("deaf 20")
    process = world.start("reconcile", "--once")
    wait_until(lambda: len(world.starts) == 2, 60)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "it waits for the jobs that it ended"
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    check_end(world, process, signal.SIGINT, "jobs that were submitted run on")
    assert time.monotonic() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_jobs_of_this_machine_outlive_the_end_of_a_service_and_are_told(world, number):
    world.behave("hang")
    process = world.start("reconcile", "--once")
    wait_until(lambda: len(world.starts) == 2, 60)
    process.send_signal(number)
    check_end(
        world,
        process,
        number,
        "told to end; 2 jobs under way (2 at local), which the next reconcile takes up",
    )
    assert len(world.processes()) > 0
    (world.root / "go").touch()
    assert world.call("reconcile", "--once") == Exit.FINE
    check_whole(world)


@pytest.mark.slow
def test_what_is_to_be_ignored_stays_ignored(world):
    """As under `nohup`, whose terminal is closed."""
    world.behave("hang")
    with (world.root / "log").open("ab") as log:
        process = subprocess.Popen(
            ["nohup", *ENTRY, "--root", str(world.root), "reconcile", "--once"], stdout=log, stderr=log
        )
    wait_until(lambda: len(world.starts) == 2, 60)
    process.send_signal(signal.SIGHUP)
    (world.root / "go").touch()
    assert process.wait(timeout=60) == Exit.FINE
    check_whole(world)


@pytest.mark.parametrize(
    "arguments",
    [("runs",), ("plan", "--format", "json"), ("status",), ("check", "--help"), ("explain", "proc7")],
    ids=lambda words: words[0],
)
def test_a_reader_who_has_enough_ends_it_quietly(world, arguments):
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*ENTRY, "--root", str(world.root), *arguments], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    os.close(reading)  # before a word is said
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said, "Exception ignored" in said) == (
        Exit.FINE,
        False,
        False,
    ), said


@pytest.mark.slow
def test_nobody_who_listens_is_no_reason_to_stop_half_way(world):
    """As in `b2prod reconcile --once 2>&1 | head -1`."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*ENTRY, "--root", str(world.root), "reconcile", "--once"], stdout=writing, stderr=writing
    )
    os.close(writing)
    os.close(reading)
    assert process.wait(timeout=60) == Exit.FINE
    check_whole(world)
