"""Where the policy says that the merge is the approval, everybody who looks is told that merging launches."""

from __future__ import annotations

import json
import shutil

import pytest

from ci.cli.exits import Exit
from tests.support.inputs.keys import write_roles


@pytest.fixture
def call(signable, capsys):
    """Calls b2prod; exit code and what it says."""

    def called(*words):
        capsys.readouterr()
        return signable.call(*words), capsys.readouterr().out

    return called


@pytest.fixture
def merging(signable):
    """Whose policy says that merging is the approval, and on a branch a change; its base."""
    roles = write_roles(("mode: signatures", "mode: merge\nbranch: main"))
    for name, text in signable.circle.root(roles=roles).items():
        signable.write(name, text)
    base = signable.commit("we trust our branch")
    signable.git("checkout", "-q", "-b", "proposal")
    signable.change(("max_units: 100", "max_units: 90"))
    signable.commit("less")
    return base


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "not pinned"])
def test_approvals_asks_for_no_signature(signable, merging, call, tmp_path, pinned):
    if pinned:
        signable.pin()
    state = () if pinned else ("--state", tmp_path / "other")
    code, table = call(*state, "approvals", "proc7")
    assert code == Exit.REFUSED
    assert "the merge to `main` is the approval: merging launches" in table
    assert "is not on the branch main" in table
    assert "MISSING" not in table
    signable.git("checkout", "-q", "main")
    signable.git("merge", "-q", "proposal")
    code, table = call(*state, "approvals", "proc7")
    assert (code, "NOT approved" in table) == (Exit.FINE, False)
    assert json.loads(call(*state, "approvals", "proc7", "--json")[1])["merge"] == "main"


def test_what_no_git_shows_to_be_merged_launches_nothing(signable, merging, capsys):
    signable.pin()
    shutil.rmtree(signable.root / ".git")
    capsys.readouterr()
    assert signable.launch() == Exit.REFUSED
    assert "this folder is not on the branch main" in capsys.readouterr().err
    assert signable.starts == []


def test_its_reviewers_are_told_so(signable, merging, call):
    code, comment = call("review", "--base", merging, "--head", "HEAD")
    assert code == Exit.FINE
    assert "**the merge to `main` is the approval, and merging launches.**" in comment
    assert "missing" not in comment
    assert "the merge to main is the approval" in comment.partition("Look twice")[2]
