"""Attacks on what leaves the disk: nothing outside of the storage is touched, and only the pinned root decides."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from reconciler.ledger.schema.operation_tables import copies, operations
from reconciler.ledger.store.database import opened
from reconciler.outside.storage.storage_tree import StorageTree
from schemas.policy.retention import RETENTION
from tests.support.worlds.scheme_world import SchemeWorld
from tests.support.worlds.taped_world import TapedWorld
from tests.support.worlds.worlds import ONE_STEP


@pytest.fixture
def taped(tmp_path):
    """proc7 is on tape and on disk, and its successor is validated: the next turn would release it."""
    world = TapedWorld(tmp_path / "world")
    world.turn()
    world.validate()
    return world


def link_outside(file, outside):
    file.rename(outside)
    file.symlink_to(outside)


def name_twice(file, outside):
    os.link(file, outside)


def exchange(file, outside):
    outside.write_bytes(b"")
    file.unlink()
    file.write_bytes(b"somebody else's")


def link_folder(file, outside):
    folder = file.parent
    folder.rename(outside)
    folder.symlink_to(outside, target_is_directory=True)


@pytest.mark.parametrize("attack", [link_outside, name_twice, exchange, link_folder])
def test_what_is_not_what_was_published_stays(taped, tmp_path, attack):
    storage = taped.state.storage("data")
    names = taped.on_disk("proc7")
    outside = tmp_path / "outside"
    attack(storage / names[0], outside)
    before = (storage / names[0]).read_bytes()
    outcome = taped.turn()
    assert (storage / names[0]).read_bytes() == before
    assert outside.exists()
    assert not (storage / names[1]).exists()
    assert len(outcome.failed) == 1
    assert ("disk", False) in taped.copies("proc7")
    assert "refused" in {state for state, _ in taped.items()}


def test_a_storage_that_still_lists_what_was_removed_proves_no_absence(taped, monkeypatch):
    storage = taped.state.storage("data")
    names = [name.rpartition("/")[2] for name in taped.on_disk("proc7")]
    listed = StorageTree.list_names
    with monkeypatch.context() as lying:
        lying.setattr(StorageTree, "list_names", lambda tree, folder: [*listed(tree, folder), *names])
        taped.turn()
        assert ("disk", False) not in taped.copies("proc7")
        assert ("release", "proc7/reco/mdst", "intended") in taped.operations()
    taped.turn()
    assert taped.copies("proc7") == {("tape", True), ("disk", False)}
    assert storage.exists()


def test_a_tape_copy_that_the_ledger_lost_releases_nothing(taped):
    with opened(taped.state) as engine, engine.begin() as connection:
        connection.execute(update(copies).values(folder="elsewhere"))
    taped.turn()
    assert len(taped.on_disk("proc7")) == 2


def test_only_the_pinned_retention_counts(tmp_path, circle):
    world = SchemeWorld(tmp_path, circle, campaign=ONE_STEP, files=(1,))
    world.begin()
    world.approve("proc7")
    assert world.turn() == Exit.FINE
    site = world.root / "productions/sites/local.yaml"
    evil = tmp_path / "evil"
    site.write_text(f"{site.read_text()}archive: {{command: [/usr/bin/touch, {evil}]}}\n")
    world.write(RETENTION, "schema: retention/1\nrules:\n  - {site: local, tape: all, sample: 1}\n")
    world.commit("archive everything, by my own command")
    world.turn()
    assert world.rows(operations, "kind") == []
    assert not evil.exists()
