"""Killed at any instruction, and run again: the reconciler converges, with nothing done twice and nothing left over.

Every side effect of `reconcile` has a number: a commit (before and after it), a folder made, a file linked, renamed,
removed or opened for writing, a process started. A child process ends without a word at effect i; then the work is
done to its end, and must look as if nothing had happened. (I1, I2, I3, I4, I10, I11; B11, B16, B18, B22, B23)
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import opened
from reconciler.ledger.store.kept_files import KeptFiles
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import GuardRefused
from tests.support.worlds.chains import make_chain
from tests.support.worlds.crash_points import BEYOND, crash
from tests.support.worlds.processes import find_processes, run_forked
from tests.support.worlds.worlds import World

CHUNKS = 12


class Trial:
    """A world that is put back to where it was before every crash, and what it looks like without any."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = world.names
        world.keep()
        world.reconcile()
        self.published = world.published()
        self.produced = world.produced()
        self.jobs = sorted(line.split()[1] for line in world.starts)
        assert self.jobs
        assert world.state_view().plan.is_empty

    def finish(self, where: str) -> None:
        """The next turn, after which nothing may tell that there was a crash."""
        world = self.world
        outcome = world.reconcile()
        assert not outcome.failed, (where, outcome)
        assert not outcome.skipped, (where, outcome)
        assert world.summary().keys() <= {"done", "obsolete"}, (where, world.groups())
        assert world.produced() == self.produced, where
        assert world.published() == self.published, where
        assert sorted(line.split()[1] for line in world.starts) == self.jobs, (
            f"{where}: a job ran twice, or not at all"
        )
        assert world.workspaces() == [], where
        self.check_kept(where)
        assert find_processes(world.state.folder) == [], where
        attempts = world.attempts()
        assert attempts.keys() <= {"verified", "lost"}, (where, attempts)
        world.reconcile()
        assert world.attempts() == attempts, f"{where}: a second turn submitted something"

    def check_kept(self, where: str) -> None:
        """What good jobs left is kept whole, and nothing else is."""
        store, told = KeptFiles(self.world.state.kept), set()
        for state, kept in self.world.rows(tables.attempts, "state", "kept"):
            if state == "verified":
                told |= {*json.loads(kept).values()}
        for digest in told:
            store.read(digest)
        found = {*store.folder.glob("*/*")}
        assert found == {store.path(digest) for digest in told}, where


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_b11_killed_at_every_effect(chunk: int, tmp_path: Path):
    trial = Trial(World(tmp_path))
    crashes = 0
    for at in range(chunk + 1, BEYOND, CHUNKS):
        trial.world.restore()
        if not crash(trial.world.reconcile, at):
            break
        crashes += 1
        trial.finish(f"crash at effect {at}")
    assert crashes > 5, "the numbering of effects no longer works"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_i11_killed_twice(seed: int, tmp_path: Path):
    trial = Trial(World(tmp_path))
    choose = random.Random(seed)
    for _ in range(5):
        trial.world.restore()
        points = (choose.randrange(1, 100), choose.randrange(1, 60))
        for at in points:
            crash(trial.world.reconcile, at)
        trial.finish(f"crashes at effects {points}")


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(3))
def test_b16_killed_during_a_restate(chunk: int, tmp_path: Path):
    world = World(tmp_path)
    world.reconcile()
    before = world.published()
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    (tmp_path / "starts").unlink()
    trial = Trial(world)
    assert before.items() < trial.published.items(), "restated outputs get places of their own"
    for at in range(chunk * 5 + 1, BEYOND, 15):
        world.restore()
        if not crash(world.reconcile, at):
            break
        trial.finish(f"crash at effect {at}")


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(4))
def test_a_chain_of_three_campaigns_is_killed_as_one(chunk: int, tmp_path: Path):
    """One run of the first is restated, and the other two follow it."""
    world = make_chain(tmp_path)
    outcome = world.reconcile()
    assert (outcome.produced, world.summary()) == (6, {"done": 6})
    world.register(2, "raw.2.late.root")
    (tmp_path / "starts").unlink()
    trial = Trial(world)
    versions = {(campaign, run): version for campaign, _, run, _, version in trial.produced}
    assert versions == {(name, run): run for name in ("proc7", "skims", "thinner") for run in (1, 2)}
    for at in range(chunk * 5 + 1, BEYOND, 20):
        world.restore()
        if not crash(world.reconcile, at):
            break
        trial.finish(f"crash at effect {at}")


@pytest.mark.slow
def test_killed_while_a_stored_plan_is_applied(tmp_path: Path):
    """An interrupted apply is taken up by the same plan; one that was killed after its last record has nothing left."""
    world = World(tmp_path)
    stored = world.store()
    trial = Trial(world)
    for at in range(3, BEYOND, 17):
        world.restore()
        if not crash(lambda: world.apply(stored), at):
            break
        try:
            world.apply(stored)
        except GuardRefused:
            assert world.state_view().plan.is_empty, f"refused after a crash at effect {at}, with work left"
        trial.finish(f"crash at effect {at}")


def test_killed_while_runs_and_files_are_imported(tmp_path: Path):
    world = World(tmp_path)
    world.state.folder.rename(tmp_path / "whole")
    whole = world.inputs(tmp_path / "whole")

    def register() -> None:
        world.register_runs((1, 2))
        for run, count in ((1, 2), (2, 1)):
            world.register(run, *(f"raw.{run}.{number}.root" for number in range(count)))

    for at in range(1, BEYOND):
        crashed = crash(register, at)
        register()
        assert world.inputs(world.state.folder) == whole, f"crash at effect {at}"
        if not crashed:
            break
        for file in world.state.folder.iterdir():
            file.unlink()
        world.state.folder.rmdir()
    assert at > 5


def test_i4_an_intent_is_committed_before_the_engine_is_called(tmp_path: Path):
    """At the start of every process its attempt is in the ledger already: seen from another connection."""
    world = World(tmp_path)

    def look(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "subprocess.Popen" and "job.py" in str(arguments[1]):
            with opened(world.state) as engine:
                live = {attempt.name for attempt in AttemptLedger(Writer(engine, None)).list_live()}
            if arguments[1][2] not in live:
                os._exit(3)
            os.write(writing, b"x")

    reading, writing = os.pipe()

    def watched() -> None:
        sys.addaudithook(look)
        world.reconcile()

    assert run_forked(watched) == 0
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        seen = stream.read()
    assert len(seen) == len(world.starts) == 5
