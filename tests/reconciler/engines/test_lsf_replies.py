"""LSF's replies as sites recorded them: what no playing on another system can show."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engines.lsf.engine import SCRIPT, LsfEngine
from reconciler.engines.lsf.replies import find_json, read_submission
from reconciler.model.engine import (
    Accepted,
    Batch,
    EngineUnavailable,
    JobHandle,
    Refused,
    Sighting,
    Uncertain,
)
from reconciler.outside.command import Reply
from schemas.policy.site import BatchSettings, Site

NONE = "No matching job found"
WAITING = "Cannot connect to LSF. Please wait ...\nCannot connect to LSF. Please wait ...\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Makes an engine whose commands answer texts with exit codes, and note how they were called."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("bsub", "bjobs", "bkill", "bhist", "bqueues", "bparams"):
        script = tmp_path / name
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >> {tmp_path}/calls\ncat {tmp_path}/{name}.out 2>/dev/null\n'
            f"exit $(cat {tmp_path}/{name}.status 2>/dev/null || echo 0)\n"
        )
        script.chmod(0o755)

    def make(**replies):
        for name, reply in replies.items():
            text, status = reply if isinstance(reply, tuple) else (reply, 0)
            (tmp_path / f"{name}.out").write_text(text)
            (tmp_path / f"{name}.status").write_text(str(status))
        settings = BatchSettings(minutes=2400, memory=4000, running=50, python="/usr/bin/python3")
        return LsfEngine(Site("kekcc", "lsf", "data", queue="l", batch=settings))

    make.calls = tmp_path / "calls"
    return make


def handle(reference="101[3]", batch="b2-4f1c", index=2):
    return JobHandle("a", "n", Path("/nowhere"), batch, index, "2019-02-07T12:00:00Z", reference)


def record(**values):
    full = {"JOBID": "101", "JOBINDEX": "3", "JOB_NAME": "b2-4f1c[3]", "STAT": "RUN"}
    return {**full, "EXIT_CODE": "", "EXIT_REASON": "", **values}


def answer(*records, before=""):
    return (
        before
        + json.dumps({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": list(records)}, indent=2)
        + "\n"
    )


@pytest.mark.parametrize(
    ("values", "sighting", "failure"),
    [
        ({}, Sighting.RUNNING, None),
        ({"STAT": "PEND"}, Sighting.PENDING, None),
        ({"STAT": "PSUSP"}, Sighting.PENDING, None),
        ({"STAT": "SSUSP"}, Sighting.RUNNING, None),
        ({"STAT": "DONE"}, Sighting.ENDED, None),
        ({"STAT": "EXIT", "EXIT_CODE": "1"}, Sighting.ENDED, None),
        (
            {
                "STAT": "EXIT",
                "EXIT_CODE": "140",
                "EXIT_REASON": "TERM_RUNLIMIT: job killed after reaching LSF run time limit",
            },
            Sighting.ENDED,
            "transient",
        ),
        (
            {
                "STAT": "EXIT",
                "EXIT_CODE": "137",
                "EXIT_REASON": "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit",
            },
            Sighting.ENDED,
            "permanent",
        ),
        ({"STAT": "UNKWN"}, Sighting.UNKNOWN, None),
        ({"STAT": "ZOMBI"}, Sighting.UNKNOWN, None),
        ({"STAT": "of 2031"}, Sighting.UNKNOWN, None),
    ],
)
def test_states(site, values, sighting, failure):
    seen = site(bjobs=(answer(record(**values)), 255)).query([handle()])["a"]
    assert (seen.sighting, seen.failure) == (sighting, failure)


def test_noise_may_precede_the_answer_and_the_exit_code_is_evidence_of_nothing(site):
    engine = site(bjobs=(answer(record(), before=WAITING), 255))
    assert engine.query([handle()])["a"].sighting is Sighting.RUNNING


def test_an_id_that_is_not_found_among_others(site):
    gone = {"JOBID": "102", "ERROR": "Job <102> is not found"}
    engine = site(bjobs=(answer(record(), gone), 255), bhist=(NONE, 255))
    lost = JobHandle("b", "n", Path("/nowhere"), "b2-5a", 0, "2019-02-07T12:00:00Z", "102")
    seen = engine.query([handle(), lost])
    assert [seen[name].sighting for name in "ab"] == [Sighting.RUNNING, Sighting.ABSENT]


def test_a_job_that_was_forgotten_has_ended_where_the_history_has_it(site):
    history = """\
