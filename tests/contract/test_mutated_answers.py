"""No text that a command may answer makes a job that lives look ended or gone, or names another job as ours.

For every command of every engine 2,000 answers that went wrong, while the other commands tell the truth: an attempt that
is under way is seen under way, or nothing is said of it. A table that lacks whole rows is a true answer of another moment;
where one command alone is asked for a name, that is told apart from the rest (`is_of_another_moment`).
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.engines.diracx.client import Client
from reconciler.engines.diracx.engine import DiracxEngine
from reconciler.engines.gb2.engine import Gb2Engine
from reconciler.engines.gb2.outputs import Download
from reconciler.engines.htcondor.engine import HtcondorEngine
from reconciler.engines.lsf.engine import LsfEngine
from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.model.engine import (
    Accepted,
    Batch,
    Deferred,
    EngineUnavailable,
    JobHandle,
    Refused,
    Sighting,
    Uncertain,
)
from reconciler.outside.command import Reply
from reconciler.outside.http import Answer
from schemas.policy.site import BatchSettings, Site
from tests.contract.mutations import NOTICES, PAGES, mutate_reply
from tests.support.doubles.gb2_commands import root_file

MANY = 2000
MOVING = {Sighting.ENDED, Sighting.ABSENT}
BATCH, OTHER = "b2p-7c1e-proc7-reco-b0", "b2p-7c1e-proc7-reco-b1"
BEGUN = "2019-02-07T12:00:00Z"

Tell = Callable[[str, str], str]
"""Called with what was asked and the true text; gives back what is answered."""


def honest(_: str, text: str) -> str:
    return text


def tickets_of(folder: Path, references: Mapping[str, tuple[str, int]]) -> list[JobHandle]:
    """Tickets by reference: the batch that each is in, and its place there."""
    made = []
    for number, (reference, (batch, index)) in enumerate(references.items()):
        home = folder / "attempts" / f"a{number}"
        home.mkdir(parents=True, exist_ok=True)
        handle = JobHandle(
            f"a{number}", "n", home, batch, index, BEGUN, reference, folder / "batches" / batch
        )
        made.append(handle)
    return made


def table(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


class Slurm:
    """Three jobs that live: two of an array, and one by itself."""

    questions = ("squeue", "squeue --jobs", "sacct", "sdiag")
    submission = "sbatch"

    def __init__(self, folder: Path) -> None:
        self.handles = tickets_of(folder, {"11_0": (BATCH, 0), "11_1": (BATCH, 1), "12": (OTHER, 0)})
        self.engine = SlurmEngine(Site("here", "slurm", "data"))
        self.engine._call = self.call
        self.folder = folder
        self.tell: Callable[[str, Reply], Reply] = lambda _, reply: reply

    def call(self, command, _seconds):
        name = command[0]
        if name == "sbatch":
            return self.tell(name, Reply(name, 0, "11\n", ""))
        if name == "sdiag":
            text = table(
                "sdiag output at Thu", "DBD Agent queue size: 0", "Jobs submitted: 3", "Jobs started: 2"
            )
            return self.tell(name, Reply(name, 0, text, ""))
        folders = "%Z" in command[-1] or "WorkDir" in command[-1]
        states = {"11_0": "RUNNING", "11_1": "PENDING", "12": "RUNNING"}
        batches = {"11_0": BATCH, "11_1": BATCH, "12": OTHER}
        rows = []
        for job, state in states.items():
            place = f"{self.folder}/batches/{batches[job]}|" if folders else ""
            note = "0:0" if name == "sacct" else "None"
            rows.append(f"{job}|{state}|{note}|{place}{batches[job]}")
        if name == "sacct":
            head = "JobID|State|ExitCode|WorkDir|JobName" if folders else "JobID|State|ExitCode|JobName"
            return self.tell(name, Reply(name, 0, table(head, *rows), ""))
        head = "JOBID|STATE|REASON|WORK_DIR|NAME" if folders else "JOBID|STATE|REASON|NAME"
        asked = "squeue --jobs" if any(word.startswith("--jobs=") for word in command) else "squeue"
        return self.tell(asked, Reply(name, 0, table(head, *rows), ""))


class Lsf:
    """The same at LSF."""

    questions = ("bjobs", "bhist")
    submission = "bsub"

    def __init__(self, folder: Path) -> None:
        self.handles = tickets_of(folder, {"11[1]": (BATCH, 0), "11[2]": (BATCH, 1), "12": (OTHER, 0)})
        self.engine = LsfEngine(Site("here", "lsf", "data"))
        self.engine._call = self.call
        self.tell: Callable[[str, Reply], Reply] = lambda _, reply: reply

    def call(self, command, _seconds):
        name = command[0]
        if name == "bsub":
            return self.tell(name, Reply(name, 0, "Job <11> is submitted to queue <l>.\n", ""))
        if name == "bjobs":
            rows = [("11", "1", BATCH, "RUN"), ("11", "2", BATCH, "PEND"), ("12", "0", OTHER, "RUN")]
            records = [
                {
                    "JOBID": job,
                    "JOBINDEX": index,
                    "JOB_NAME": f"{batch}[{index}]" if index != "0" else batch,
                    "STAT": state,
                    "EXIT_CODE": "",
                    "EXIT_REASON": "",
                }
                for job, index, batch, state in rows
            ]
            text = json.dumps({"COMMAND": "bjobs", "JOBS": 3, "RECORDS": records}, indent=2)
            return self.tell(name, Reply(name, 0, f"{text}\n", ""))
        head = ("Summary of time in seconds spent in various states:",)
        head += ("JOBID   USER    JOB_NAME  PEND    PSUSP   RUN     USUSP   SSUSP   UNKWN   TOTAL",)
        rows = [
            f"{job}  prod  {batch}  3  0  15  0  0  0  18"
            for job, batch in (("11[1]", BATCH), ("11[2]", BATCH), ("12", OTHER))
            if "-J" not in command or command[-1] == batch
        ]
        if "-d" in command:
            return self.tell(name, Reply(name, 255, "", "No matching job found\n"))
        return self.tell(name, Reply(name, 0, table(*head, *rows), ""))


class Condor:
    """One cluster of three; the first has no event log yet, so that the schedd is asked."""

    questions = ("query", "logs")
    submission = "submit"

    def __init__(self, folder: Path) -> None:
        self.handles = tickets_of(folder, {"11.0": (BATCH, 0), "11.1": (BATCH, 1), "11.2": (BATCH, 2)})
        for handle in self.handles[1:]:
            (handle.folder / "condor.log").touch()
        site = Site("here", "htcondor", "data", batch=BatchSettings(python="/usr/bin/python3"))
        self.engine = HtcondorEngine(site)
        self.engine._call = self.call
        self.tell: Callable[[str, Reply], Reply] = lambda _, reply: reply

    def call(self, what, asked, _seconds):
        if what == "submit":
            said = {"cluster": 11, "procs": 3}
        elif what == "query":
            rows = [
                {"ClusterId": 11, "ProcId": index, "JobStatus": 2, "B2Batch": BATCH, "HoldReason": None}
                for index in range(3)
            ]
            said = {"rows": rows, "asked": asked, "count": 3}
        else:
            seen = {"a1": {"11.1": ["running", "runs", None]}, "a2": {"11.2": ["pending", "waits", None]}}
            said = {"logs": seen}
        return self.tell(what, Reply("python", 0, json.dumps(said) + "\n", ""))


REQUEST = {"ProductionGroup": "skims", "LPNPrefix": "/belle/Data", "Release": "release-03-02-02"}
REQUEST |= {"DBGlobalTag": "DB00000654", "Campaign": "proc7", "BeamEnergy": "4S"}
REQUEST |= {"DataDescription": [{"DataLevel": "udst", "SkimDecayMode": "14120601"}]}


class Gb2:
    """Three productions, one of each state that a live one may have."""

    questions = ("gb2_prod_status -p", "gb2_prod_status -g", "gb2_ds_list")
    submission = "gb2_prod_register"

    def __init__(self, folder: Path) -> None:
        self.names = {29655: "proc7-skims-aa", 29656: "proc7-skims-bb", 29657: "proc7-skims-cc"}
        self.handles = tickets_of(folder, {f"{number}_0": (f"b{number}", 0) for number in self.names})
        for handle, name in zip(self.handles, self.names.values(), strict=True):
            job = {"experiment": 3, "run": 2724, "key": "k", "inputs": [{"path": "/belle/in/x_0.root"}] * 2}
            job["outputs"] = [{"output": "hadron", "file": "skim.root"}]
            (handle.folder / "job.json").write_text(json.dumps(job))
            order = {"name": name, "members": 1, "folder": str(handle.folder), "content": REQUEST}
            (handle.folder / "production.json").write_text(json.dumps(order))
        site = Site("grid", "gb2", "data", engine_settings={"gb2": {"wrapper": ["/bin/with-gbasf2"]}})
        self.engine = Gb2Engine(site)
        self.engine._call = self.call
        self.tell: Callable[[str, Reply], Reply] = lambda _, reply: reply

    def call(self, command, _seconds, _folder=None):
        name = command[0]
        if name == "gb2_prod_status":
            states = ("Running  Done=100/402", "Approved  Done=0/3", "Running  Done=400/402")
            rows = [
                f" {number}  {called}  {state}"
                for (number, called), state in zip(self.names.items(), states, strict=True)
            ]
            strangers = [" 29001  somebody-elses  Done  Done=7/7", " 29002  another  Cancelled  Done=0/7"]
            text = table(" ID  Name  Status  Progress", strangers[0], *rows, strangers[1])
            return self.tell(f"{name} {command[1]}", Reply(name, 0, text, ""))
        if name == "gb2_ds_list":
            folder = command[1].partition("/sub")[0]
            return self.tell(name, Reply(name, 0, table(f"{folder}/sub00/udst_0.root"), ""))
        return Reply(name, 0, "done\n", "")


class Diracx:
    """Three jobs, found by id or by name."""

    questions = ("search JobID", "search JobName")
    submission = "jobs/jdl"

    def __init__(self, folder: Path) -> None:
        self.handles = tickets_of(folder, {"11": ("a0", 0), "12": ("a1", 0), "13": ("a2", 0)})
        settings = {"url": "https://diracx.example.org", "vo": "belle", "group": "prod", "user": "prodmgr"}
        settings |= {"key": "/x"}
        self.engine = DiracxEngine(Site("grid", "diracx", "data", engine_settings={"diracx": settings}))
        client = Client.__new__(Client)
        client._url, client._service = "https://diracx.example.org", self
        client.credentials = self
        self.engine._client = client
        self.tell: Callable[[str, Reply], Reply] = lambda _, reply: reply

    def find_access(self, _seconds):
        return "token"

    def forget(self):
        pass

    def send(self, _method, url, _seconds, *, headers=None, data=None, form=None, files=None):
        if url.endswith("jobs/jdl"):
            rows = [{"JobID": 11 + index, "Status": "Received"} for index in range(len(data))]
            asked = "jobs/jdl"
        else:
            asked = f"search {data['search'][0]['parameter']}"
            wanted = {str(value) for value in data["search"][0]["values"]}
            states = {"11": "Running", "12": "Waiting", "13": "Stalled"}
            rows = [
                {"JobID": int(one.reference), "JobName": one.name, "Status": states[one.reference]}
                | {"MinorStatus": "", "ApplicationStatus": "Unknown"}
                for one in self.handles
                if {one.reference, one.name} & wanted
            ]
        reply = self.tell(asked, Reply(asked, 200, json.dumps(rows, indent=1), ""))
        if reply.status in (1, 255, None):
            return Answer(503, {"content-type": "text/html"}, reply.out.encode())
        return Answer(200, {"content-type": "application/json"}, reply.out.encode())


KINDS = {"slurm": Slurm, "lsf": Lsf, "htcondor": Condor, "gb2": Gb2, "diracx": Diracx}
QUESTIONS = [(kind, question) for kind, made in KINDS.items() for question in made.questions]
SUBMISSIONS = [(kind, made.submission) for kind, made in KINDS.items() if kind != "gb2"]


def list_truths(kind) -> dict[str, Reply]:
    """What each command answers in truth."""
    said: dict[str, Reply] = {}

    def note(asked, reply):
        said[asked] = reply
        return reply

    kind.tell = note
    kind.engine.query(kind.handles)
    kind.engine.find(kind.handles)
    return said


@pytest.mark.slow
@pytest.mark.parametrize(("name", "question"), QUESTIONS)
def test_no_answer_moves_a_job_that_is_under_way(name, question, tmp_path):
    kind = KINDS[name](tmp_path)
    others = [reply.out for reply in list_truths(kind).values()]
    draw = random.Random(f"{name} {question}")
    true = {handle.name: [handle.reference] for handle in kind.handles}
    kind.tell = lambda _, reply: reply
    honest = kind.engine.query(kind.handles)
    assert not {one.sighting for one in honest.values()} & {*MOVING, Sighting.UNKNOWN}
    assert kind.engine.find(kind.handles) == true
    told = []

    def tell(asked, reply):
        if asked != question:
            return reply
        told.append((reply, mutate_reply(draw, reply, others)))
        return told[-1][1]

    kind.tell = tell
    for _ in range(MANY):
        told.clear()
        try:
            seen = kind.engine.query(kind.handles)
        except EngineUnavailable:
            seen = {}
        wrong = {key: one for key, one in seen.items() if one.sighting in MOVING}
        assert not wrong, (told, wrong)
        told.clear()
        try:
            found = kind.engine.find(kind.handles)
        except EngineUnavailable:
            continue
        short = {key: [one for one in true[key] if one in some] for key, some in found.items()}
        assert found == short, (told, "another job was taken for ours")
        if found != true:
            missing = [key for key in true if not found[key]]
            assert name in ("gb2", "diracx"), told
            words = [kind.names[int(true[key][0][:5])] if name == "gb2" else key for key in missing]
            assert all(is_of_another_moment(given.out, reply.out, words) for reply, given in told), told


def is_of_another_moment(text: str, true: str, missing: Sequence[str]) -> bool:
    """Whether it may be true at another moment: it has the form that it must have, and nothing of what is missing.

    Nothing in one such text tells that rows of it are gone.
    """
    if not true.startswith("["):
        words = [word.lower() for word in text.split()]
        return true.split()[:2] == ["ID", "Name"] and not {one.lower() for one in missing} & set(words)
    try:
        return all(row in json.loads(true) for row in json.loads(text))
    except (TypeError, ValueError):
        return False


@pytest.mark.parametrize(("name", "question"), SUBMISSIONS)
def test_no_answer_to_a_submission_that_was_taken_says_that_it_was_not_or_names_another_job(
    name, question, tmp_path
):
    kind = KINDS[name](tmp_path)
    others = [reply.out for reply in list_truths(kind).values()]
    draw = random.Random(f"{name} {question}")
    folder = tmp_path / "batch"
    folder.mkdir()
    handles = [
        dataclasses.replace(handle, batch=BATCH, index=index, reference=None)
        for index, handle in enumerate(kind.handles)
    ]
    batch = Batch(BATCH, folder, tuple(handles))
    kind.tell = lambda _, reply: reply
    if name == "diracx":
        kind.engine._prepare = lambda handle, _: f"[JobName={handle.name};]"
    true = kind.engine.submit(batch)
    assert {type(one) for one in true} == {Accepted}

    def tell(asked, reply):
        return mutate_reply(draw, reply, others) if asked == question else reply

    kind.tell = tell
    for _ in range(MANY):
        answers = kind.engine.submit(batch)
        assert len(answers) == len(handles)
        for answer, right in zip(answers, true, strict=True):
            assert not isinstance(answer, Refused | Deferred), answer
            if isinstance(answer, Accepted) and answer != right:
                # digits that are gone leave a number: the job that is there by its name is not taken for gone
                wrong = dataclasses.replace(kind.handles[0], reference=answer.reference)
                assert kind.engine.query([wrong])[wrong.name].sighting is Sighting.UNKNOWN, answer


@pytest.mark.parametrize("text", ["2024\n", "4711\n"])
def test_a_number_that_is_no_id_of_ours_makes_no_job_absent(text, tmp_path):
    """Somebody's notice is one number: the job that is there under its name is not taken for gone."""
    kind = Slurm(tmp_path)
    wrong = [dataclasses.replace(one, reference=text.strip()) for one in kind.handles[2:]]
    assert {one.sighting for one in kind.engine.query(wrong).values()} == {Sighting.UNKNOWN}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", ["", *NOTICES, *PAGES])
