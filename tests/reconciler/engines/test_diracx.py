"""DiracX as an engine: what holds for no other. The services are real; the rest is in the contract of all engines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from reconciler.engines.diracx import client
from reconciler.engines.diracx.engine import DiracxEngine
from reconciler.engines.diracx.jobs import NotSendable, name_group, observe, write_jdl
from reconciler.model.engine import Accepted, EngineUnavailable, Refused, Sighting, Uncertain
from schemas.policy.site import Site
from tests.contract import gateway
from tests.contract.diracx import KILL, SEARCH, SUBMIT, DiracxRig, playing
from tests.contract.rig import OUTPUT, PATIENT, ended, submitted
from tests.support.services import diracx_service
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import World

slow = pytest.mark.slow


@pytest.fixture
def rig(request, tmp_path, monkeypatch):
    with DiracxRig.serving(request, tmp_path, monkeypatch) as rig:
        yield rig


def change_job(handle, **changes):
    file = handle.folder / "job.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def place(number, status, minor="", application="Unknown"):
    words = ("JobID", "JobName", "Status", "MinorStatus", "ApplicationStatus")
    return dict(zip(words, (number, "a", status, minor, application), strict=True))


def test_the_renewal_of_tokens_says_who_logs_in_where():
    settings = {"url": "https://x", "vo": "belle", "group": "prod", "user": "me"}
    by_token, by_key = (
        DiracxEngine(Site("grid", "diracx", "data", engine_settings={"diracx": settings | more}))
        for more in ({"token": "/t"}, {"key": "/k"})
    )
    assert by_token.renewal == "as me, say `dirac login belle --group prod`"
    assert by_key.renewal == "renew the credential"


# ── what states mean ──


@pytest.mark.parametrize(
    ("row", "sighting", "failure"),
    [
        (place(1, "Done", "Execution Complete", "Done"), Sighting.ENDED, None),
        (place(1, "Done", "Execution Complete"), Sighting.ENDED, None),
        (
            place(1, "Done", "Execution Complete", "basf2helper.py Exited With Status 9"),
            Sighting.ENDED,
            "unclassified",
        ),
        (place(1, "Running", "Application"), Sighting.RUNNING, None),
        (place(1, "Running", "Input Data Resolution"), Sighting.RUNNING, None),
        (place(1, "Waiting", "Pilot Agent Submission"), Sighting.PENDING, None),
        (place(1, "Stalled"), Sighting.RUNNING, None),
        (place(1, "Completed", "Pending Requests"), Sighting.RUNNING, None),
        (place(1, "Failed", "Watchdog identified this job as stalled"), Sighting.ENDED, "infrastructure"),
        (place(1, "Failed", "Input Data Not Available"), Sighting.ENDED, "input"),
        (place(1, "Killed", "Marked for termination"), Sighting.ENDED, "transient"),
        (place(1, "A state of tomorrow"), Sighting.UNKNOWN, None),
    ],
)
def test_what_dirac_says_of_a_job(row, sighting, failure):
    seen = observe(row)
    assert (seen.sighting, seen.failure) == (sighting, failure)
    assert seen.reason.startswith(row["Status"])


@slow
def test_done_with_a_failing_application_is_not_produced(rig):
    engine = rig.make_engine()
    bad, good = submitted(engine, rig.make_batch(OUTPUT, OUTPUT))
    (bad.folder / "application").write_text("basf2 exited with status 7")
    seen = rig.wait_for(engine, [bad, good], Sighting.ENDED)
    assert seen[bad.name].failure == "unclassified"
    assert "status 7" in seen[bad.name].reason
    engine.fetch(bad)
    engine.fetch(good)
    assert not (bad.folder / "result.json").exists()
    assert (bad.folder / "log").exists()
    assert (good.folder / "result.json").exists()


# ── running and ending ──


@slow
def test_a_running_job_is_seen_so_and_killed_when_asked(rig):
    engine = rig.make_engine()
    one, other = submitted(engine, rig.make_batch(PATIENT, PATIENT))
    rig.wait_for(engine, [one, other], Sighting.RUNNING)
    engine.cancel([one])
    seen = rig.wait_for(engine, [one], Sighting.ENDED)
    assert seen[one.name].reason == "Killed: Marked for termination"
    engine.fetch(one)
    assert not (one.folder / "result.json").exists()
    assert rig.see(engine, [other]) == {other.name: Sighting.RUNNING}
    (other.folder / "go").touch()
    ended(rig, engine, [other])


@slow
def test_an_illegal_change_that_is_answered_with_success_changes_nothing(rig):
    engine = rig.make_engine()
    (handle,) = submitted(engine, rig.make_batch(OUTPUT))
    ended(rig, engine, [handle])
    with rig.gateway.fault(SEARCH, gateway.change(lambda body: body.replace(b'"Done"', b'"Running"'))):
        engine.cancel([handle])  # what was seen is old by now
    assert any(call.startswith(KILL) for call in rig.gateway.calls)
    seen = engine.query([handle])[handle.name]
    assert (seen.sighting, seen.failure) == (Sighting.ENDED, None)
    assert seen.reason.startswith(
        "Done"
    )  # only the minor status is another one: also that was done in silence


@slow
def test_a_job_of_another_user_does_not_stop_the_end_of_ours(rig):
    engine = rig.make_engine()
    with rig.foreign() as (reference, is_untouched):
        mine = submitted(engine, rig.make_batch(PATIENT))
        foreign = dataclasses.replace(rig.make_batch(OUTPUT).handles[0], reference=reference)
        rig.wait_for(engine, mine, Sighting.RUNNING)  # DiracX can lose the end of a job that just starts
        engine.cancel([foreign, *mine])
        rig.wait_for(engine, mine, Sighting.ENDED)
        assert is_untouched()


@slow
def test_a_job_that_vanishes_between_search_and_change_makes_nothing_look_gone(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(PATIENT))
    with (
        rig.gateway.fault(KILL, gateway.refuse(403, "Forbidden")),
        pytest.raises(EngineUnavailable, match="403"),
    ):
        engine.cancel(handles)
    assert set(rig.see(engine, handles).values()) <= {Sighting.PENDING, Sighting.RUNNING}


# ── submitting ──


@slow
def test_b27_one_that_is_refused_does_not_stop_the_others(rig):
    engine = rig.make_engine(diracx=rig.settings(mounted=False))
    batch = rig.make_batch(OUTPUT, OUTPUT, OUTPUT)
    files = [
        {"name": f"{n}.root", "path": f"/belle/{n}.root", "size": 1, "checksum": "x"} for n in range(1001)
    ]
    change_job(batch.handles[1], inputs=files)  # the service allows a thousand
    first, second, third = engine.submit(batch)
    assert isinstance(first, Accepted)
    assert isinstance(second, Refused)
    assert (second.failure, "400" in second.reason) == ("permanent", True)
    assert isinstance(third, Accepted)
    assert [len(found) for found in engine.find(batch.handles).values()] == [1, 0, 1]


@slow
def test_more_than_one_call_takes(rig):
    engine, batch = rig.make_engine(), rig.make_batch(*[OUTPUT] * 23)
    with rig.hold(batch):
        handles = submitted(engine, batch)
        assert len({handle.reference for handle in handles}) == 23
        assert sum(call.startswith(SUBMIT) for call in rig.gateway.calls) == 2
        assert engine.list_names(f"{batch.name}-") == {one.name: one.reference for one in handles}
        assert engine.list_names("b2p-nothing-") == {}
        engine.cancel(handles)
        assert engine.list_names(f"{batch.name}-") == {}


@slow
def test_a_name_that_the_service_would_cut_is_refused(rig):
    engine = rig.make_engine()
    batch = rig.make_batch(OUTPUT, name="b2p-" + "x" * 130)
    (answer,) = engine.submit(batch)
    assert isinstance(answer, Refused)
    assert (answer.failure, "128" in answer.reason) == ("permanent", True)
    assert rig.gateway.calls == []


@slow
@pytest.mark.parametrize("name", ["out;x", 'out"]', "%j.root", "out,in.root", "a=b", "line\nline", "{x}"])
def test_what_could_become_more_than_a_value_is_refused(rig, name):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT)
    change_job(batch.handles[0], outputs=[{"output": "skim", "file": name}])
    (answer,) = engine.submit(batch)
    assert isinstance(answer, Refused)
    assert "OutputSandbox cannot be" in answer.reason
    assert engine.find(batch.handles) == {batch.handles[0].name: []}


@slow
def test_what_is_written_is_read_by_dirac_as_it_was_meant(diracx):
    """DIRAC's own reader, over everything that may stand in a description."""
    values = ["a", "A/b_c.d:e+f@g|h-i", "SB:SandboxSE|/S3/x/belle/g/u/sha256:0.tar.zst", "x" * 500]
    hostile = [
        "a;b",
        'a"b',
        "a]",
        "[a",
        "a=b",
        "%j",
        "a,b",
        "{a}",
        "a\nb",
        "a\\b",
        " a",
        "a ",
        "a  b",
        "",
        "é",
        "$(x)",
    ]
    for value in hostile:
        with pytest.raises(NotSendable):
            write_jdl({"Arguments": value})
    for value in [*hostile, "a b"]:
        with pytest.raises(NotSendable):
            write_jdl({"InputData": ("LFN:/fine", value)})
    written = [
        write_jdl({"Before": 1, "Arguments": f"{value} b", "Files": (value, "z"), "After": "y"})
        for value in values
    ]
    code = (
        "import json, sys\n"
        "from DIRACCommon.Core.Utilities.ClassAd.ClassAdLight import ClassAd\n"
        "read = [ClassAd(text) for text in json.load(sys.stdin)]\n"
        "print(json.dumps([[one.getAttributeInt('Before'), one.getAttributeString('Arguments'),"
        " one.getListFromExpression('Files'), one.getAttributeString('After'), len(one.contents)] for one in read]))"
    )
    python = diracx_service.HOME / "bin" / "python"
    done = subprocess.run(
        [python, "-c", code], input=json.dumps(written), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[1, f"{value} b", [value, "z"], "y", 4] for value in values]


