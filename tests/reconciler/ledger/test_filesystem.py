"""Where SQLite may be, and where it may not."""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import State, opened
from reconciler.outside import filesystem
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.filesystem import find_type

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


def mount(tmp_path, monkeypatch, kind, at):
    text = str(at).replace(" ", "\\040")
    (tmp_path / "mountinfo").write_text(
        f"{ROOT}37 22 0:32 / {text} rw,relatime shared:2 - {kind} server:/export rw\n"
    )
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mountinfo")


@pytest.mark.parametrize("kind", ["nfs4", "gpfs", "lustre", "afs", "fuse.sshfs"])
def test_b38_a_ledger_on_a_shared_file_system_is_refused_and_told_where_to(
    tmp_path, monkeypatch, capsys, kind
):
    mount(tmp_path, monkeypatch, kind, tmp_path / "shared disk")
    state = State(tmp_path / "shared disk" / "state")
    with pytest.raises(SourceUnavailable, match=f"is on {kind}.*--database"), opened(state):
        pass
    assert not (state.folder / "b2prod.sqlite").exists()
    (tmp_path / "productions").mkdir()
    arguments = [
        "--root",
        str(tmp_path),
        "--state",
        str(state.folder),
        "runs",
        "remove",
        "3:1",
        "--reason",
        "x",
    ]
    assert run(arguments) == Exit.UNAVAILABLE
    assert "PostgreSQL" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay"])
def test_a_ledger_on_a_local_disk_is_fine(tmp_path, monkeypatch, kind):
    mount(tmp_path, monkeypatch, kind, tmp_path / "here")
    with opened(State(tmp_path / "here")):
        pass


def test_the_innermost_mount_counts_and_links_are_followed(tmp_path, monkeypatch):
    mount(tmp_path, monkeypatch, "gpfs", tmp_path / "group")
    (tmp_path / "group" / "state").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "group")
    assert find_type(tmp_path / "link" / "state") == "gpfs"
    assert find_type(tmp_path / "groups") == "ext4"


def test_a_machine_that_does_not_tell_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "nothing")
    assert find_type(tmp_path) is None
    with opened(State(tmp_path)):
        pass