def test_where_no_command_says_anything_nothing_is_said_of_a_job(name, text, tmp_path):
    """All that list jobs answer a notice, or nothing, with status 0: that is no empty queue."""
    kind = KINDS[name](tmp_path)
    kind.tell = lambda asked, reply: (
        reply if asked == "sdiag" else dataclasses.replace(reply, out=text, status=0, error="")
    )
    try:
        seen = kind.engine.query(kind.handles)
    except EngineUnavailable:
        seen = {}
    if name == "diracx" and text == "[]\n":
        return  # a list without a job is what it answers where there is none
    told = {key: one for key, one in seen.items() if one.sighting is not Sighting.UNKNOWN}
    assert not told
    with pytest.raises(EngineUnavailable):
        kind.engine.find(kind.handles)


# ── what is fetched ──


def test_no_list_of_files_makes_an_output_of_them(tmp_path, monkeypatch):
    """The grid has two files of an output where one is due, which waits for a person; half of a list is not a single file."""
    kind = Gb2(tmp_path)
    handle, draw = kind.handles[0], random.Random("gb2_ds_list")
    names = ("udst_0.root", "udst_1.root")

    def start(download, paths):
        download._folder.mkdir(exist_ok=True)
        for path in paths:
            (download._folder / Path(path).name).write_bytes(root_file("whole"))

    def list_files(command, *_):
        folder = command[1].partition("/sub")[0]
        return table(*(f"{folder}/sub00/{name}" for name in names))

    monkeypatch.setattr(Download, "_start", start)

    def whole(command, *_):
        return Reply("gb2_ds_list", 0, list_files(command), "")

    others = (" ID  Name  Status\n", "No datasets found\n")
    kind.engine._call = whole
    with pytest.raises(EngineUnavailable, match="2 files are being downloaded"):
        kind.engine.fetch(handle)
    kind.engine._call = lambda command, *_: mutate_reply(draw, whole(command), others)
    made = []
    for _ in range(MANY):
        with suppress(EngineUnavailable):
            kind.engine.fetch(handle)
        result = handle.folder / "result.json"
        if result.exists():
            made.append(json.loads(result.read_text())["failure"])
            result.unlink()
    assert made
    assert all(failure and failure["message"].startswith("one file is due of each") for failure in made)


