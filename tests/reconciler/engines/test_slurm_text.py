"""What Slurm's commands print, also what a test's Slurm cannot be made to print."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engines.arrays import expand, join
from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.engines.slurm.replies import pick, pick_whole, read_minutes, read_records
from reconciler.model.engine import Batch, JobHandle, Sighting
from reconciler.outside.command import MOST, Reply, call
from schemas.policy.site import BatchSettings, Option, Site


def read(text):
    return read_records(Reply("squeue", 0, f"JOBID|STATE|REASON|NAME\n{text}", ""), 3)


def handle(reference, batch="batch", index=0):
    return JobHandle("a", "n", Path("/nowhere"), batch, index, "2019-02-07T12:00:00Z", reference)


@pytest.mark.parametrize(
    ("state", "sighting", "failure"),
    [
        ("COMPLETED", Sighting.ENDED, None),
        ("FAILED", Sighting.ENDED, None),
        ("CANCELLED by 4711", Sighting.ENDED, "transient"),
        ("CANCELLED+", Sighting.ENDED, "transient"),
        ("TIMEOUT", Sighting.ENDED, "transient"),
        ("PREEMPTED", Sighting.ENDED, "transient"),
        ("OUT_OF_MEMORY", Sighting.ENDED, "permanent"),
        ("NODE_FAIL", Sighting.ENDED, "infrastructure"),
        ("BOOT_FAIL", Sighting.ENDED, "infrastructure"),
        ("PENDING", Sighting.PENDING, None),
        ("REQUEUE_HOLD", Sighting.PENDING, None),
        ("RUNNING", Sighting.RUNNING, None),
        ("COMPLETING", Sighting.RUNNING, None),
        ("SUSPENDED", Sighting.RUNNING, None),
        ("STATE_OF_2031", Sighting.UNKNOWN, None),
        ("", Sighting.UNKNOWN, None),
    ],
)
def test_states(state, sighting, failure):
    seen = pick(read(f"7|{state}|None|batch\n"), handle("7")).observe()
    assert (seen.sighting, seen.failure) == (sighting, failure)


def test_a_fresh_record_without_its_exit_code_is_of_no_class():
    """After an outage of slurmdbd a record is FAILED 0:0 first, and has its exit code seconds later."""
    fresh, later = (pick(read(f"7|FAILED|{code}|batch\n"), handle("7")).observe() for code in ("0:0", "3:0"))
    assert (fresh.sighting, fresh.failure) == (later.sighting, later.failure)
    assert (fresh.reason, later.reason) == ("FAILED", "FAILED, 3:0")


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("[0-9999]", range(10000)),
        ("[16-99%20]", range(16, 100)),
        ("[0-9:3,11]", [0, 3, 6, 9, 11]),
        ("[5]", [5]),
        ("[0-1,11]", [0, 1, 11]),
        ("[1,3,5...]", None),
        ("[9-0]", None),
        ("[]", None),
        ("[0-99999999]", None),
        ("[0-9:0]", None),
    ],
)
def test_elements(text, indices):
    assert expand(text) == (None if indices is None else list(indices))


@given(st.sets(st.integers(0, 999), min_size=1))
def test_elements_are_written_as_they_are_read(indices):
    assert expand(join(indices)) == sorted(indices)


def test_an_array_that_was_cancelled_before_it_started_is_one_row():
    source = read("11_[0-9999]|CANCELLED by 0|0:0|batch\n")
    assert source.trouble is None
    assert all(pick(source, handle(f"11_{index}", index=index)) for index in (0, 17, 9999))
    assert pick(source, handle("11_10000", index=10000)) is None
    assert pick(source, handle("11_3", batch="another", index=3)) is None
    whole = read("11|CANCELLED|PartitionDown|batch\n11_1|RUNNING|None|batch\n")
    assert pick_whole(whole, handle("11_3")).observe().sighting is Sighting.ENDED
    assert pick(whole, handle("11_1", index=1)).observe().sighting is Sighting.RUNNING
    assert pick_whole(read("11|RUNNING|None|batch\n"), handle("11_3")) is None


@pytest.mark.parametrize(
    "text",
    [
        "please wait\n7|RUNNING|None|batch\n",
        "7|RUNNING|None|batch\n8|RUNN",
        "7|RUNNING|None|batch\n8_[1,3,...]|PENDING|None|batch\n",
        "7|RUNNING|None|batch\nslurm_load_jobs error\n",
    ],
)
def test_rows_among_noise_are_read_and_nothing_is_proven_by_what_is_not_there(text):
    source = read(text)
    assert pick(source, handle("7")).observe().sighting is Sighting.RUNNING
    assert source.trouble


def test_names_of_others_may_hold_anything():
    source = read("7|RUNNING|None|batch\n8|RUNNING|None|what|ever|it is\n9+0|RUNNING|None|het\n")
    assert source.trouble is None
    assert len(source.records) == 3


@given(st.text())
def test_no_text_is_an_error(text):
    read(text)
    expand(text)
    read_minutes(text)


def test_b25_how_a_batch_is_submitted(tmp_path, monkeypatch):
    """Never started again by Slurm itself, and nothing of the submitter's own habits."""
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/said\nenv >> {tmp_path}/environment\necho 7\n'
    )
    sbatch.chmod(0o755)
    for name, value in (
        ("PATH", f"{tmp_path}:{os.environ['PATH']}"),
        ("SBATCH_REQUEUE", "1"),
        ("SBATCH_ARRAY_INX", "1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    batch = BatchSettings(
        "belle2", 60, 4000, running=20, python="/usr/bin/python3", options=(Option("constraint", "el9"),)
    )
    engine = SlurmEngine(Site("here", "slurm", "data", queue="prod", batch=batch))
    answers = engine.submit(Batch("b2p-x", tmp_path, tuple(handle(None, index=index) for index in range(3))))
    assert [one.reference for one in answers] == ["7_0", "7_1", "7_2"]
    said = (tmp_path / "said").read_text().splitlines()
    wanted = {"--no-requeue", "--job-name=b2p-x", "--array=0-2%20", "--partition=prod", "--account=belle2"}
    assert wanted | {"--time=60", "--mem=4000", "--constraint=el9"} <= set(said)
    assert said[-3:] == [f"{tmp_path}/element.sh", "/usr/bin/python3", f"{tmp_path}/member.py"]
    assert not {line.split("=")[0] for line in (tmp_path / "environment").read_text().splitlines()} & {
        "SBATCH_REQUEUE", "SBATCH_ARRAY_INX", "SLURM_JOB_ID",
    }  # fmt: skip
    bundles = tuple(handle(None, index=index) for index in (0, 0, 0, 1, 1))
    answers = engine.submit(Batch("b2p-y", tmp_path, bundles, memory=2000, minutes=150))
    assert [one.reference for one in answers] == ["7_0", "7_0", "7_0", "7_1", "7_1"]
    said = (tmp_path / "said").read_text().splitlines()
    assert {"--array=0-1%20", "--time=150", "--mem=2000"} <= set(said)
    assert [one.reference for one in engine.submit(Batch("b2p-z", tmp_path, bundles[:3]))] == ["7", "7", "7"]
    assert not [word for word in (tmp_path / "said").read_text().splitlines() if word.startswith("--array")]


def test_limits_of_time():
    assert read_minutes("1-12:30:00") == 2190
    assert read_minutes("00:30:00") == 30
    assert read_minutes("UNLIMITED") is None


def test_a_command_ends_in_time_with_all_that_it_started(tmp_path):
    script = tmp_path / "slow"
    script.write_text(f"#!/bin/sh\necho begun\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o755)
    reply = call([str(script)], 1.0)
    assert (reply.status, reply.out) == (None, "begun\n")
    assert "did not answer in time" in reply.describe()
    child = (tmp_path / "child").read_text().strip()
    state = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True, check=False)
    assert state.stdout.strip()[:1] in {"", "Z"}


def test_a_command_that_is_not_there_certainly_did_nothing(tmp_path):
    assert call([str(tmp_path / "gone")], 1.0).missing
    script = tmp_path / "impostor"
    script.write_text("#!/bin/sh\nexit 127\n")
    script.chmod(0o755)
    assert not call([str(script)], 5.0).missing


@pytest.mark.parametrize("reference", ["", "no such id", "11_[0-3]", "11_4", "11_3 ", "11+1", "11"])
def test_a_reference_that_is_not_of_the_attempts_place_names_no_job(reference):
    source = read("11_[0-9]|RUNNING|None|batch\n")
    assert pick(source, handle("11_3", index=3))
    assert pick(source, handle(reference, index=3)) is None


@pytest.mark.slow
def test_a_command_that_says_more_than_anybody_needs_is_ended():
    reply = call(["sh", "-c", "echo begun >&2; exec yes"], 60)
    assert reply.status is None
    assert len(reply.out) < 2 * MOST
    assert reply.describe().startswith("`sh` said too much: begun")


def test_a_command_that_never_stops_talking_is_ended_in_time():
    reply = call(["sh", "-c", "while :; do echo still here; done"], 0.3)
    assert (reply.status, reply.flooded) == (None, False)
    assert reply.describe() == "`sh` did not answer in time: still here"


def test_a_command_that_closes_its_pipes_and_goes_on_is_ended_in_time():
    reply = call(["sh", "-c", "exec >&- 2>&-; exec sleep 60"], 0.3)
    assert (reply.status, reply.out) == (None, "")
    assert reply.describe() == "`sh` did not answer in time"
