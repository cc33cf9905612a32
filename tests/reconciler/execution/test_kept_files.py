"""What good jobs leave is kept once for each content, for the days of its site; what cannot be kept fails nobody."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema.tables import attempts, kept_files
from reconciler.ledger.store import kept_files as store_module
from reconciler.ledger.store.database import opened
from reconciler.ledger.store.kept_files import KeptFiles
from reconciler.ledger.store.privacy import is_open
from reconciler.outside.clock import format_time
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain
from schemas.files.times import read_time
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def store(tmp_path):
    return KeptFiles(tmp_path / "kept")


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"first\nlast\n")
    return file


def test_equal_contents_are_one_file(store, file):
    digest = store.keep(file)
    assert store.keep(file) == digest
    assert store.read(digest) == b"first\nlast\n"
    assert [*store.folder.glob("*/*")] == [store.path(digest)]
    store.remove(digest)
    store.remove(digest)
    with pytest.raises(SourceUnavailable, match="No such file"):
        store.read(digest)


def test_what_a_killed_process_began_is_replaced(store, file):
    digest = store.keep(file)
    part = store.path(digest).with_name(f".{digest}.part")
    store.path(digest).rename(part)
    part.write_bytes(b"half")
    assert store.keep(file) == digest
    assert store.read(digest) == b"first\nlast\n"
    assert not part.exists()


def test_of_a_long_file_the_end_is_kept_and_says_so(store, file, monkeypatch):
    monkeypatch.setattr(store_module, "LARGEST", 5)
    digest = store.keep(file)
    monkeypatch.undo()
    assert store.read(digest) == b"[b2prod kept no more than the end: 6 bytes before it are left out]\nlast\n"


@pytest.mark.parametrize("content", [b"", b"noise", b"\x1f\x8b\x08"])
def test_what_was_spoilt_is_not_shown(store, file, content):
    digest = store.keep(file)
    store.path(digest).write_bytes(content)
    with pytest.raises(SourceUnavailable, match=r"cannot be read|is not what was kept"):
        store.read(digest)


def test_a_pipe_is_not_waited_for(store, tmp_path):
    os.mkfifo(tmp_path / "log")
    with pytest.raises(NotPlain):
        store.keep(tmp_path / "log")


@pytest.fixture
def world(tmp_path, database):
    return World(tmp_path, campaign=ONE_STEP, files=(2, 1))


def read_kept(world):
    """What the ledger says was kept of each attempt."""
    return [json.loads(kept or "{}") for (kept,) in world.rows(attempts, "kept")]


def test_steering_job_and_log_are_kept_before_the_folder_goes(world, capsys):
    world.reconcile()
    assert world.workspaces() == []
    kept, store = read_kept(world), KeptFiles(world.state.kept)
    assert [sorted(one) for one in kept] == [["job.json", "log", "steering.py"]] * 3
    assert len({one["job.json"] for one in kept}) == 3
    assert len({one["steering.py"] for one in kept}) == 1, "one copy for all"
    keys = {json.loads(store.read(one["job.json"]))["key"] for one in kept}
    assert len(keys) == 3
    assert store.read(kept[0]["steering.py"]) == b"mode = 'all'\n"
    assert not is_open(world.state.kept)
    capsys.readouterr()
    assert run(["--root", str(world.root), "explain", "proc7/reco/3:1"]) == Exit.FINE
    assert capsys.readouterr().out.count("kept, for `b2prod logs`: job.json, log, steering.py") == 2
    assert run(["--root", str(world.root), "verify", "--strangers"]) == Exit.FINE


def test_what_cannot_be_kept_is_told_and_fails_nobody(world):
    world.state.kept.write_text("not a folder")
    outcome = world.reconcile()
    assert (outcome.produced, outcome.failed) == (2, [])
    assert read_kept(world) == [{}, {}, {}]
    assert sorted(outcome.troubles) == [
        f"3 files of jobs that ended well could not be kept: {name}: File exists"
        for name in ("job.json", "log", "steering.py")
    ]


def test_a_log_that_is_none_is_told_and_the_rest_is_kept(world):
    world.behave("unlog", "reco-2")
    outcome = world.reconcile()
    assert (outcome.produced, outcome.failed) == (2, [])
    told = "1 files of jobs that ended well could not be kept: log is not a plain file"
    assert [*outcome.troubles] == [told]
    assert Counter(len(one) for one in read_kept(world)) == {3: 2, 2: 1}


def age(world, days, *digests):
    """Makes it so long ago that jobs used these files."""
    used = format_time((datetime.now(UTC) - timedelta(days=days)).timestamp())
    with opened(world.state) as engine, engine.begin() as connection:
        mine = kept_files.c.digest.in_(digests)
        assert connection.execute(update(kept_files).where(mine).values(used=used)).rowcount == len(digests)


def list_files(world):
    return {path.name.partition(".")[0] for path in world.state.kept.glob("*/*")}


def test_files_go_after_the_days_of_their_site_and_what_others_use_stays(world, capsys):
    site = world.root / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}keep_job_days: 3\n")
    world.pin()
    world.reconcile()
    (first, *others), everything = read_kept(world), list_files(world)
    age(world, 2, *everything)
    world.reconcile()
    assert list_files(world) == everything
    age(world, 4, first["job.json"])
    world.reconcile()
    assert list_files(world) == everything - {first["job.json"]}
    assert {digest for (digest,) in world.rows(kept_files, "digest")} == list_files(world)
    assert read_kept(world) == [first, *others], "the ledger still says what it was"
    age(world, 4, *list_files(world))
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(kept_files).values(site="gone"))
    world.reconcile()
    assert list_files(world) == everything - {first["job.json"]}, "90 days at a site that is not declared"


def test_what_a_later_job_left_too_stays(world):
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    before = list_files(world)
    age(world, 80, *before)
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        for digest, used in connection.execute(select(kept_files.c.digest, kept_files.c.used)).all():
            values = {"used": format_time((read_time(used) - timedelta(days=20)).timestamp())}
            connection.execute(update(kept_files).where(kept_files.c.digest == digest).values(values))
    world.reconcile()
    assert list_files(world) == {*read_kept(world)[-1].values()}, "as twenty days later"
