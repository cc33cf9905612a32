"""Who shares a machine with a job: reads its arguments and the queue, and gives jobs of their own our names."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.engines.diracx.jobs import describe, read_files
from reconciler.engines.local.engine import LocalEngine
from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.execution.tracking.workspace import Workspace
from reconciler.model.engine import Batch, EngineUnavailable, JobHandle, Sighting
from schemas.policy.site import Site
from tests.support.inputs.runtime_jobs import job
from tests.support.worlds.processes import wait_until

NONCE = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"
NAME = "b2p-4f1c-proc7-reco-b0123456789abcdef"
LOOK = """
import os, pathlib
parents, seen = os.getppid(), []
for file in (f"/proc/{parents}/cmdline", "/proc/self/cmdline", "/proc/self/environ"):
    seen.append(pathlib.Path(file).read_bytes().decode())
seen += os.listdir()
pathlib.Path("seen").write_text("\\n".join(seen))
open("out.root", "w").write("x")
"""


@pytest.fixture
def ticket(tmp_path):
    folder = tmp_path / "attempts" / f"{NAME}-a1"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job(tmp_path, ["@python", "-c", LOOK])))
    return JobHandle(folder.name, NONCE, folder, NAME, 0, "2019-02-07T12:00:00Z")


def assert_told(ticket):
    wait_until((ticket.folder / "result.json").exists)
    assert json.loads((ticket.folder / "result.json").read_text())["nonce"] == NONCE
    seen = (ticket.folder / "seen").read_text()
    assert "job.py" in seen
    assert NONCE not in seen
    assert "nonce" not in seen


def test_s35_no_process_of_a_job_of_this_machine_has_the_nonce_among_its_arguments(ticket):
    engine = LocalEngine(Site("here", "local", "data"))
    engine.submit(Batch(NAME, ticket.folder.parent, (ticket,)))
    wait_until(lambda: engine.query([ticket])[ticket.name].sighting is Sighting.ENDED)
    assert_told(ticket)


def test_s35_no_process_of_a_member_of_a_batch_has_the_nonce_among_its_arguments(ticket, tmp_path):
    batch = Batch(NAME, tmp_path / "batches" / NAME, (ticket,))
    Workspace(tmp_path / "attempts", tmp_path / "batches").prepare_batch(batch)
    assert (batch.folder / "members.json").stat().st_mode & 0o777 == 0o600
    subprocess.run([sys.executable, batch.folder / "member.py", "0"], check=True, timeout=60)
    assert_told(ticket)


def test_s35_the_description_of_a_job_of_the_grid_does_not_have_the_nonce(ticket, tmp_path):
    files, described = read_files(ticket, mounted=True)
    settings = {"url": "https://x", "vo": "belle", "group": "belle_user", "user": "somebody", "token": "x"}
    site = Site("grid", "diracx", "data", engine_settings={"diracx": settings})
    written = describe(ticket, described, "sandbox", site)
    assert NONCE not in repr(written)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    words = str(written["Arguments"]).split()
    words = words[words.index("job.py") :]
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, timeout=60)
    assert_told(JobHandle(ticket.name, NONCE, tmp_path, NAME, 0, ticket.begun))


# ── Slurm's queue ──

SQUEUE = """#!/bin/sh
echo "squeue $*" >> {here}/said
echo "JOBID|STATE|REASON|WORK_DIR|NAME"
case "$*" in *--me*) cat {here}/mine ;; *) cat {here}/mine {here}/others ;; esac
"""
SACCT = """#!/bin/sh
echo "sacct $*" >> {here}/said
echo "JobID|State|ExitCode|WorkDir|JobName"
case "$*" in *--user={uid}*) cat {here}/past ;; *) cat {here}/past {here}/others ;; esac
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Answers of squeue and sacct: jobs as (id, folder, name) of ours, of others, and of the past."""
    here = tmp_path / "commands"
    here.mkdir()
    texts = {"squeue": SQUEUE, "sacct": SACCT, "sdiag": "#!/bin/sh\necho 'DBD Agent queue size: 0'\n"}
    for name, text in texts.items():
        (here / name).write_text(
            text.replace("{here}", shlex.quote(str(here))).replace("{uid}", str(os.getuid()))
        )
        (here / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")

    def answer(mine=(), others=(), past=()):
        for name, jobs in (("mine", mine), ("others", others), ("past", past)):
            rows = [f"{number}|RUNNING|None|{folder}|{of}\n" for number, folder, of in jobs]
            (here / name).write_text("".join(rows))

    return answer


HOME = f"/state/batches/{NAME}"
FOUND = {
    "ours": ({"mine": [(7, HOME, NAME)]}, ["7"]),
    "ours, which accounting has alone": ({"past": [(7, HOME, NAME)]}, ["7"]),
    "another user's of our name": ({"others": [(7, HOME, NAME)]}, []),
    "another of our own user": ({"mine": [(7, "/home/b2prod", NAME)]}, []),
    "one that works in a folder like ours": ({"mine": [(7, f"/tmp/{NAME}", NAME)]}, []),
    "one in ours that has another name": ({"mine": [(7, HOME, "x")]}, []),
    "a name that looks like a row": ({"mine": [(7, "/tmp", f"x|{HOME}|{NAME}")]}, []),
    "ours beside a stranger": (
        {"mine": [(7, "/tmp", NAME), (8, HOME, NAME)], "others": [(9, HOME, NAME)]},
        ["8"],
    ),
    "a stranger that was there before": ({"past": [(3, "/tmp", NAME)], "mine": [(8, HOME, NAME)]}, ["8"]),
}


@pytest.mark.parametrize("case", FOUND)
def test_s35_only_a_job_of_our_user_in_our_folder_is_adopted(case, queue):
    answers, wanted = FOUND[case]
    queue(**answers)
    mine = JobHandle("a", NONCE, Path("/state/attempts/a"), NAME, 0, "2019-02-07T12:00:00Z", home=Path(HOME))
    assert SlurmEngine(Site("here", "slurm", "data")).find([mine]) == {"a": wanted}


def test_s35_a_job_that_slurm_does_not_place_is_neither_adopted_nor_absent(queue):
    queue(mine=[(7, "", NAME)])
    mine = JobHandle("a", NONCE, Path("/state/attempts/a"), NAME, 0, "2019-02-07T12:00:00Z", home=Path(HOME))
    with pytest.raises(EngineUnavailable, match="in which folder 7 works"):
        SlurmEngine(Site("here", "slurm", "data")).find([mine])
