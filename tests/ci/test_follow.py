"""A reconciler that follows a branch: it goes by the head of main, read from objects, and never back."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ci.changes.follow import APPLIED
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.operator_actions import OperatorActions
from reconciler.ledger.writing.transaction import Writer
from tests.support.inputs.keys import ORDER, Circle
from tests.support.worlds.signable_checkout import SignableCheckout

MANIFEST = "productions/campaigns/proc7/campaign.yaml"


@pytest.fixture
def circle(tmp_path):
    (tmp_path / "keys").mkdir()
    return Circle(tmp_path / "keys")


@pytest.fixture
def signable(tmp_path, circle):
    """The repository that people push to; `service` is the clone of a reconciler beside it, and `follow` a turn of it."""
    made = SignableCheckout(tmp_path / "checkout", circle)
    made.service = tmp_path / "service"
    made.git("clone", "-q", str(made.root), str(made.service))

    def follow(*options):
        before = ["--root", str(made.service), "--state", str(made.state.folder)]
        return run([*before, "reconcile", "--once", "--follow", "origin/main", *options])

    made.follow = follow
    return made


def test_what_is_at_the_head_is_launched_whatever_the_work_tree_is(signable, capsys):
    assert signable.follow() == Exit.REFUSED
    signable.sign(*ORDER)
    head = signable.commit("approved")
    (signable.service / MANIFEST).write_text("evil: true\n")
    assert signable.follow() == Exit.FINE
    assert "2 units produced" in capsys.readouterr().err
    assert signable.git("-C", str(signable.service), "rev-parse", APPLIED) == head
    assert (signable.service / MANIFEST).read_text() == "evil: true\n"
    assert signable.git("-C", str(signable.service), "rev-parse", "HEAD") != head, "nothing is checked out"
    assert signable.follow() == Exit.FINE


def test_s36_a_head_that_was_set_back_is_refused(signable, capsys):
    signable.sign(*ORDER)
    signable.commit("approved")
    assert signable.follow() == Exit.FINE
    signable.git("reset", "-q", "--hard", "HEAD~1")
    signable.commit("another history")
    assert signable.follow() == Exit.REFUSED
    assert "does not come after" in capsys.readouterr().err
    signable.git("-C", str(signable.service), "update-ref", "-d", APPLIED)
    assert signable.follow() == Exit.FINE  # a person said that it is meant


def test_s36_a_head_that_is_too_old_is_refused(signable, capsys):
    signable.sign(*ORDER)
    signable.commit("approved", GIT_COMMITTER_DATE="2019-02-15T09:00:00Z")
    assert signable.follow("--oldest", "30") == Exit.REFUSED
    days = (datetime.now(UTC) - datetime(2019, 2, 15, 9, tzinfo=UTC)).days
    assert f"{days} days old" in capsys.readouterr().err
    assert signable.follow() == Exit.FINE


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=365 * 200)])
def test_s36_a_head_that_is_dated_in_the_future_to_stay_young_is_refused(signable, capsys, ahead):
    signable.sign(*ORDER)
    date = f"@{(datetime.now(UTC) + ahead).timestamp():.0f} +0000"
    signable.commit("approved", GIT_COMMITTER_DATE=date)
    assert signable.follow("--oldest", "30") == Exit.REFUSED
    assert "in the future: its age cannot be told" in capsys.readouterr().err
    signable.commit("on top of it")
    assert signable.follow("--oldest", "30") == Exit.FINE


def test_a_remote_that_does_not_answer_is_a_source_that_is_not_available(signable, capsys):
    signable.root.rename(signable.root.with_name("gone"))
    assert signable.follow() == Exit.UNAVAILABLE
    assert "cannot be fetched" in capsys.readouterr().err


@pytest.mark.parametrize(
    "branch", ["main", "--upload-pack=x/main", "origin/../main", "origin/", "ext::sh -c x/main"]
)
def test_s8_what_is_followed_is_no_option(signable, capsys, branch):
    before = ["--root", str(signable.service), "--state", str(signable.state.folder)]
    assert run([*before, "reconcile", "--once", f"--follow={branch}"]) == Exit.USAGE
    assert "origin/main" in capsys.readouterr().err


def test_s37_nothing_that_is_fetched_runs(signable, tmp_path):
    canary = tmp_path / "canary"
    hook = f"#!/bin/sh\ntouch {canary}\n"
    for name in ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        # as a hostile tool on the host might have left them; a remote cannot
        file = signable.service / ".git/hooks" / name
        file.write_text(hook)
        file.chmod(0o755)
    signable.write(
        ".gitmodules", f'[submodule "x"]\n\tpath = vendor/x\n\turl = ext::sh -c "touch {canary}"\n'
    )
    signable.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    signable.write(".lfsconfig", f"[lfs]\n\turl = ext::{canary}\n")
    signable.git("add", "-A", ".gitmodules", ".gitattributes", ".lfsconfig")
    submodule = f"160000,{signable.git('rev-parse', 'HEAD')},vendor/x"
    signable.git("update-index", "--add", "--cacheinfo", submodule)
    signable.git("commit", "-q", "-m", "hostile")
    before = sorted(os.listdir(signable.service))
    signable.sign(*ORDER)
    signable.commit("approved")
    assert signable.follow() == Exit.FINE
    assert not canary.exists()
    assert sorted(os.listdir(signable.service)) == before
    assert not Path(signable.service, ".git/modules").exists()


def begin(signable):
    """Two units of which one failed for the moment, a run that came since, and a commit that was launched from."""
    signable.sign(*ORDER)
    signable.commit("approved")
    signable.behave("status 7", "reco-1")
    assert signable.follow() == Exit.PARTLY
    signable.behave("fine", "reco-1")
    return len(signable.starts)


@pytest.mark.parametrize("trouble", ["away", "rewritten", "no productions"])
def test_what_was_begun_goes_on_by_the_last_commit_while_the_branch_cannot_be_gone_by(
    signable, capsys, trouble
):
    starts = begin(signable)
    if trouble == "away":
        signable.root.joinpath(".git").rename(signable.root / "away")
    elif trouble == "rewritten":
        signable.git("reset", "-q", "--hard", "HEAD~1")
        signable.commit("another history")
    else:
        signable.git("rm", "-rq", "--cached", "productions")
        signable.git("commit", "-qm", "gone")
    capsys.readouterr()
    assert signable.follow() == (Exit.UNAVAILABLE if trouble == "away" else Exit.REFUSED)
    told = capsys.readouterr().err
    assert "1 unit produced" in told
    said = {"away": "cannot be fetched", "rewritten": "does not come after", "no productions": "no folder"}
    assert said[trouble] in told
    assert len(signable.starts) > starts
    assert len(signable.produced()) == 2


def test_nothing_new_begins_while_the_branch_cannot_be_gone_by(signable, capsys):
    signable.sign(*ORDER)
    signable.commit("approved")
    with opened(signable.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").pause("all", "for now")
    signable.follow()
    with opened(signable.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").resume("all", "on")
    signable.root.joinpath(".git").rename(signable.root / "away")
    assert signable.follow() == Exit.UNAVAILABLE
    assert signable.starts == []
    assert "2 units not begun: only what was begun goes on" in capsys.readouterr().err
    signable.root.joinpath("away").rename(signable.root / ".git")
    assert signable.follow() == Exit.FINE
    assert len(signable.produced()) == 2


def test_a_lock_that_was_left_on_what_was_launched_from_is_told_and_removed_when_it_is_old(signable, capsys):
    signable.sign(*ORDER)
    signable.commit("approved")
    lock = signable.service / ".git" / f"{APPLIED}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    assert signable.follow() == Exit.UNAVAILABLE
    assert f"removed after 10 minutes, or by you: {lock}" in capsys.readouterr().err
    assert len(signable.produced()) == 2
    os.utime(lock, (1, 1))
    assert signable.follow() == Exit.FINE
    assert not lock.exists()
