"""What a job may do with its folder, and beside it: it overwrites nothing, fills nothing, and holds up no other."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import zlib

import numpy as np
import pytest

from reconciler.execution.tracking import workspace
from reconciler.execution.tracking.publication import PublishingRefused, find_shared_events, publish
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.schema.tables import attempts
from reconciler.model.work_items import Move
from renderer.event_data.event_numbers import FileNumbers, write_record
from renderer.jobs.logs import find_signature
from tests.support.worlds.worlds import ONE_STEP, World


def plant_link(folder, victim):
    folder.mkdir()
    (folder / "job.json").symlink_to(victim)


def plant_folder(folder, victim):
    folder.symlink_to(victim.parent)


def plant_file(folder, _victim):
    folder.write_text("")


def plant_mark(folder, _victim):
    (folder / "closed").mkdir(parents=True)
    (folder / "closed" / "file").write_text("")
    (folder / "closed").chmod(0)
    (folder / "started").write_text("x 1")


@pytest.mark.parametrize("plant", [plant_link, plant_folder, plant_file, plant_mark])
def test_what_a_job_lays_in_the_way_of_a_later_attempt_is_put_aside(tmp_path, plant):
    """Names of attempts can be told beforehand; on the reconciler's host a link leads to its own files."""
    world = World(tmp_path, campaign=ONE_STEP, files=[1])
    world.behave('report {"failure":{"class":"permanent","message":"x"}}')
    world.reconcile()
    ((first,),) = world.rows(attempts, "name")
    victim = tmp_path / "elsewhere" / "ledger"
    victim.parent.mkdir()
    victim.write_text("a ledger")
    later = world.state.attempts / first.replace("-i1-", "-i2-")
    plant(later, victim)
    world.behave("fine")
    world.retry()
    assert world.reconcile().produced == 1
    assert [name for (name,) in world.rows(attempts, "name")] == [first, later.name]
    assert victim.read_text() == "a ledger"
    assert os.listdir(victim.parent) == ["ledger"]
    for closed in world.state.attempts.glob("*/closed"):
        closed.chmod(0o700)  # else pytest cannot clear up


@pytest.fixture
def move(tmp_path):
    (tmp_path / "attempts" / "a1").mkdir(parents=True)
    (tmp_path / "attempts" / "a1" / "out.root").write_bytes(b"true")
    (tmp_path / "data").mkdir()
    checksum = f"sha256:{hashlib.sha256(b'true').hexdigest()}"
    return Move("a1", "out.root", str(tmp_path / "data"), "r00529/v1", 4, checksum)


@pytest.mark.parametrize("can_share", [True, False])
def test_a_file_that_grew_after_it_was_verified_does_not_fill_the_storage(
    tmp_path, move, monkeypatch, can_share
):
    if not can_share:

        def refuse(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    synced = []

    def note(opened):
        found = os.fstat(opened)
        if stat.S_ISREG(found.st_mode):  # the size of a folder is the file system's affair
            synced.append(found.st_size)

    monkeypatch.setattr(os, "fsync", note)
    with (tmp_path / "attempts" / "a1" / "out.root").open("r+b") as stream:
        stream.truncate(10**12)
    begun = time.monotonic()
    with pytest.raises(PublishingRefused, match="changed after it was verified"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    assert time.monotonic() - begun < 5
    assert synced == [move.size + 1], "one byte more tells that it grew"
    assert list((tmp_path / "data").rglob("*.root*")) == []


def test_events_are_counted_in_the_file_whose_checksum_counts(tmp_path, monkeypatch):
    """A process that the job left behind puts another file in its place while the events are counted."""
    world = World(tmp_path, campaign=ONE_STEP, files=[1])
    count = workspace.count_events

    def swap(file, *rest):
        (output,) = world.state.attempts.glob("*/mdst.*.root")
        output.rename(output.with_name("kept"))
        output.write_bytes((tmp_path / "events" / "9.root").read_bytes())
        try:
            return count(file, *rest)
        finally:
            output.unlink()
            output.with_name("kept").rename(output)

    monkeypatch.setattr(workspace, "count_events", swap)
    outcome = world.reconcile()
    assert outcome.produced == 0
    assert {reason for (reason,) in world.rows(attempts, "reason")} == {
        "mdst: mdst.1.0.root was changed while it was looked at"
    }


@pytest.mark.parametrize(
    "text",
    [
        "GLIBC_" * 40_000,
        "".join(" " * k + "Traceback (most recent call last):\n" for k in range(480)) + "\n" * 120_000,
        "a." * 120_000,
        "\x1b[" * 120_000,
        "[ERROR] " + "/" * 250_000,
    ],
    ids=["names of symbols", "tracebacks", "modules", "escapes", "paths"],
)
def test_a_log_that_is_made_to_keep_its_reader_busy_does_not(text):
    begun = time.process_time()
    find_signature(text)
    assert time.process_time() - begun < 2


def test_a_record_of_events_that_its_job_cannot_have_read_is_not_unpacked(tmp_path, monkeypatch):
    """A few megabytes of it would unpack to all memory that there is."""
    folders = Workspace(tmp_path / "attempts", tmp_path / "batches")
    large = write_record([FileNumbers("a.root", np.arange(1, 10**6, dtype=np.uint32))])
    for name in ("a1", "a2"):
        (folders.folder / name).mkdir(parents=True)
        (folders.folder / name / "event-numbers").write_bytes(large)
    checksum = f"sha256:{hashlib.sha256(large).hexdigest()}"
    inflated = []
    plain = zlib.decompressobj
    monkeypatch.setattr(
        "renderer.event_data.event_numbers.zlib.decompressobj", lambda: inflated.append(1) or plain()
    )
    said = find_shared_events([("a1", checksum, 10), ("a2", checksum, 10)], folders, "3:1")
    assert said is not None
    assert "more events than its job read" in said
    assert inflated == []
    line = json.dumps({"schema": "event-numbers/1", "files": []}).encode() + b"\n"
    for name in ("a1", "a2"):
        with (folders.folder / name / "event-numbers").open("wb") as stream:
            stream.write(line)
            stream.truncate(10**12)
    said = find_shared_events([("a1", checksum, 10), ("a2", checksum, 10)], folders, "3:1")
    assert said is not None
    assert "was verified" in said