Summary of time in seconds spent in various states:
JOBID   USER    JOB_NAME  PEND    PSUSP   RUN     USUSP   SSUSP   UNKWN   TOTAL
101[3]  b2prod  b2-4f1c[3] 3      0       15      0       0       0       18
"""
    for nothing in ("No job found\n", answer({"JOBID": "101", "ERROR": "Job <101> is not found"}), answer()):
        engine = site(bjobs=(nothing, 255), bhist=history)
        assert engine.query([handle()])["a"].sighting is Sighting.ENDED
        assert engine.query([handle("101[4]", index=3)])["a"].sighting is Sighting.ABSENT


@pytest.mark.parametrize(
    ("bjobs", "bhist"),
    [
        ((WAITING, 255), (NONE, 255)),
        (("", 0), (NONE, 255)),
        ((answer(record())[:-30], 0), (NONE, 255)),
        (('{"COMMAND":"bjobs","JOBS":2,"RECORDS":[]}', 0), (NONE, 255)),
        (('{"COMMAND":"bjobs","JOBS":1,"RECORDS":[{"JOBID":"101"}]}', 0), (NONE, 255)),
        ((answer({"JOBID": "101", "ERROR": "internal library error"}), 255), (NONE, 255)),
        (("No job found\n", 255), ("", 0)),
        (("No job found\n", 255), ("LSF is down. Please wait ...\n", 255)),
    ],
)
def test_b24_what_cannot_be_read_says_nothing_of_any_job(site, bjobs, bhist):
    engine = site(bjobs=bjobs, bhist=bhist)
    with pytest.raises(EngineUnavailable):
        engine.query([handle()])
    with pytest.raises(EngineUnavailable):
        engine.find([handle()])


def test_an_id_that_was_given_anew_is_not_ours_and_not_killed(site):
    engine = site(bjobs=answer(record(JOB_NAME="somebody[3]")), bhist=(NONE, 255))
    assert engine.query([handle()])["a"].sighting is Sighting.ABSENT
    engine.cancel([handle()])
    assert "bkill" not in site.calls.read_text()


def test_elements_that_have_ended_are_not_killed_and_the_rest_in_one_call(site):
    elements = [record(JOBINDEX=str(index), JOB_NAME=f"b2-4f1c[{index}]") for index in range(1, 8)]
    elements[3]["STAT"] = "DONE"
    engine = site(bjobs=answer(*elements))
    engine.cancel([handle(f"101[{index}]", index=index - 1) for index in range(1, 7)])
    assert site.calls.read_text().splitlines()[-1] == "101[1-3,5-6]"


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("Job <101> is submitted to queue <l>.\n", 0, Accepted),
        ("Job <101> is submitted to default queue <l>.\n", 0, Accepted),
        (WAITING + "Job <101> is submitted to queue <l>.\nplease wait\n", 0, Accepted),
        ("Job <101> is submitted to queue <l>.\nJob <102> is submitted to queue <l>.\n", 0, Uncertain),
        ("Job <0> is submitted to queue <l>.\n", 0, Uncertain),
        ("Job <> is submitted to queue <l>.\n", 0, Uncertain),
        ("Job <101> is submitted to queue <l>.\n", 255, Uncertain),
        ("", 0, Uncertain),
        (WAITING, 255, Uncertain),
        ("l1: No such queue. Job not submitted.\n", 255, Refused),
        ("User permission denied. Job not submitted.\n", 255, Refused),
    ],
)
def test_answers_to_a_submission(text, status, kind):
    answered = read_submission(Reply("bsub", status, text, ""), 1)
    assert isinstance(answered, kind)
    if kind is Accepted:
        assert answered.reference == "101"


def test_how_a_batch_is_submitted(site, tmp_path):
    engine = site(bsub="Job <101> is submitted to queue <l>.\n")
    folder = tmp_path / "batch"
    folder.mkdir()
    answers = engine.submit(Batch("b2-4f1c", folder, tuple(handle(None, index=index) for index in range(3))))
    assert [one.reference for one in answers] == ["101[1]", "101[2]", "101[3]"]
    said = site.calls.read_text().splitlines()[1:]
    assert said[:3] == ["-J", "b2-4f1c[1-3]%50", "-rn"]
    options = dict(zip(said[3::2], said[4::2], strict=False))
    assert options["-env"].split(", ")[0] == "PATH"
    assert (options["-q"], options["-W"], options["-M"]) == ("l", "2400", "4000MB")
    assert said[-4:] == ["/bin/sh", f"{folder}/element.sh", "/usr/bin/python3", f"{folder}/member.py"]
    bundles = tuple(handle(None, index=index) for index in (0, 0, 1))
    answers = engine.submit(Batch("b2-4f1c", folder, bundles, minutes=4000))
    assert [one.reference for one in answers] == ["101[1]", "101[1]", "101[2]"]
    said = site.calls.read_text().splitlines()
    last = len(said) - said[::-1].index("-J")
    assert said[last] == "b2-4f1c[1-2]%50"
    assert said[said.index("-W", last) + 1] == "4000"


@pytest.mark.parametrize("name", ["b2 4f1c", 'b2"4f1c', "b2\\4f1c", "b2$(id)", "b2;id", "b2\n#BSUB -q s"])
def test_names_that_lsf_cannot_be_trusted_with_are_refused(site, tmp_path, name):
    answers = site().submit(Batch(name, tmp_path, (handle(None),)))
    assert [type(one) for one in answers] == [Refused]
    assert not site.calls.exists()


@pytest.mark.parametrize(("index", "member"), [("0", "0"), ("1", "0"), ("1000", "999"), (None, "0")])
def test_elements_count_from_1_and_members_from_0(tmp_path, index, member):
    script = tmp_path / "element.sh"
    script.write_text(SCRIPT)
    environment = {"PATH": os.environ["PATH"]} | ({"LSB_JOBINDEX": index} if index else {})
    command = ["/bin/sh", script, "/bin/echo", "member.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"member.py {member}\n"


@given(st.text())
def test_no_text_is_an_error(text):
    find_json(text)
    find_json('{"COMMAND":' + text)
    read_submission(Reply("bsub", 0, text, text), 2)