# ── a service that is busy, a limit that is reached ──


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_diracx_is_left_alone_for_as_long_as_it_asks(tmp_path, status, monkeypatch):
    kind = Diracx(tmp_path)
    monkeypatch.setattr(kind.engine, "_prepare", lambda handle, _: f"[JobName={handle.name};]")
    kind.send = lambda *_, **__: Answer(status, {"retry-after": "30"}, b"slow down")
    batch = Batch(BATCH, tmp_path, tuple(kind.handles))
    # a gateway may have passed it on: so it is looked for
    assert set(kind.engine.submit(batch)) == {Uncertain(kind.engine.submit(batch)[0].reason, True, 30.0)}
    with pytest.raises(EngineUnavailable) as busy:
        kind.engine.query(kind.handles)
    assert busy.value.pause == 30.0
    kind.send = lambda *_, **__: Answer(503, {}, b"slow down")
    assert {type(one) for one in kind.engine.submit(batch)} == {Uncertain}


def test_the_limits_of_a_schedd_are_no_failure(tmp_path):
    kind = Condor(tmp_path)
    error = "HTCondorException: Number of submitted jobs would exceed MAX_JOBS_PER_OWNER"
    kind.engine._call = lambda *_: Reply("python", 0, json.dumps({"error": error}) + "\n", "")
    answers = kind.engine.submit(Batch(BATCH, tmp_path, tuple(kind.handles)))
    assert {(type(one), one.fewer) for one in answers} == {(Deferred, True)}
