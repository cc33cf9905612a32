"""A campaign that is put back to what it was, or whose lock is gone: what there was counts, and the way on is told."""

from __future__ import annotations

from ci.cli.exits import Exit
from schemas.manifest.lock import read_lock
from tests.support.inputs.keys import ORDER

LOCK = "productions/campaigns/proc7/campaign.lock"
MORE = ("max_units: 100", "max_units: 2000")


def lock(signable):
    return read_lock(LOCK, (signable.root / LOCK).read_bytes())[0]


def change(signable):
    """Its next generation, committed."""
    before = lock(signable).generation
    signable.change(MORE)
    signable.commit("more")
    assert (before, lock(signable).generation) == (2, 3)


def test_after_a_launched_change_was_reverted_the_way_on_is_told_and_leads_on(signable, capsys):
    change(signable)
    signable.sign(*ORDER)
    signable.commit("approvals")
    assert signable.launch() == Exit.FINE
    signable.git("revert", "--no-edit", "HEAD~1")
    assert lock(signable).generation == 2
    assert signable.call("approvals", "proc7") == Exit.REFUSED
    assert "3 was launched already; run `b2prod resolve proc7`" in capsys.readouterr().out
    assert signable.call("resolve", "proc7") == Exit.FINE
    assert lock(signable).generation == 4
    # what was launched meanwhile is not known here: nothing that was signed before counts again
    assert {since for _, since in lock(signable).since} == {4}
    assert signable.call("resolve", "proc7", "--check") == Exit.FINE
    signable.sign(*ORDER)
    signable.commit("approved again")
    assert signable.call("approvals", "proc7") == Exit.FINE


def test_another_lock_of_the_generation_that_was_launched_is_followed_by_the_next_one(signable, capsys):
    signable.sign(*ORDER)
    signable.commit("approvals")
    assert signable.launch() == Exit.FINE
    signable.change(MORE)
    text = (signable.root / LOCK).read_text()
    signable.write(LOCK, text.replace('"generation": 3', '"generation": 2'))
    signable.commit("as if it were the same")
    assert lock(signable).generation == 2
    assert signable.call("resolve", "proc7") == Exit.FINE
    assert lock(signable).generation == 3


def test_on_a_branch_what_is_put_back_follows_what_was_merged(signable):
    change(signable)
    merged = lock(signable)
    signable.git("checkout", "-q", "-b", "propose")
    signable.git("revert", "--no-edit", "HEAD")
    assert signable.call("resolve", "proc7", "--check") == Exit.FINDINGS
    assert signable.call("resolve", "proc7") == Exit.FINE
    assert lock(signable).generation == 4
    # of the parts, those are of a new generation that were another one in what was merged
    assert dict(lock(signable).since) == {**dict(merged.since), "everything": 4}


def test_a_lock_that_is_gone_comes_back_as_it_was_merged(signable):
    change(signable)
    merged = lock(signable)
    (signable.root / LOCK).unlink()
    assert signable.call("resolve", "proc7") == Exit.FINE
    assert lock(signable) == merged


def test_an_old_branch_is_not_taken_for_one_that_goes_back(signable):
    signable.git("branch", "-q", "old")
    change(signable)
    signable.git("checkout", "-q", "old")
    assert signable.call("resolve", "proc7", "--check") == Exit.FINE
