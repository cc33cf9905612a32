"""Processes of this machine as an engine: what holds for no other (the rest is in the contract of all engines)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.apply import reconcile
from reconciler.execution.turn_options import TurnOptions
from reconciler.model.engine import Accepted, Batch, JobHandle, Refused, Sighting
from schemas.policy.site import Site
from tests.support.inputs.runtime_jobs import job
from tests.support.worlds.processes import find_processes, run_forked, wait_until
from tests.support.worlds.worlds import ONE_STEP, QUIET, World

SITE = Site("here", "local", "data", slots=3)
OUTPUT = "open('out.root', 'w').write('x')"
PATIENT = f"import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n{OUTPUT}"


@pytest.fixture
def make_engine():
    return lambda: LocalEngine(SITE)


@pytest.fixture
def handle(tmp_path):
    """Makes attempts whose job is some Python, each in its folder."""

    def make(name, code=OUTPUT):
        folder = tmp_path / "attempts" / name
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job(tmp_path, ["@python", "-c", code])))
        return JobHandle(name, f"nonce of {name}", folder, "batch", 0, "2019-02-07T12:00:00Z")

    return make


def submit(engine, handles):
    return engine.submit(Batch("batch", handles[0].folder.parent, tuple(handles)))


def look(engine, *handles):
    return [engine.query(handles)[one.name].sighting for one in handles]


def wait_for_end(engine, handles):
    wait_until(lambda: set(look(engine, *handles)) == {Sighting.ENDED})


def test_an_attempt_that_is_running_is_not_started_again(make_engine, handle):
    first, second, one = make_engine(), make_engine(), handle("a1", PATIENT)
    submit(first, [one])
    wait_until((one.folder / "started").exists)
    submit(second, [one])
    (one.folder / "go").touch()
    wait_for_end(first, [one])
    wait_for_end(second, [one])
    assert (one.folder / "started").read_text().count("nonce of a1") == 1
    assert json.loads((one.folder / "result.json").read_text())["failure"] is None


def test_a_job_without_its_folder_is_refused_and_the_others_are_taken(make_engine, handle):
    engine, lost, other = make_engine(), handle("a1"), handle("a2")
    shutil.rmtree(lost.folder)
    refused, accepted = submit(engine, [lost, other])
    assert isinstance(refused, Refused)
    assert isinstance(accepted, Accepted)
    wait_for_end(engine, [other])


def test_the_application_alone_keeps_the_attempt_alive(make_engine, handle):
    """Whoever dies first: as long as somebody may still write into the folder, the attempt runs."""
    engine, one = make_engine(), handle("a1", PATIENT)
    submit(engine, [one])
    wait_until(lambda: len(find_processes(one.folder)) == 2)
    runtime = int((one.folder / "started").read_text().split()[-1])
    os.kill(runtime, 9)
    assert look(engine, one) == [Sighting.RUNNING]
    (one.folder / "go").touch()
    wait_for_end(engine, [one])
    assert not (one.folder / "result.json").exists()


def test_nothing_is_left_behind(make_engine, handle):
    engine = make_engine()
    handles = [handle(f"a{number}") for number in range(3)]
    references = [int(answer.reference) for answer in submit(engine, handles)]
    wait_for_end(engine, handles)
    for reference in references:
        assert not os.path.exists(f"/proc/{reference}"), "a zombie"


def test_slots_are_the_processors_unless_the_site_says_otherwise():
    assert LocalEngine(SITE).slots == 3
    assert LocalEngine(Site("here", "local", "data")).slots == os.cpu_count()
    assert sys.platform == "linux"


@pytest.fixture
def start():
    """Starts jobs that wait for the file `go`, past their first instruction: their handles as the ledger has them then."""
    groups = []

    def begin(engine, one):
        (answer,) = submit(engine, [one])
        groups.append(int(answer.reference))
        wait_until(lambda: len(find_processes(one.folder)) == 2)
        return dataclasses.replace(one, reference=answer.reference)

    send = os.killpg
    yield begin
    for group in groups:  # of a test that failed
        with contextlib.suppress(ProcessLookupError):
            send(group, signal.SIGKILL)


@pytest.fixture
def stranger(tmp_path):
    """A process that is nobody's job."""
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path, start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def signals(monkeypatch):
    """The process groups that were sent a signal; of which only jobs really get it."""
    sent, send = [], os.killpg

    def killpg(group, number):
        sent.append(group)
        if group > 1 and group != os.getpgrp():
            send(group, number)

    monkeypatch.setattr(os, "killpg", killpg)
    return sent