@slow
def test_inputs_that_are_not_mounted_are_laid_beside_the_job(rig, tmp_path):
    source = tmp_path / "belle" / "raw.root"
    source.parent.mkdir()
    source.write_bytes(b"raw")
    engine = rig.make_engine(diracx=rig.settings(mounted=False))
    batch = rig.make_batch("open('out.root', 'wb').write(open('raw.root', 'rb').read() * 2)")
    checksum = f"sha256:{hashlib.sha256(b'raw').hexdigest()}"
    change_job(
        batch.handles[0],
        inputs=[{"name": "raw.root", "path": str(source), "size": 3, "checksum": checksum}],
    )
    (handle,) = submitted(engine, batch)
    ended(rig, engine, [handle])
    assert (handle.folder / "out.root").read_bytes() == b"rawraw"
    assert json.loads((handle.folder / "job.json").read_text())["inputs"][0]["path"] == str(source)


def test_a_group_fits_the_services_tables():
    assert name_group("proc7") == "proc7"
    long = name_group("a-campaign-with-quite-a-long-name-of-its-own")
    assert len(long) == 32
    assert long != name_group("a-campaign-with-quite-a-long-name-of-another")


@slow
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b"<html>"),
        (403, b"<html>"),
        (404, b"<html>"),
        (429, b'{"detail": "slow"}'),
        (302, b""),
        (408, b""),
    ],
)
def test_b19_a_gateways_refusal_of_what_was_taken_is_uncertain(rig, status, body):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT)
    with rig.gateway.fault(SUBMIT, gateway.after(status, body)):
        (answer,) = engine.submit(batch)
    assert isinstance(answer, Uncertain)
    assert [len(found) for found in engine.find(batch.handles).values()] == [1]


