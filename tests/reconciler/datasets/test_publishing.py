"""Publishing: nothing is overwritten, and what an interrupted run has put there already is accepted."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.execution.tracking import publication
from reconciler.execution.tracking.publication import PublishingRefused, StorageClosed, check_storage, publish
from reconciler.execution.tracking.workspace import Workspace
from reconciler.model.work_items import Move
from reconciler.outside.checksums import digest_content
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.storage.mounts import MARKER
from reconciler.planning import views
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def move(tmp_path):
    source = tmp_path / "attempts" / "a1" / "out.root"
    source.parent.mkdir(parents=True)
    source.write_text("data")
    return Move("a1", "out.root", str(tmp_path / "data"), "r00529/v1", 4, digest_content(source))


def test_a_file_comes_to_its_place_with_all_its_folders(tmp_path, move):
    publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    assert (tmp_path / "data" / "r00529" / "v1" / "out.root").read_text() == "data"


def test_what_is_there_already_and_equal_is_accepted(tmp_path, move):
    publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    (tmp_path / "attempts" / "a1" / "out.root").unlink()
    (tmp_path / "attempts" / "a1" / "out.root").write_text("data")
    publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))


@pytest.mark.parametrize("job", [True, False], ids=["a link to the job's file", "a file that others write"])
def test_what_somebody_may_still_change_is_replaced_by_a_copy(tmp_path, move, job):
    final = tmp_path / "data" / "r00529" / "v1" / "out.root"
    final.parent.mkdir(parents=True)
    os.link(tmp_path / "attempts/a1/out.root", final) if job else final.write_text("data")
    late = os.open(final, os.O_WRONLY)
    publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    os.write(late, b"LATE")
    os.close(late)
    assert final.read_text() == "data"
    assert final.stat().st_mode & 0o222 == 0
    assert os.listdir(final.parent) == ["out.root"]


def test_another_file_system_is_copied_to_and_nothing_is_left_beside(tmp_path, move):
    here = os.stat(tmp_path).st_dev
    other = next((one for one in ("/dev/shm", "/var/tmp", "/") if os.stat(one).st_dev != here), None)
    assert other is not None, "this test wants two file systems"
    with tempfile.TemporaryDirectory(dir=other) as elsewhere:
        far = replace(move, storage=elsewhere)
        publish([far], Workspace(tmp_path / "attempts", tmp_path / "batches"))
        publish([far], Workspace(tmp_path / "attempts", tmp_path / "batches"))
        assert os.listdir(Path(elsewhere, far.folder)) == ["out.root"]
        assert Path(elsewhere, far.folder, "out.root").read_text() == "data"


def test_a_storage_that_cannot_be_written_is_unavailable_and_not_failed(tmp_path, move):
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(SourceUnavailable, match="cannot be written"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))


def test_a_verified_file_that_is_gone_is_refused(tmp_path, move):
    (tmp_path / "attempts" / "a1" / "out.root").unlink()
    with pytest.raises(PublishingRefused, match="is gone"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))


@pytest.mark.parametrize("other", ["", "Data", "more data"])
def test_another_file_at_the_place_is_left_as_it_is(tmp_path, move, other):
    final = tmp_path / "data" / "r00529" / "v1" / "out.root"
    final.parent.mkdir(parents=True)
    final.write_text(other)
    with pytest.raises(PublishingRefused, match="exists and is another file"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    assert final.read_text() == other


def test_a_link_to_nowhere_is_another_file(tmp_path, move):
    final = tmp_path / "data" / "r00529" / "v1" / "out.root"
    final.parent.mkdir(parents=True)
    final.symlink_to(tmp_path / "nowhere")
    with pytest.raises(PublishingRefused, match="exists and is another file"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    assert final.is_symlink()


def test_a_link_to_an_equal_file_is_another_file(tmp_path, move):
    """What it points to may change or go; what is published may not."""
    final = tmp_path / "data" / "r00529" / "v1" / "out.root"
    final.parent.mkdir(parents=True)
    final.symlink_to(tmp_path / "attempts" / "a1" / "out.root")
    with pytest.raises(PublishingRefused, match="exists and is another file"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))


@pytest.mark.parametrize("late", [True, False], ids=["it came when it was made", "it was there before"])
def test_a_strangers_file_stops_its_unit_alone(tmp_path, monkeypatch, late):
    if late:
        monkeypatch.setattr(views, "find_taken", lambda *_: {})
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    taken = min(world.state.storage("data").rglob("*.root"))
    words = taken.read_bytes()
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    stranger = taken.parents[1] / "v2" / taken.name
    stranger.parent.mkdir()
    stranger.write_text("somebody else's")
    outcome = world.reconcile()
    assert outcome.produced == 1
    assert (stranger.read_text(), taken.read_bytes()) == ("somebody else's", words)
    if late:
        ((_, reason),) = outcome.failed
        assert str(stranger) in reason
        assert len(world.quarantined()) == 1
        world.reconcile()
        assert world.workspaces(), (
            "what was made and could not be published is kept for the person who decides"
        )
    else:
        ((action, _, _, reason),) = world.groups()
        assert (action, world.attempts()["verified"], len(outcome.failed)) == ("blocked", 4, 0)
        assert "`b2prod state rebuild`" in reason
    stranger.unlink()
    assert world.retry() == late
    assert world.reconcile().produced == 1
    assert stranger.exists() != late, "the place was given up with the attempt, where there was one"


def fail(number):
    def failing(source, target):
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_where_links_are_not_to_be_had_a_file_is_renamed_over_none(tmp_path, move, monkeypatch, number):
    monkeypatch.setattr(publication.os, "link", fail(number))
    workspace = Workspace(tmp_path / "attempts", tmp_path / "batches")
    publish([move], workspace)
    final = tmp_path / "data" / "r00529" / "v1" / "out.root"
    assert (final.read_text(), os.listdir(final.parent)) == ("data", ["out.root"])
    final.chmod(0o644)
    final.write_text("other")
    with pytest.raises(PublishingRefused, match="is another file"):
        publish([move], workspace)
    assert final.read_text() == "other"


def test_a_storage_that_can_do_neither_is_told_as_one_that_nothing_can_be_published_to(
    tmp_path, move, monkeypatch
):
    monkeypatch.setattr(publication.os, "link", fail(errno.EPERM))
    monkeypatch.setattr(publication, "_rename", fail(errno.EINVAL))
    with pytest.raises(StorageClosed, match=r"neither hard links nor renames .* `b2prod doctor`"):
        publish([move], Workspace(tmp_path / "attempts", tmp_path / "batches"))
    assert os.listdir(tmp_path / "data" / "r00529" / "v1") == []


def test_what_a_file_system_has_of_itself_makes_no_storage(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / MARKER).touch()
    with pytest.raises(StorageClosed, match="as if it were not mounted"):
        check_storage(str(tmp_path))
    (tmp_path / "r00529").mkdir()
    check_storage(str(tmp_path))
