"""Killed at any effect between disk and tape, and run again: no output is ever without a whole copy, and the work ends."""

from __future__ import annotations

import hashlib
from itertools import count

import pytest

from tests.support.worlds.crash_points import BEYOND, crash
from tests.support.worlds.taped_world import LAST_ONE, SAMPLED, TapedWorld
from tests.support.worlds.worlds import CAMPAIGN


def reader():
    thin = CAMPAIGN[CAMPAIGN.index("  thin:") :]
    return CAMPAIGN[: CAMPAIGN.index("  reco:")] + thin.replace(
        "{step: reco, level: mdst}", "{dataset: proc7/reco/mdst}"
    )


def digests(files):
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check(world, originals, where):
    """Each of the files that were published is whole on disk or on tape; what the ledger says to be on disk is there."""
    storage = world.state.storage("data")
    there = digests(storage / name for name in world.on_disk("proc7"))
    assert originals <= there | digests(world.on_tape()), where
    if ("tape", True) not in world.copies("proc7"):
        assert originals <= there, f"{where}: released before it was read back"
    assert ("disk", False) not in world.copies("proc7") or ("tape", True) in world.copies("proc7"), where


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [False, True])
def test_archive_and_release_end_after_every_crash(tmp_path, sampled):
    world = TapedWorld(tmp_path, SAMPLED if sampled else LAST_ONE, checksum=not sampled)
    world.validate()
    originals = digests(world.state.storage("data") / name for name in world.on_disk("proc7"))
    world.keep()
    for at in count(1, 4):
        world.restore()
        for file in world.on_tape():
            file.unlink()

        def work():
            world.turn()
            world.turn()

        crashed = crash(work, at if at < 400 else BEYOND)
        check(world, originals, f"effect {at}")
        world.turn()
        check(world, originals, f"the turn after effect {at}")
        world.turn()
        assert world.on_disk("proc7") == [], at
        assert len(world.on_disk("proc8")) == 2
        assert world.copies("proc7") == {("tape", True), ("disk", False)}, at
        assert {state for *_, state in world.operations()} == {"done"}, at
        assert not [*(world.state.storage("data") / ".b2prod-recall").rglob("*.root")], at
        check(world, originals, f"the end after effect {at}")
        if not crashed:
            break
    assert at > 20


@pytest.mark.slow
def test_a_recall_ends_after_every_crash(tmp_path):
    world = TapedWorld(tmp_path)
    world.validate()
    originals = digests(world.state.storage("data") / name for name in world.on_disk("proc7"))
    world.turn()
    world.turn()
    world.write("productions/campaigns/again/campaign.yaml", reader())
    world.lock()
    world.keep()
    tape = {file: file.read_bytes() for file in world.on_tape()}
    for at in count(1, 4):
        world.restore()
        crashed = crash(world.turn, at if at < 400 else BEYOND)
        for _ in range(3):
            world.turn()
        assert [name for name, *_ in world.produced()].count("again") == 2, at
        assert digests(world.state.storage("data") / name for name in world.on_disk("proc7")) == originals, at
        assert {state for *_, state in world.operations()} == {"done"}, at
        assert not [*(world.state.storage("data") / ".b2prod-recall").rglob("*.root")], at
        assert {file: file.read_bytes() for file in tape} == tape
        for file in {*world.on_tape()} - tape.keys():
            file.unlink()
        if not crashed:
            break
    assert at > 20
