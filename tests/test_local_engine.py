"""What every engine does: the same behaviours for each entry of `ENGINES_UNDER_TEST`."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from reconciler.engine import Accepted, Refused, Sighting, Submission
from reconciler.engines.local import LocalEngine
from schemas.site import Site
from tests.test_job_runtime import job
from tests.worlds import find_processes, wait_until

SITE = Site("here", "local", "data", slots=3)
ENGINES_UNDER_TEST = {"local": lambda: LocalEngine(SITE)}
OUTPUT = "open('out.root', 'w').write('x')"
PATIENT = f"import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n{OUTPUT}"


@pytest.fixture(params=sorted(ENGINES_UNDER_TEST))
def make_engine(request):
    return ENGINES_UNDER_TEST[request.param]


@pytest.fixture
def submission(tmp_path):
    """Makes attempts whose job is some Python, each in its folder."""

    def make(name, code=OUTPUT):
        folder = tmp_path / "attempts" / name
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job(tmp_path, ["@python", "-c", code])))
        return Submission(name, f"nonce of {name}", folder)

    return make


def wait_for_end(engine, submissions):
    wait_until(lambda: set(engine.query(submissions).values()) == {Sighting.ENDED})


def test_many_are_submitted_and_each_ends_with_its_result(make_engine, submission):
    engine = make_engine()
    submissions = [submission(f"a{number}") for number in range(5)]
    answers = engine.submit(submissions)
    assert all(isinstance(answer, Accepted) and answer.reference for answer in answers)
    assert len({answer.reference for answer in answers}) == 5
    wait_for_end(engine, submissions)
    for one in submissions:
        result = json.loads((one.folder / "result.json").read_text())
        assert (result["attempt"], result["nonce"], result["failure"]) == (one.name, one.nonce, None)


def test_running_is_running_until_it_has_ended(make_engine, submission):
    engine, one = make_engine(), submission("a1", PATIENT)
    engine.submit([one])
    wait_until((one.folder / "started").exists)
    assert engine.query([one]) == {"a1": Sighting.RUNNING}
    (one.folder / "go").touch()
    wait_for_end(engine, [one])
    assert (one.folder / "result.json").exists()


def test_another_process_of_ours_sees_the_same(make_engine, submission):
    first, second, one = make_engine(), make_engine(), submission("a1", PATIENT)
    first.submit([one])
    assert second.query([one]) == {"a1": Sighting.RUNNING}
    (one.folder / "go").touch()
    wait_for_end(second, [one])
    wait_for_end(first, [one])


def test_what_was_never_submitted_has_ended_without_a_result(make_engine, submission):
    one = submission("a1")
    assert make_engine().query([one]) == {"a1": Sighting.ENDED}
    assert not (one.folder / "result.json").exists()


def test_an_attempt_that_is_running_is_not_started_again(make_engine, submission):
    first, second, one = make_engine(), make_engine(), submission("a1", PATIENT)
    first.submit([one])
    wait_until((one.folder / "started").exists)
    second.submit([one])
    (one.folder / "go").touch()
    wait_for_end(first, [one])
    wait_for_end(second, [one])
    assert (one.folder / "started").read_text().count("nonce of a1") == 1
    assert json.loads((one.folder / "result.json").read_text())["failure"] is None


def test_a_job_without_its_folder_is_refused_and_the_others_are_taken(make_engine, submission):
    engine, lost, other = make_engine(), submission("a1"), submission("a2")
    shutil.rmtree(lost.folder)
    refused, accepted = engine.submit([lost, other])
    assert isinstance(refused, Refused)
    assert isinstance(accepted, Accepted)
    wait_for_end(engine, [lost, other])


def test_cancelled_is_asked_for_and_then_seen(make_engine, submission):
    engine, one = make_engine(), submission("a1", PATIENT)
    engine.submit([one])
    wait_until((one.folder / "started").exists)

    def ended():
        engine.cancel([one])
        return engine.query([one]) == {"a1": Sighting.ENDED}

    wait_until(ended)
    wait_until(lambda: find_processes(one.folder) == [])
    assert not (one.folder / "out.root").exists()


def test_the_application_alone_keeps_the_attempt_alive(make_engine, submission):
    """Whoever dies first: as long as somebody may still write into the folder, the attempt runs."""
    engine, one = make_engine(), submission("a1", PATIENT)
    engine.submit([one])
    wait_until(lambda: len(find_processes(one.folder)) == 2)
    runtime = int((one.folder / "started").read_text().split()[-1])
    os.kill(runtime, 9)
    assert engine.query([one]) == {"a1": Sighting.RUNNING}
    (one.folder / "go").touch()
    wait_for_end(engine, [one])
    assert not (one.folder / "result.json").exists()


def test_nothing_is_left_behind(make_engine, submission):
    engine = make_engine()
    submissions = [submission(f"a{number}") for number in range(3)]
    references = [int(answer.reference) for answer in engine.submit(submissions)]
    wait_for_end(engine, submissions)
    for reference in references:
        assert not os.path.exists(f"/proc/{reference}"), "a zombie"


def test_only_the_allowed_environment_reaches_the_job(submission, monkeypatch):
    monkeypatch.setenv("B2PROD_CANARY", "canary")
    monkeypatch.setenv("BELLE2_CONDB_SERVERLIST", "wanted")
    engine = LocalEngine(Site("here", "local", "data", environment=("BELLE2_CONDB_SERVERLIST",)))
    one = submission(
        "a1", f"import json, os; json.dump(dict(os.environ), open('environment', 'w')); {OUTPUT}"
    )
    described = json.loads((one.folder / "job.json").read_text())
    (one.folder / "job.json").write_text(
        json.dumps({**described, "environment": ["BELLE2_CONDB_SERVERLIST"]})
    )
    engine.submit([one])
    wait_for_end(engine, [one])
    seen = json.loads((one.folder / "environment").read_text())
    assert seen["BELLE2_CONDB_SERVERLIST"] == "wanted"
    assert "B2PROD_CANARY" not in seen


def test_slots_are_the_processors_unless_the_site_says_otherwise():
    assert LocalEngine(SITE).slots == 3
    assert LocalEngine(Site("here", "local", "data")).slots == os.cpu_count()
    assert sys.platform == "linux"
