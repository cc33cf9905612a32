"""A reconciler that follows a branch: it goes by the head of main, read from objects, and never back."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ci.cli import run
from ci.exits import Exit
from ci.follow import APPLIED
from tests.keys import ORDER, Circle
from tests.launchpad import Launchpad

MANIFEST = "productions/campaigns/proc7/campaign.yaml"


@pytest.fixture
def circle(tmp_path):
    (tmp_path / "keys").mkdir()
    return Circle(tmp_path / "keys")


@pytest.fixture
def pad(tmp_path, circle):
    """The repository that people push to; `service` is the clone of a reconciler beside it, and `follow` a turn of it."""
    made = Launchpad(tmp_path / "checkout", circle)
    made.service = tmp_path / "service"
    made.git("clone", "-q", str(made.root), str(made.service))

    def follow(*options):
        before = ["--root", str(made.service), "--state", str(made.state.folder)]
        return run([*before, "reconcile", "--once", "--follow", "origin/main", *options])

    made.follow = follow
    return made


def test_what_is_at_the_head_is_launched_whatever_the_work_tree_is(pad, capsys):
    assert pad.follow() == Exit.REFUSED
    pad.sign(*ORDER)
    head = pad.commit("approved")
    (pad.service / MANIFEST).write_text("evil: true\n")
    assert pad.follow() == Exit.FINE
    assert "2 units produced" in capsys.readouterr().err
    assert pad.git("-C", str(pad.service), "rev-parse", APPLIED) == head
    assert (pad.service / MANIFEST).read_text() == "evil: true\n"
    assert pad.git("-C", str(pad.service), "rev-parse", "HEAD") != head, "nothing is checked out"
    assert pad.follow() == Exit.FINE


def test_s36_a_head_that_was_set_back_is_refused(pad, capsys):
    pad.sign(*ORDER)
    pad.commit("approved")
    assert pad.follow() == Exit.FINE
    pad.git("reset", "-q", "--hard", "HEAD~1")
    pad.commit("another history")
    assert pad.follow() == Exit.REFUSED
    assert "does not come after" in capsys.readouterr().err
    pad.git("-C", str(pad.service), "update-ref", "-d", APPLIED)
    assert pad.follow() == Exit.FINE  # a person said that it is meant


def test_s36_a_head_that_is_too_old_is_refused(pad, capsys):
    pad.sign(*ORDER)
    pad.commit("approved", GIT_COMMITTER_DATE="2019-02-15T09:00:00Z")
    assert pad.follow("--oldest", "30") == Exit.REFUSED
    days = (datetime.now(UTC) - datetime(2019, 2, 15, 9, tzinfo=UTC)).days
    assert f"{days} days old" in capsys.readouterr().err
    assert pad.follow() == Exit.FINE


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=365 * 200)])
def test_s36_a_head_that_is_dated_in_the_future_to_stay_young_is_refused(pad, capsys, ahead):
    pad.sign(*ORDER)
    date = f"@{(datetime.now(UTC) + ahead).timestamp():.0f} +0000"
    pad.commit("approved", GIT_COMMITTER_DATE=date)
    assert pad.follow("--oldest", "30") == Exit.REFUSED
    assert "in the future: its age cannot be told" in capsys.readouterr().err
    pad.commit("on top of it")
    assert pad.follow("--oldest", "30") == Exit.FINE


def test_a_remote_that_does_not_answer_is_a_source_that_is_not_available(pad, capsys):
    pad.root.rename(pad.root.with_name("gone"))
    assert pad.follow() == Exit.UNAVAILABLE
    assert "cannot be fetched" in capsys.readouterr().err


@pytest.mark.parametrize(
    "branch", ["main", "--upload-pack=x/main", "origin/../main", "origin/", "ext::sh -c x/main"]
)
def test_s8_what_is_followed_is_no_option(pad, capsys, branch):
    before = ["--root", str(pad.service), "--state", str(pad.state.folder)]
    assert run([*before, "reconcile", "--once", f"--follow={branch}"]) == Exit.USAGE
    assert "origin/main" in capsys.readouterr().err


def test_s37_nothing_that_is_fetched_runs(pad, tmp_path):
    canary = tmp_path / "canary"
    hook = f"#!/bin/sh\ntouch {canary}\n"
    for name in ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        # as a hostile tool on the host might have left them; a remote cannot
        file = pad.service / ".git/hooks" / name
        file.write_text(hook)
        file.chmod(0o755)
    pad.write(".gitmodules", f'[submodule "x"]\n\tpath = vendor/x\n\turl = ext::sh -c "touch {canary}"\n')
    pad.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    pad.write(".lfsconfig", f"[lfs]\n\turl = ext::{canary}\n")
    pad.git("add", "-A", ".gitmodules", ".gitattributes", ".lfsconfig")
    submodule = f"160000,{pad.git('rev-parse', 'HEAD')},vendor/x"
    pad.git("update-index", "--add", "--cacheinfo", submodule)
    pad.git("commit", "-q", "-m", "hostile")
    before = sorted(os.listdir(pad.service))
    pad.sign(*ORDER)
    pad.commit("approved")
    assert pad.follow() == Exit.FINE
    assert not canary.exists()
    assert sorted(os.listdir(pad.service)) == before
    assert not Path(pad.service, ".git/modules").exists()