# ── complete searches only ──


@slow
def test_a_search_of_many_pages_is_read_to_its_end(rig, monkeypatch):
    engine, batch = rig.make_engine(), rig.make_batch(*[OUTPUT] * 7)
    with rig.hold(batch):
        handles = submitted(engine, batch)
        monkeypatch.setattr(client, "PAGE", 3)
        # values are asked for in portions of a page, and a name may have more jobs than that
        again = submitted(engine, batch)
        submitted(engine, batch)
        submitted(engine, batch)
        found = engine.find(batch.handles[:1])
        assert found[handles[0].name][:2] == [handles[0].reference, again[0].reference]
        assert [len(one) for one in engine.find(batch.handles).values()] == [4] * 7
        assert any("page=2" in call for call in rig.gateway.calls)


@slow
@pytest.mark.parametrize("lie", ["short", "no range", "another job", "twice", "beyond"])
def test_b4_a_search_that_is_not_complete_says_nothing(rig, lie):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)

    def play(handler):
        status, headers, body = handler.get()
        rows = json.loads(body)
        headers = {"content-type": "application/json"}
        if lie == "short":
            status, headers["content-range"], rows = 206, "jobs 0-0/2", rows[:1]
            if "page=2" in handler.path:
                rows = []
        elif lie == "no range":
            status, rows = 206, rows[:1]
        elif lie == "another job":
            rows[0]["JobName"], rows[0]["JobID"] = "another", 5
        elif lie == "twice":
            rows[1]["JobID"] = rows[0]["JobID"]
        elif lie == "beyond":
            status, rows = 416, []
        handler.give(status, headers, json.dumps(rows).encode())

    with rig.hold(batch):
        handles = submitted(engine, batch)
        with rig.gateway.fault(SEARCH, play):
            with pytest.raises(EngineUnavailable):
                engine.find(batch.handles)
            with pytest.raises(EngineUnavailable):
                engine.query(handles)
        assert all(len(found) == 1 for found in engine.find(batch.handles).values())


