"""Storage that is full, that lies, and a ledger that is made again from its journal. (9.10)"""

from __future__ import annotations

import os
import resource
import signal
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, select, update

from ci.cli.exits import Exit
from ci.reports.progress import tell_outcome
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.schema.tables import attempts, events
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.journal import BrokenJournal, read_journal, read_rows, rebuild
from reconciler.monitoring.health import judge_campaign
from reconciler.outside.errors import SourceUnavailable
from tests.support.worlds.processes import run_forked
from tests.support.worlds.production_model import make_copy
from tests.support.worlds.worlds import ONE_STEP, World


def make_busy(tmp_path):
    """A ledger in which all sorts of things happened."""
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.behave("status 7", "reco-2")
    world.behave('report {"failure": {"class": "permanent", "message": "no"}}', "reco-3")
    world.reconcile()
    world.retry()
    world.behave("fine", "reco-2")
    world.reconcile()
    return world


def test_i12_rows_are_made_again_from_the_journal_and_go_on(tmp_path, database):
    world = make_busy(tmp_path)
    with reading(world.state) as connection:
        rows, entries = read_rows(connection), list(read_journal(connection))
    with make_copy().begin() as copy:
        rebuild(copy, entries)
        assert read_rows(copy) == rows
    with opened(world.state) as engine, engine.begin() as connection:
        rebuild(connection, entries)
        assert read_rows(connection) == rows
    world.behave("fine", "reco-3")
    world.retry()
    world.reconcile()
    assert world.summary() == {"done": 3}


@pytest.mark.parametrize("place", ["content", "digest", "time", "entry"])
def test_b34_whatever_of_the_journal_is_changed_is_found(tmp_path, place):
    world = make_busy(tmp_path)
    with opened(world.state) as engine, engine.begin() as connection:
        row = connection.execute(select(events).order_by(events.c.id).offset(2)).first()
        mine = events.c.id == row.id
        match place:
            case "content":
                flipped = bytearray(row.content)
                flipped[len(flipped) // 2] ^= 1
                connection.execute(update(events).where(mine).values(content=bytes(flipped)))
            case "digest":
                connection.execute(update(events).where(mine).values(digest="0" * 64))
            case "time":
                connection.execute(update(events).where(mine).values(time="2019-02-07T12:00:00Z"))
            case "entry":
                connection.execute(delete(events).where(mine))
    named = row.id + 1 if place == "entry" else row.id
    with reading(world.state) as connection, pytest.raises(BrokenJournal, match=f"entry {named} "):
        list(read_journal(connection))


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 100, 3000, 20_000, 80_000, 160_000, 400_000])
def test_a_disk_that_is_full_is_a_source_that_is_unavailable_and_the_next_turn_goes_on(tmp_path, size):
    """No file may grow beyond `size`: neither the database's nor those of the attempts nor those of the jobs."""
    world = World(tmp_path, campaign=ONE_STEP)

    def crammed():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            world.reconcile()
        except SourceUnavailable:
            os._exit(4)

    assert run_forked(crammed) in (0, 4)
    world.reconcile()
    world.reconcile()
    assert world.summary() == {"done": 2}
    assert len(world.published()) == 3
    assert len(world.produced()) == 2


def test_a_storage_that_cannot_be_written_holds_up_nobody_elses_units(tmp_path):
    """What was made stays, for the next turn; its site gets nothing new, and the other sites go on."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1), slots=1)
    site = (tmp_path / "productions/sites/local.yaml").read_text()
    world.write("productions/sites/far.yaml", site.replace("storage: data", "storage: far"))
    again = ONE_STEP.replace("site: local", "site: far") + "reuse: never\n"
    world.write("productions/campaigns/again/campaign.yaml", again)
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    far = world.state.storage("far")
    far.parent.mkdir(parents=True, exist_ok=True)
    far.write_text("a file where a folder should be")
    outcome = world.reconcile()
    assert (outcome.produced, outcome.failed, outcome.live) == (3, [], 0)
    ((address, reason),) = outcome.delayed.items()
    assert (address[0], f"{far}" in reason) == ("again", True)
    assert tell_outcome(outcome) == Exit.UNAVAILABLE
    starts = world.starts
    assert len(starts) == 4, "the site whose storage cannot be written got no second unit"
    with reading(world.state) as connection:
        view = world.state_view("again").views[0]
        told = [str(one.reason) for one in judge_campaign(connection, view, (), datetime.now(UTC))]
    assert any("1 unit made, waiting for their storage" in reason for reason in told)
    far.unlink()
    assert world.reconcile().delayed == {}
    assert world.summary() == {"done": 5}
    assert len(world.starts) == 5, "what was made was not made again"


def test_one_place_that_cannot_be_written_delays_one_unit(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    run = world.state.storage("data") / "proc7/reco/e0003/r00001"
    run.parent.mkdir(parents=True)
    run.write_text("a file where a folder should be")
    assert len(world.reconcile().delayed) == 1
    world.change(('ranges: "1"', 'ranges: "1-3"'))
    outcome = world.reconcile()
    assert (outcome.produced, len(outcome.delayed)) == (2, 1)
    run.unlink()
    world.reconcile()
    assert world.summary() == {"done": 3}


@pytest.mark.parametrize("there", [True, False], ids=["an empty folder", "nothing"])
def test_a_storage_that_is_not_mounted_is_not_written(tmp_path, there):
    """What is to be mounted is an empty folder before it is; what is put there is hidden after."""
    store = tmp_path / "mnt" / "store"
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(site.read_text().replace("storage: data", f"storage: {store}"))
    world.pin()
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    away = store.rename(tmp_path / "away")
    if there:
        store.mkdir()
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    with pytest.raises(SourceUnavailable, match="is away"):
        world.reconcile()
    assert len(world.starts) == 1, "nothing is begun that could not be published"
    assert not list(store.parent.rglob("*.root"))
    if there:
        store.rmdir()
    away.rename(store)
    assert world.reconcile().delayed == {}
    assert world.summary() == {"done": 2}


def test_a_result_that_cannot_be_read_says_nothing_of_its_attempt(tmp_path):
    """I6: it is neither failed nor gone; once it can be read, it counts."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1,), slots=1)
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    assert run_forked(lambda: spoil_and_reconcile(world)) == 0
    assert world.attempts().keys() <= {"submitted", "running"}
    with reading(world.state) as connection:
        assert "cannot be read now" in connection.execute(select(attempts.c.reason)).scalar_one()
    for kept in world.state.attempts.glob("*.kept"):
        kept.with_suffix("").unlink()
        kept.rename(kept.with_suffix(""))
    world.reconcile()
    assert world.attempts() == {"verified": 1}


def spoil_and_reconcile(world):
    real = Workspace.collect

    def collect(self, attempt, due):
        folder = self.path(attempt.name)
        if folder.is_dir():
            folder.rename(folder.with_suffix(".kept"))
            folder.touch()
        return real(self, attempt, due)

    Workspace.collect = collect
    outcome = world.reconcile()
    assert (outcome.live, outcome.unknown) == (1, 1)
