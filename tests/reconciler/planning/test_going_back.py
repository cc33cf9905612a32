"""A campaign that is put back to what it was, or whose lock is gone: what there was counts, and the way on is told."""

from __future__ import annotations

from ci.cli.exits import Exit
from schemas.manifest.lock import read_lock
from tests.support.inputs.keys import ORDER

LOCK = "productions/campaigns/proc7/campaign.lock"
MORE = ("max_units: 100", "max_units: 2000")


def lock(pad):
    return read_lock(LOCK, (pad.root / LOCK).read_bytes())[0]


def change(pad):
    """Its next generation, committed."""
    before = lock(pad).generation
    pad.change(MORE)
    pad.commit("more")
    assert (before, lock(pad).generation) == (2, 3)


def test_after_a_launched_change_was_reverted_the_way_on_is_told_and_leads_on(pad, capsys):
    change(pad)
    pad.sign(*ORDER)
    pad.commit("approvals")
    assert pad.launch() == Exit.FINE
    pad.git("revert", "--no-edit", "HEAD~1")
    assert lock(pad).generation == 2
    assert pad.call("approvals", "proc7") == Exit.REFUSED
    assert "3 was launched already; run `b2prod resolve proc7`" in capsys.readouterr().out
    assert pad.call("resolve", "proc7") == Exit.FINE
    assert lock(pad).generation == 4
    # what was launched meanwhile is not known here: nothing that was signed before counts again
    assert {since for _, since in lock(pad).since} == {4}
    assert pad.call("resolve", "proc7", "--check") == Exit.FINE
    pad.sign(*ORDER)
    pad.commit("approved again")
    assert pad.call("approvals", "proc7") == Exit.FINE


def test_another_lock_of_the_generation_that_was_launched_is_followed_by_the_next_one(pad, capsys):
    pad.sign(*ORDER)
    pad.commit("approvals")
    assert pad.launch() == Exit.FINE
    pad.change(MORE)
    text = (pad.root / LOCK).read_text()
    pad.write(LOCK, text.replace('"generation": 3', '"generation": 2'))
    pad.commit("as if it were the same")
    assert lock(pad).generation == 2
    assert pad.call("resolve", "proc7") == Exit.FINE
    assert lock(pad).generation == 3


def test_on_a_branch_what_is_put_back_follows_what_was_merged(pad):
    change(pad)
    merged = lock(pad)
    pad.git("checkout", "-q", "-b", "propose")
    pad.git("revert", "--no-edit", "HEAD")
    assert pad.call("resolve", "proc7", "--check") == Exit.FINDINGS
    assert pad.call("resolve", "proc7") == Exit.FINE
    assert lock(pad).generation == 4
    # of the parts, those are of a new generation that were another one in what was merged
    assert dict(lock(pad).since) == {**dict(merged.since), "everything": 4}


def test_a_lock_that_is_gone_comes_back_as_it_was_merged(pad):
    change(pad)
    merged = lock(pad)
    (pad.root / LOCK).unlink()
    assert pad.call("resolve", "proc7") == Exit.FINE
    assert lock(pad) == merged


def test_an_old_branch_is_not_taken_for_one_that_goes_back(pad):
    pad.git("branch", "-q", "old")
    change(pad)
    pad.git("checkout", "-q", "old")
    assert pad.call("resolve", "proc7", "--check") == Exit.FINE
