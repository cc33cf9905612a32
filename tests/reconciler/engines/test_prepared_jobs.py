"""Skims that are forked from a prepared process: as other jobs in all but CPU time. The contract of engines holds for them, too."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from reconciler.engines.local import prepared_jobs
from reconciler.engines.local.engine import LocalEngine
from reconciler.engines.local.prepared_jobs import PreparedJobs, PreparedProcess
from reconciler.model.engine import Accepted, Batch, JobHandle, Sighting, Uncertain
from renderer import prepared_process
from renderer.applications.uproot import COMMAND
from schemas.policy.site import Site
from tests.support.inputs.runtime_jobs import job
from tests.support.inputs.skim_jobs import write_job, write_run
from tests.support.worlds.processes import find_processes, run_forked, wait_until

SITE = Site("here", "local", "data", slots=3)
PATIENT = (
    "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nopen('out.root', 'w').write('x')"
)

pytestmark = pytest.mark.slow


@pytest.fixture
def engine():
    return LocalEngine(SITE)


@pytest.fixture
def skim(tmp_path):
    """Makes attempts whose job is a skim."""

    def make(name, size=100):
        source = write_run(tmp_path / f"{size}.root", size, x=np.arange(size))
        described = write_job([source], {"x": {"cut": "x >= 30"}})
        described["inputs"][0]["size"] = source.stat().st_size
        described |= {"key": "0" * 16, "environment": [], "verify": "size", "command": list(COMMAND)}
        return make_attempt(tmp_path, name, described)

    return make


@pytest.fixture
def patient(tmp_path, monkeypatch):
    """Makes attempts that wait for the file `go`; they are forked as if they were skims."""
    monkeypatch.setattr(PreparedJobs, "is_prepared", lambda _jobs, _handle: True)
    return lambda name: make_attempt(tmp_path, name, job(tmp_path, ["@python", "-c", PATIENT]))


def make_attempt(root, name, described):
    folder = root / "attempts" / name
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(described))
    return JobHandle(name, f"nonce of {name}", folder, "batch", 0, "2019-02-07T12:00:00Z")


def submit(engine, *handles):
    return engine.submit(Batch("batch", handles[0].folder.parent, handles))


def look(engine, one):
    return engine.query([one])[one.name].sighting


def read_result(engine, one):
    wait_until(lambda: look(engine, one) is Sighting.ENDED)
    return json.loads((one.folder / "result.json").read_text())


def prepared_of(engine):
    assert engine._prepared.process is not None, "the jobs were started in the other way"
    return engine._prepared.process


def is_gone(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_fork_makes_what_a_process_of_its_own_makes(engine, skim, monkeypatch):
    forked, plain = skim("forked"), skim("plain")
    (answer,) = submit(engine, forked)
    prepared_of(engine)
    monkeypatch.setattr(PreparedJobs, "is_prepared", lambda _jobs, _handle: False)
    submit(engine, plain)
    results = [read_result(engine, one) for one in (forked, plain)]
    for one, result in zip((forked, plain), results, strict=True):
        assert (result.pop("attempt"), result.pop("nonce")) == (one.name, one.nonce)
        assert result["outputs"][0].pop("checksum").startswith("sha256:")  # a file of ROOT has its time
        assert result.pop("cpu_seconds") > 0
        assert result.pop("peak_memory") > 1e7
        result.pop("wall_seconds")
    assert results[0] == results[1]
    assert (forked.folder / "started").read_text() == f"nonce of forked {answer.reference}\n"
    for name in ("application.json", "event-numbers", "log"):
        assert (forked.folder / name).read_text() == (plain.folder / name).read_text()
    names = [{path.name for path in one.folder.iterdir()} for one in (forked, plain)]
    assert names[0] == names[1]
    for one in (forked, plain):
        with uproot.open(one.folder / "x.root") as file:
            np.testing.assert_array_equal(file["events"]["x"].array(library="np"), np.arange(30, 100))


def test_a_fork_has_its_own_session_and_no_files_of_others(engine, skim):
    submit(engine, first := skim("first"))
    read_result(engine, first)
    (answer,) = submit(engine, one := skim("second", 1_000_000))
    session = int(answer.reference)
    wait_until(lambda: not any("memfd" in file for file in list_files(session)))
    os.killpg(session, signal.SIGSTOP)
    try:
        check_stopped(one, session)
    finally:
        os.killpg(session, signal.SIGCONT)
    assert read_result(engine, one)["failure"] is None


def check_stopped(one, session):
    processes = find_processes(one.folder)
    assert len(processes) == 2
    for process in processes:
        assert os.getpgid(process) == os.getsid(process) == session
        place = Path("/proc", str(process))
        files = {int(file.name): os.readlink(file) for file in (place / "fd").iterdir()}
        assert [files[number] for number in range(3)] == ["/dev/null", *[str(one.folder / "log")] * 2]
        others = {file for number, file in files.items() if number > 2 and not file.startswith("pipe:")}
        assert str(one.folder / "lock") in others
        assert all(Path(file).parent in {one.folder, one.folder.parents[1]} for file in others), others
        assert (place / "limits").read_text() == Path("/proc/self/limits").read_text()
        status, ours = read_status(place), read_status(Path("/proc/self"))
        assert {name: status[name] for name in INHERITED} == {name: ours[name] for name in INHERITED}
        assert not int(status["SigCgt"], 16) >> (signal.SIGCHLD - 1) & 1
        assert b"nonce" not in (place / "environ").read_bytes() + (place / "cmdline").read_bytes()


INHERITED = ("Umask", "Uid", "Gid", "Groups", "CapEff", "NoNewPrivs", "Seccomp", "SigBlk", "Cpus_allowed")


def list_files(session):
    """The open files of the application, which the runtime forked."""
    (children,) = Path(f"/proc/{session}/task").iterdir()
    place = Path("/proc", (children / "children").read_text().split()[0], "fd")
    try:
        return [os.readlink(file) for file in place.iterdir()]
    except OSError:  # one was closed just now
        return ["memfd?"]


def read_status(place):
    lines = (place / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


SHOWN = """\
import json, os, sys
from renderer import prepared_process as prepared
os.environ["SECRET"] = "of this process"
prepared.skimming.main = lambda arguments: print(json.dumps([arguments, dict(os.environ)])) or 5
application = prepared.ForkedSkim(())
if len(sys.argv) > 1:
    application.start([sys.executable, *prepared.COMMAND[1:]], {"PATH": "/bin", "\\udcff": "a\\nb"}, [])
