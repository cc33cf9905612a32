"""Processes of this machine as an engine: what holds for no other (the rest is in the contract of all engines)."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from reconciler.engine import Accepted, Batch, Refused, Sighting, Ticket
from reconciler.engines.local import LocalEngine
from schemas.site import Site
from tests.test_job_runtime import job
from tests.worlds import find_processes, wait_until

SITE = Site("here", "local", "data", slots=3)
OUTPUT = "open('out.root', 'w').write('x')"
PATIENT = f"import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n{OUTPUT}"


@pytest.fixture
def make_engine():
    return lambda: LocalEngine(SITE)


@pytest.fixture
def ticket(tmp_path):
    """Makes attempts whose job is some Python, each in its folder."""

    def make(name, code=OUTPUT):
        folder = tmp_path / "attempts" / name
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job(tmp_path, ["@python", "-c", code])))
        return Ticket(name, f"nonce of {name}", folder, "batch", 0, "2019-02-07T12:00:00Z")

    return make


def submit(engine, tickets):
    return engine.submit(Batch("batch", tickets[0].folder.parent, tuple(tickets)))


def look(engine, *tickets):
    return [engine.query(tickets)[one.name].sighting for one in tickets]


def wait_for_end(engine, tickets):
    wait_until(lambda: set(look(engine, *tickets)) == {Sighting.ENDED})


def test_an_attempt_that_is_running_is_not_started_again(make_engine, ticket):
    first, second, one = make_engine(), make_engine(), ticket("a1", PATIENT)
    submit(first, [one])
    wait_until((one.folder / "started").exists)
    submit(second, [one])
    (one.folder / "go").touch()
    wait_for_end(first, [one])
    wait_for_end(second, [one])
    assert (one.folder / "started").read_text().count("nonce of a1") == 1
    assert json.loads((one.folder / "result.json").read_text())["failure"] is None


def test_a_job_without_its_folder_is_refused_and_the_others_are_taken(make_engine, ticket):
    engine, lost, other = make_engine(), ticket("a1"), ticket("a2")
    shutil.rmtree(lost.folder)
    refused, accepted = submit(engine, [lost, other])
    assert isinstance(refused, Refused)
    assert isinstance(accepted, Accepted)
    wait_for_end(engine, [other])


def test_the_application_alone_keeps_the_attempt_alive(make_engine, ticket):
    """Whoever dies first: as long as somebody may still write into the folder, the attempt runs."""
    engine, one = make_engine(), ticket("a1", PATIENT)
    submit(engine, [one])
    wait_until(lambda: len(find_processes(one.folder)) == 2)
    runtime = int((one.folder / "started").read_text().split()[-1])
    os.kill(runtime, 9)
    assert look(engine, one) == [Sighting.RUNNING]
    (one.folder / "go").touch()
    wait_for_end(engine, [one])
    assert not (one.folder / "result.json").exists()


def test_nothing_is_left_behind(make_engine, ticket):
    engine = make_engine()
    tickets = [ticket(f"a{number}") for number in range(3)]
    references = [int(answer.reference) for answer in submit(engine, tickets)]
    wait_for_end(engine, tickets)
    for reference in references:
        assert not os.path.exists(f"/proc/{reference}"), "a zombie"


def test_slots_are_the_processors_unless_the_site_says_otherwise():
    assert LocalEngine(SITE).slots == 3
    assert LocalEngine(Site("here", "local", "data")).slots == os.cpu_count()
    assert sys.platform == "linux"