# ── what a job left ──


@slow
@pytest.mark.parametrize("how", ["cut", "store away", "list away"])
def test_what_cannot_be_had_now_is_had_later(rig, how, monkeypatch):
    engine = rig.make_engine()
    (handle,) = submitted(engine, rig.make_batch(OUTPUT))
    rig.wait_for(engine, [handle], Sighting.ENDED)

    def elsewhere(body):
        return json.dumps({"url": f"{rig.gateway.url}/store", "expires_in": 1}).encode()

    store, listing = "GET /api/jobs/sandbox", r"GET /api/jobs/\d+/sandbox/output"
    faults = {
        "cut": [(store, gateway.change(elsewhere)), ("GET /store", gateway.answer(200, b"\x28\xb5\x2f\xfd"))],
        "store away": [(store, gateway.change(elsewhere)), ("GET /store", gateway.drop)],
        "list away": [(listing, gateway.answer(502))],
    }[how]
    with rig.gateway.fault(*faults[0]), rig.gateway.fault(*faults[-1]), pytest.raises(EngineUnavailable):
        engine.fetch(handle)
    assert not (handle.folder / "result.json").exists()
    ended(rig, engine, [handle])


@slow
def test_equal_files_are_stored_once(rig):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT)
    with rig.hold(batch):
        submitted(engine, batch)
        (rig.folder / "attempts" / batch.handles[0].name / "job.json").touch()
        submitted(engine, batch)
        assert len(set(find_sandboxes(rig))) == 1
        engine.cancel(
            [
                dataclasses.replace(batch.handles[0], reference=one)
                for one in engine.find(batch.handles)[batch.handles[0].name]
            ]
        )


def find_sandboxes(rig):
    engine = rig.make_engine()
    reached, deadline = engine._client, client.Deadline(10)
    rows = reached.search(
        "JobName", [path.name for path in Path(rig.folder / "attempts").iterdir()], deadline
    )
    for row in rows:
        yield tuple(reached.ask("GET", f"jobs/{row['JobID']}/sandbox/input", deadline).read_json())


@slow
def test_sixty_jobs_are_little_work(rig):
    engine = rig.make_engine()
    batches = [rig.make_batch(*[OUTPUT] * 20) for _ in range(3)]
    with rig.hold(batches[0]):
        begun = time.process_time()
        handles = [handle for batch in batches for handle in submitted(engine, batch)]
        assert time.process_time() - begun < 5
        assert set(rig.see(engine, handles).values()) == {Sighting.PENDING}
        engine.cancel(handles)
        assert set(rig.see(engine, handles).values()) == {Sighting.ENDED}


# ── a campaign ──


@slow
def test_a_campaign_is_produced_on_the_grid(rig, diracx_worker, tmp_path):
    with playing(rig, diracx_worker, World(tmp_path / "world")) as world:
        wait_until(lambda: world.reconcile() and len(world.produced()) == 4, 90)
    assert world.attempts() == {"verified": 5}
    assert len(world.published()) == 5