else:
    os.close(application._go)
print("status", application.wait())
application.terminate()
"""


@pytest.mark.parametrize("arguments", [["go"], []], ids=["started", "not started"])
def test_the_application_has_the_environment_that_the_runtime_gives_it(arguments):
    command = [sys.executable, "-c", SHOWN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = {"PATH": "/bin", "\udcff": "a\nb"}
    lines = [json.dumps([["job.json"], shown]), "status 5"] if arguments else ["status 0"]
    assert done.stdout.splitlines() == lines


def test_jobs_outlive_the_prepared_process_and_it_is_replaced(engine, patient):
    first, second = patient("first"), patient("second")
    (answer,) = submit(engine, first)
    killed = prepared_of(engine).id
    wait_until((first.folder / "started").exists)
    os.kill(killed, signal.SIGKILL)
    assert isinstance(submit(engine, second)[0], Accepted)
    assert prepared_of(engine).id != killed
    for one in (first, second):
        assert look(engine, one) is look(LocalEngine(SITE), one) is Sighting.RUNNING
        (one.folder / "go").touch()
        assert read_result(engine, one)["failure"] is None
    wait_until(lambda: is_gone(int(answer.reference)))


def test_a_job_that_is_killed_takes_nothing_else_down(engine, patient):
    first, second = patient("first"), patient("second")
    answers = submit(engine, first, second)
    wait_until((first.folder / "started").exists)
    os.killpg(int(answers[0].reference), signal.SIGKILL)
    wait_until(lambda: look(engine, first) is Sighting.ENDED)
    assert not is_gone(prepared_of(engine).id)
    (second.folder / "go").touch()
    assert read_result(engine, second)["failure"] is None


def stop(process):
    os.kill(process.id, signal.SIGSTOP)
    return process


@pytest.mark.parametrize("how", ["it ends at once", "it does not start", "it hangs"])
def test_without_it_a_skim_starts_as_other_jobs_do(engine, skim, monkeypatch, how):
    if how == "it ends at once":
        monkeypatch.setattr(prepared_jobs, "MODULE", "no.such.module")
    elif how == "it does not start":
        monkeypatch.setattr(prepared_jobs.socket, "socketpair", lambda *_: os.open("/nothing", os.O_RDONLY))
    else:
        monkeypatch.setattr(prepared_jobs, "PATIENCE", 0.1)
        monkeypatch.setattr(
            prepared_jobs, "PreparedProcess", lambda environment: stop(PreparedProcess(environment))
        )
    handles = skim("first"), skim("second")
    assert all(isinstance(answer, Accepted) for answer in submit(engine, *handles))
    assert engine._prepared.process is None
    for one in handles:
        assert read_result(engine, one)["failure"] is None
        assert (one.folder / "started").read_text().count("nonce") == 1
        assert (one.folder / "log").read_text() == ""


def test_a_start_that_is_undecided_holds_the_lock_and_is_seen(engine, patient, monkeypatch):
    """As if the job's process were there, and too slow to answer."""
    one = patient("first")
    monkeypatch.setattr(prepared_jobs, "_is_told", lambda _told: wait_until((one.folder / "started").exists))
    (answer,) = submit(engine, one)
    assert isinstance(answer, Uncertain)
    assert look(engine, one) is Sighting.RUNNING
    (one.folder / "go").touch()
    assert read_result(engine, one)["failure"] is None


