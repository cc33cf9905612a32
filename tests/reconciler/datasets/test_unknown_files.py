"""Strangers in storages and in the state are listed, with what of them may go; folders of failed attempts go after some days."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from reconciler.ledger.schema.tables import attempts
from reconciler.ledger.store.database import opened
from reconciler.outside.clock import format_time
from tests.support.worlds.skimmed import Skimmed
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Skimmed(tmp_path_factory.mktemp("skimmed"))


def test_nothing_is_a_stranger_where_all_is_as_it_was_made(made, capsys):
    made.restore()
    capsys.readouterr()
    assert made.b2prod("verify", "--strangers") == Exit.FINE
    assert "0 unknown files" in capsys.readouterr().err
    assert made.b2prod("verify", "--strangers", "seven") == Exit.USAGE


def test_strangers_are_told_from_what_may_be_removed(made, capsys):
    made.restore()
    file = made.files[0]
    state = made.root / ".b2prod"
    expected = {
        file.with_name("other.root"): False,
        file.with_name(f".{file.name}.b2p-0000-seven-skims-e7r1-j0-i1-a1"): True,
        file.with_name("..b2prod.many.v1.json.part"): True,
        file.with_name(f".b2prod.many.v1.json.{'0' * 32}"): True,
        file.with_name(".b2prod.many.v9.json"): False,
        state / "data/.b2prod-place.json.01234567": True,
        state / "attempts/b2p-0000-other-i1-a1": False,
        state / "attempts/b2p-0000-other-i1-a1.01234567": True,
        state / "batches/b2p-0000-other-b1": False,
    }
    for path in expected:
        if path.parent.name in ("attempts", "batches"):
            path.mkdir(parents=True)
        else:
            path.touch()
    (state / "data/lost+found").mkdir()
    (state / "data/lost+found/#12").touch()
    capsys.readouterr()
    assert made.b2prod("verify", "--strangers", "--json") == Exit.FINDINGS
    found = json.loads(capsys.readouterr().out)
    assert {one["path"]: one["may_be_removed"] for one in found} == {
        str(path): removable for path, removable in expected.items()
    }
    shutil.rmtree(state / "attempts", ignore_errors=True)


def test_folders_of_failed_attempts_go_after_the_days_that_the_site_says(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}keep_failed_days: 3\n")
    world.pin()
    world.behave('report {"failure": {"class": "permanent", "message": "no"}}')
    world.reconcile()
    assert len(world.workspaces()) == 2
    for days, left in ((2, 2), (4, 0)):
        ended = format_time((datetime.now(UTC) - timedelta(days=days)).timestamp())
        with opened(world.state) as engine, engine.begin() as connection:
            connection.execute(update(attempts).values(ended=ended))
        world.reconcile()
        assert len(world.workspaces()) == left
