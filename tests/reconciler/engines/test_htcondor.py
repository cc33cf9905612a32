"""HTCondor as far as it goes without daemons: descriptions and event logs are read by its own code."""

from __future__ import annotations

import dataclasses
import json

import htcondor2
import pytest

from reconciler.engines.htcondor import engine as adapter
from reconciler.engines.htcondor.engine import HtcondorEngine
from reconciler.engines.htcondor.job import describe, list_items
from reconciler.model.engine import EngineUnavailable, Refused, Sighting, Uncertain
from schemas.policy.site import Option
from tests.support.doubles.htcondor_logs import (
    BEGAN,
    ENDED,
    HELD,
    KILLED,
    RELEASED,
    REMOVED,
    SUBMITTED,
    make_batch,
    make_site,
    write_log,
)


@pytest.fixture(autouse=True)
def _no_pool(monkeypatch):
    monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")


@pytest.fixture
def batch(tmp_path):
    return make_batch(tmp_path)


def test_the_description_is_what_htcondor_reads(batch, monkeypatch):
    monkeypatch.setenv("BELLE2_CONDB_SERVERLIST", 'it\'s "two" words')
    options = (Option("requirements", "(OpSysMajorVer == 9)"), Option("+WantIt"))
    site = dataclasses.replace(
        make_site(minutes=60, memory=4000, account="belle2", options=options),
        environment=("BELLE2_CONDB_SERVERLIST",),
    )
    read = htcondor2.Submit(describe(batch, site))
    assert read["executable"] == "/usr/bin/python3"
    assert read["request_memory"] == "4000"
    less = describe(dataclasses.replace(batch, memory=1200), make_site(memory=4000))
    assert "request_memory = 1200\n" in less
    assert read["MY.B2Batch"] == '"b2p-b"'
    assert read["max_retries"] == "0"
    assert read["getenv"] == "False"
    assert "BELLE2_CONDB_SERVERLIST='it''s \"\"two\"\" words'" in read["environment"]
    read.setQArgs(
        "3 place, folder from (\n" + "\n".join(" ".join(one.values()) for one in list_items(batch)) + "\n)"
    )
    assert [item["place"] for item in read.itemdata()] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["a b", 'a"b', "a\nqueue 100", "$(x)", "a;b"])
def test_a_name_that_htcondor_would_read_as_more_is_refused(batch, name):
    strange = dataclasses.replace(batch, name=name)
    answers = HtcondorEngine(make_site()).submit(strange)
    assert {type(answer) for answer in answers} == {Refused}
    assert answers[0].failure == "permanent"


@pytest.mark.parametrize(
    ("events", "sighting", "failure", "words"),
    [
        ([SUBMITTED], Sighting.PENDING, None, "waits"),
        ([SUBMITTED, BEGAN], Sighting.RUNNING, None, "runs"),
        ([SUBMITTED, BEGAN, ENDED], Sighting.ENDED, None, "status 3"),
        ([SUBMITTED, BEGAN, KILLED], Sighting.ENDED, "transient", "signal 9"),
        ([SUBMITTED, HELD], Sighting.PENDING, None, "held: no such folder"),
        ([SUBMITTED, HELD, RELEASED], Sighting.PENDING, None, "waits"),
        ([SUBMITTED, BEGAN, REMOVED], Sighting.ENDED, "transient", "removed"),
    ],
)
def test_an_event_log_tells_the_state(batch, events, sighting, failure, words):
    handle = batch.handles[1]
    write_log(handle, *events, value=3)
    seen = HtcondorEngine(make_site()).query([handle])[handle.name]
    assert (seen.sighting, seen.failure) == (sighting, failure)
    assert words in seen.reason