def test_a_job_runs_though_whoever_asked_for_it_died(patient, monkeypatch):
    one = patient("first")
    monkeypatch.setattr(prepared_jobs, "_is_told", lambda _told: os._exit(9))  # asked for, and not answered
    assert run_forked(lambda: submit(LocalEngine(SITE), one)) == 9
    engine = LocalEngine(SITE)
    assert look(engine, one) is Sighting.RUNNING
    wait_until(lambda: find_processes(one.folder))
    assert look(engine, one) is Sighting.RUNNING
    (one.folder / "go").touch()
    assert read_result(engine, one)["failure"] is None


def test_what_was_asked_of_a_process_that_died_never_begins(patient, tmp_path, monkeypatch):
    one = patient("first")
    process = stop(PreparedProcess({}))

    def ask_and_die():
        monkeypatch.setattr(prepared_jobs, "_is_told", lambda _told: os._exit(9))
        engine = LocalEngine(SITE)
        engine._prepared.process = process
        submit(engine, one)

    assert run_forked(ask_and_die) == 9
    assert look(LocalEngine(SITE), one) is Sighting.RUNNING
    process.end()
    wait_until(lambda: look(LocalEngine(SITE), one) is Sighting.ABSENT)


@pytest.mark.parametrize("end", ["the engine is done", "the reconciler is killed"])
def test_it_ends_with_whoever_started_it(skim, end):
    one = skim("first")
    file = one.folder.parent / "process"

    def work():
        engine = LocalEngine(SITE)
        submit(engine, one)
        file.write_text(str(prepared_of(engine).id))
        if end == "the reconciler is killed":
            os.kill(os.getpid(), signal.SIGKILL)

    if end == "the reconciler is killed":
        assert run_forked(work) == -signal.SIGKILL
    else:
        work()
        gc.collect()
    wait_until(lambda: is_gone(int(file.read_text())))
    assert read_result(LocalEngine(SITE), one)["failure"] is None


def test_it_ends_if_nobody_asks(monkeypatch):
    monkeypatch.setattr(prepared_process, "IDLE", 0.01)
    before = signal.getsignal(signal.SIGCHLD)
    ours, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, given:
        prepared_process.serve(given)
    signal.signal(signal.SIGCHLD, before)


def test_it_is_started_for_skims_only(engine, tmp_path):
    one = make_attempt(tmp_path, "first", job(tmp_path, ["@python", "-c", PATIENT]))
    submit(engine, one)
    assert engine._prepared.process is None
    (one.folder / "go").touch()
    read_result(engine, one)
