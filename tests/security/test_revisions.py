"""What a name of a commit means, and that a commit is what its id says: neither a tag nor a clone can change it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ci.changes.change import read_change
from ci.changes.commits import is_ancestor, name_commit, read_commit
from ci.changes.follow import Followed, fetch_head
from reconciler.outside.errors import SourceUnavailable
from tests.support.inputs.keys import ORDER
from tests.support.worlds.history import make_history
from tests.support.worlds.signable_checkout import SignableCheckout


@pytest.fixture
def clone(signable, circle, tmp_path):
    """A clone that has a branch of its own, with its main behind that of its origin."""
    signable.git("clone", "-q", str(signable.root), str(tmp_path / "clone"))
    made = object.__new__(SignableCheckout)
    made.root = tmp_path / "clone"
    made.git("checkout", "-q", "-b", "mine")
    (made.root / "productions/other.yaml").write_text("x")
    made.commit("mine")
    return made


NAMES = ("origin/main", "main", "origin/main~0", "main^0", "origin/main^{commit}", "main@{0}")


@pytest.mark.parametrize("name", NAMES)
def test_s29_the_name_of_a_branch_means_the_branch_where_a_tag_has_it_too(clone, name):
    main, mine = clone.git("rev-parse", "refs/remotes/origin/main"), clone.git("rev-parse", "HEAD")
    clone.git("tag", "origin/main", mine)
    clone.git("tag", "main", mine)
    assert name_commit(clone.root, name) == main
    assert "productions/other.yaml" not in read_commit(clone.root, name).files
    clone.git("pack-refs", "--all")
    assert name_commit(clone.root, name) == main


def test_tags_commits_and_short_names_are_found_where_no_branch_is_called_so(clone):
    mine = clone.git("rev-parse", "HEAD")
    clone.git("tag", "-a", "-m", "x", "v1", mine)
    for name in ("v1", mine, mine[:10], "HEAD", "mine", "refs/tags/v1"):
        assert name_commit(clone.root, name) == mine, name
    assert name_commit(clone.root, "mine~1") == clone.git("rev-parse", "HEAD~1")
    clone.git("branch", mine, "HEAD~1")
    assert name_commit(clone.root, mine) == mine, "a branch that is called like a commit is not it"
    for name in ("nothing", "origin/nothing", "--all", "v1:productions"):
        with pytest.raises(SourceUnavailable):
            name_commit(clone.root, name)


def test_s29_objects_that_were_replaced_and_histories_that_were_grafted_are_ignored(signable, tmp_path):
    """`git replace` and grafts make git show other content, and another past, under the same id."""
    before = signable.git("rev-parse", "HEAD")
    files = dict(read_commit(signable.root).files)
    signable.git("checkout", "-q", "--orphan", "evil")
    (signable.root / "productions/evil.yaml").write_text("x")
    evil = signable.commit("evil")
    signable.git("checkout", "-q", "main")
    signable.git("replace", before, evil)
    blob = signable.git("rev-parse", f"{evil}:productions/evil.yaml")
    signable.git(
        "replace",
        "-f",
        signable.git("--no-replace-objects", "rev-parse", f"{before}:productions/roles.yaml"),
        blob,
    )
    assert "productions/evil.yaml" in signable.git("ls-tree", "-r", "--name-only", before), (
        "git itself shows the other one"
    )
    assert read_commit(signable.root, before).files == files
    (signable.root / ".git/info/grafts").write_text(f"{evil} {before}\n")
    assert not is_ancestor(signable.root, before, evil)
    assert (
        fetch_head(cloned(signable, tmp_path), Followed("origin", "main"), datetime.now(UTC)).files == files
    )


def cloned(signable, tmp_path):
    """A clone with the refs of its origin that replace objects, as some fetch them."""
    signable.git("clone", "-q", str(signable.root), str(tmp_path / "copy"))
    signable.git("-C", str(tmp_path / "copy"), "fetch", "-q", "origin", "refs/replace/*:refs/replace/*")
    return tmp_path / "copy"


def test_s29_a_replaced_commit_launches_nothing(signable):
    signable.sign(*ORDER)
    signed = signable.commit("signed")
    signable.git("reset", "-q", "--hard", "HEAD~1")
    unsigned = signable.git("rev-parse", "HEAD")
    signable.git("replace", unsigned, signed)
    assert signable.launch() != 0
    assert signable.attempts() == {}


def test_s29_a_folder_that_has_a_name_twice_is_not_read(tmp_path):
    """Which of both counts would be for every reader to say: for git's own difference, for ours, for whoever launches."""
    history = make_history(tmp_path / "origin")
    base = history.git("rev-parse", "HEAD")
    campaigns = history.git("rev-parse", "HEAD:productions/campaigns")
    other = history.git("mktree", data=b"")
    rows = f"040000 tree {other}\tcampaigns\n040000 tree {campaigns}\tcampaigns\n"
    twice = history.git("mktree", data=rows.encode())
    top = history.git("mktree", data=f"040000 tree {twice}\tproductions\n".encode())
    head = history.git("commit-tree", top, "-p", base, "-m", "twice")
    for read in (lambda: read_commit(history.root, head), lambda: read_change(history.root, base, head)):
        with pytest.raises(SourceUnavailable, match="productions has two entries of one name"):
            read()