@pytest.mark.parametrize("known", [True, False], ids=["by its reference", "by its mark"])
@pytest.mark.parametrize("mark", ["0", "1", "-1", "ours", "another's", "9" * 5000, "\udcff\udcfe", "²"])
def test_a_mark_decides_of_nobody_elses_process(make_engine, handle, start, stranger, signals, mark, known):
    engine, one = make_engine(), handle("a1", PATIENT)
    one = start(engine, one)
    number = {"ours": f"{os.getpgrp()}", "another's": f"{stranger.pid}"}.get(mark, mark)
    marker = one.folder / "started"
    marker.write_bytes(f"nonce {number}".encode("utf-8", "surrogateescape"))
    engine.cancel([one if known else dataclasses.replace(one, reference=None)])
    assert signals == ([int(one.reference)] if known else [])
    assert stranger.poll() is None
    (one.folder / "go").touch()
    wait_until(lambda: look(engine, one) != [Sighting.RUNNING])


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_mark_that_is_no_file_is_no_process(make_engine, handle, make):
    engine, one = make_engine(), handle("a1")
    make(one.folder / "started")
    submit(engine, [one])
    wait_until(lambda: look(engine, one) == [Sighting.ABSENT])


@pytest.mark.parametrize("again", [False, True], ids=["the same", "another"])
def test_a_job_whose_folder_was_removed_runs_on_and_is_cancelled(make_engine, handle, start, again):
    first, one = make_engine(), handle("a1", PATIENT)
    engine = make_engine() if again else first
    one = start(first, one)
    shutil.rmtree(one.folder)
    assert look(engine, one) == [Sighting.RUNNING]
    one.folder.mkdir()  # as whoever buries an attempt does
    assert look(engine, one) == [Sighting.RUNNING]
    engine.cancel([one])
    wait_until(lambda: look(first, one) == [Sighting.ABSENT])
    assert look(engine, one) == [Sighting.ABSENT]


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_a_job_that_takes_its_lock_away_is_seen_all_the_same(make_engine, handle, start, make):
    engine, one = make_engine(), handle("a1", PATIENT)
    one = start(engine, one)
    (one.folder / "lock").unlink()
    make(one.folder / "lock")
    assert look(engine, one) == look(make_engine(), one) == [Sighting.RUNNING]
    (one.folder / "go").touch()
    wait_for_end(engine, [one])


def test_a_number_that_was_given_again_is_not_the_job(make_engine, handle, stranger):
    one = dataclasses.replace(handle("a1"), reference=str(stranger.pid))
    assert look(make_engine(), one) == [Sighting.ABSENT]


@pytest.mark.slow
def test_a_job_whose_attempt_was_removed_is_not_started_once_more(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,))
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.behave("hang", "reco-1")
    turn_options = TurnOptions(bound=0.05)

    def turn():
        return reconcile(world.state, world.repository(), world.names, QUIET, turn_options)

    assert run_forked(turn) == 0
    wait_until(lambda: len(world.starts) == 1)
    shutil.rmtree(world.state.attempts)
    for _ in range(3):
        assert turn().live == 1
    assert len(world.starts) == 1
    (tmp_path / "go").touch()
    wait_until(lambda: not world.processes())
    world.reconcile()
    world.reconcile()
    assert world.summary() == {"done": 1}
    assert len(world.starts) == 2