def test_many_logs_are_read_in_one_process_and_a_missing_one_is_not_gone(batch, monkeypatch):
    calls = []
    real = adapter.call
    monkeypatch.setattr(
        adapter, "call", lambda command, *rest: calls.append(command[2]) or real(command, *rest)
    )
    for handle in batch.handles[:2]:
        write_log(handle, SUBMITTED, BEGAN)
    seen = HtcondorEngine(make_site()).query(batch.handles)
    assert [seen[one.name].sighting for one in batch.handles] == [Sighting.RUNNING] * 2 + [Sighting.UNKNOWN]
    assert calls == ["logs", "query"]


def test_the_log_of_another_cluster_is_not_this_jobs(batch):
    write_log(batch.handles[0], SUBMITTED, BEGAN, ENDED, cluster=16)
    with pytest.raises(EngineUnavailable):
        HtcondorEngine(make_site()).query(batch.handles[:1])


def test_without_a_schedd_nothing_is_accepted_or_absent(batch):
    engine = HtcondorEngine(make_site())
    assert {type(answer) for answer in engine.submit(batch)} == {Uncertain}
    for call in (engine.query, engine.find, engine.cancel):
        with pytest.raises(EngineUnavailable, match="Unable to locate local daemon"):
            call(batch.handles)
    assert (engine.query([]), engine.find([])) == ({}, {})


def test_it_says_that_it_is_experimental_and_what_is_missing():
    experimental, missing = HtcondorEngine(make_site()).examine()
    assert (experimental.fatal, missing.fatal) == (False, True)
    assert "experimental" in experimental.what
    assert "CONDOR_CONFIG" in missing.remedy


@pytest.mark.parametrize(
    "answer",
    [
        '{"cluster": 17, "procs": 2}',
        '{"cluster": 0, "procs": 3}',
        '{"cluster": "17", "procs": 3}',
        "",
        "[]",
        "17",
    ],
)
def test_b26_an_answer_that_is_not_whole_is_uncertain(batch, tmp_path, monkeypatch, answer):
    double = tmp_path / "double.py"
    double.write_text(f"print({answer!r})")
    monkeypatch.setattr(adapter, "CALLER", double)
    assert {type(one) for one in HtcondorEngine(make_site()).submit(batch)} == {Uncertain}


def test_what_the_schedd_says_of_jobs_without_a_log(batch, tmp_path, monkeypatch):
    def row(index, status, name="b2p-b"):
        return {"ClusterId": 17, "ProcId": index, "JobStatus": status, "B2Batch": name, "HoldReason": None}

    double = tmp_path / "double.py"
    rows = [row(0, 2), row(1, 4, "another")]
    double.write_text(
        f"import json, sys\nrows = json.loads({json.dumps(rows)!r})\n"
        "rows = [row for row in rows if 'B2Batch' not in sys.argv[2] or row['B2Batch'] in sys.argv[2]]\n"
        "print(json.dumps({'rows': rows, 'asked': sys.argv[2], 'count': len(rows)}))"
    )
    monkeypatch.setattr(adapter, "CALLER", double)
    engine = HtcondorEngine(make_site())
    seen = engine.query(batch.handles)
    assert [seen[one.name].sighting for one in batch.handles] == [
        Sighting.RUNNING,
        Sighting.UNKNOWN,
        Sighting.ABSENT,
    ]
    assert engine.find(batch.handles) == {"a0": ["17.0"], "a1": [], "a2": []}
    for reference in ("no such id", "17", "17.1", "17.0 "):
        strange = dataclasses.replace(batch.handles[0], reference=reference)
        assert engine.query([strange])["a0"].sighting is Sighting.UNKNOWN


def test_a_schedd_that_hangs_is_given_up(batch, tmp_path, monkeypatch):
    double = tmp_path / "double.py"
    double.write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(adapter, "CALLER", double)
    engine = HtcondorEngine(make_site(), seconds=0.5)
    assert {type(one) for one in engine.submit(batch)} == {Uncertain}
    with pytest.raises(EngineUnavailable, match="did not answer in time"):
        engine.find(batch.handles)
