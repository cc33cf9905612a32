"""A pause works within seconds while the ledger is busy: an order beside it, which a reconciler reads first."""

from __future__ import annotations

import sqlite3
import time

from ci.cli.exits import Exit
from ci.command_line import run
from ci.verbs.operation import operator_actions
from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.writing.pause_orders import PauseOrders
from tests.support.worlds.processes import start_forked, wait_forked, wait_until
from tests.support.worlds.worlds import ONE_STEP, World

WHO = "shifter@example.org"


def call(world, *words):
    return run(["--root", str(world.root), "--state", str(world.state.folder), *words])


def list_orders(world):
    return [pause.scope for _, pause in PauseOrders(world.state).read()]


def test_a_pause_does_not_wait_for_a_ledger_that_is_busy(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(operator_actions, "PATIENCE", 0.5)
    world = World(tmp_path, campaign=ONE_STEP)
    busy = sqlite3.connect(world.state.database, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    assert call(world, "pause", "all", "--reason", "a storm") == Exit.FINE
    assert time.monotonic() - begun < 10
    assert "the ledger is busy" in capsys.readouterr().err
    assert list_orders(world) == ["all"]
    busy.execute("ROLLBACK")
    busy.close()
    wait_until(lambda: not list_orders(world))
    assert world.rows(pauses, "scope", "reason") == [("all", "a storm")]


def test_an_order_is_recorded_by_the_next_turn_and_nothing_begins(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    PauseOrders(world.state).write("campaign:proc7", "a storm", WHO)
    outcome = world.reconcile()
    assert world.starts == []
    assert outcome.held == {f"campaign:proc7 is paused by {WHO}: a storm": 2}
    assert world.rows(pauses, "scope", "who") == [("campaign:proc7", WHO)]
    assert list_orders(world) == []


def test_an_order_in_the_middle_of_a_turn_stops_what_has_not_begun(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1), slots=1)
    world.behave("hang", "reco-1")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 1)
    PauseOrders(world.state).write("all", "stop", WHO)
    (tmp_path / "go").touch()
    assert wait_forked(child) == 0
    assert len(world.starts) == 1


def test_a_resume_takes_back_an_order_too(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    PauseOrders(world.state).write("all", "a storm", WHO)
    assert call(world, "resume", "all", "--reason", "it went by") == Exit.FINE
    assert "all goes on" in capsys.readouterr().err
    assert world.reconcile().produced == 2


def test_an_order_that_cannot_be_read_stops_everything_and_stays(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    file = PauseOrders(world.state).write("campaign:proc7", "a storm", WHO)
    file.write_text("{")
    ((reason, count),) = world.reconcile().held.items()
    assert (count, world.starts) == (2, [])
    assert f"the order {file} cannot be read" in reason
    file.unlink()
    assert world.reconcile().produced == 2
