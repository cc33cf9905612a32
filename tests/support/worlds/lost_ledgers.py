"""Ledgers that are lost or replaced by an older copy, and their recovery."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter

from reconciler.execution.recovery.recovering import recover
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.model.run import File
from reconciler.run_catalogue.file_register import import_files
from tests.support.worlds.processes import start_forked, wait_forked, wait_until


def storages(world):
    return [str(world.state.storage("data"))]


def recover_world(world, **options):
    return recover(world.state, world.repository(), storages(world), **options)


def lose(world):
    """Deletes the ledger; registered and pinned things come back."""
    for file in world.state.folder.glob("b2prod.sqlite*"):
        file.unlink()
    begin_anew(world)


def begin_anew(world):
    found = []
    for file in sorted((world.root / "raw").iterdir()):
        content = file.read_bytes()
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        run = int(file.name.split(".")[1])
        found.append(File(3, run, "raw", file.name, str(file), len(content), checksum))
    world.register_runs(sorted({one.run for one in found}))
    with opened(world.state) as engine:
        import_files(engine, found)
    world.pin()


def copy_ledger(world, name):
    """Copies the ledger, as a backup does."""
    with opened(world.state) as engine, engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(world.state.database, world.root / name)


def put_back(world, name):
    for file in world.state.folder.glob("b2prod.sqlite*"):
        file.unlink()
    shutil.copy(world.root / name, world.state.database)


def data_files(world):
    """Run → the number of its data files in the storage."""
    found = Counter()
    for path in world.published():
        found[int(path.split("/")[3][1:])] += 1
    return found


def lose_at_moments(world, units, moments, work):
    """A campaign whose reconciler is killed at some moments, and whose ledger is lost or replaced by a copy."""
    dice = random.Random(12)
    copies = ["first"]
    copy_ledger(world, "first")
    for moment in range(moments):
        made = sum(data_files(world).values())
        child = start_forked(work)
        more = min(units, made + dice.randint(3, 2 * units // moments - 4))
        if moment % 3 == 1:
            wait_until(lambda: sum(data_files(world).values()) > made, 240)  # noqa: B023 -- within the turn
            copies.append(f"copy{moment}")
            snapshot_ledger(world, copies[-1])
        wait_until(lambda: sum(data_files(world).values()) >= more, 240)  # noqa: B023 -- within the turn
        time.sleep(dice.random() / 50)
        os.kill(child, signal.SIGKILL)
        wait_forked(child)
        if moment % 2:
            put_back(world, copies[-1])
        else:
            lose(world)
        recover_world(world)
        there = {run for run, count in data_files(world).items() if count}
        summary = world.summary()
        assert summary.get("done", 0) == len(there), "the plan says what is there"
        assert summary.get("submit", 0) + summary.get("in flight", 0) == units - len(there), summary


def check_once(world, units):
    """Checks that every output exists once, and that nothing remains."""
    assert world.summary() == {"done": units}
    assert data_files(world) == dict.fromkeys(range(1, units + 1), 1)
    assert len({(row[2], row[3]) for row in world.produced()}) == len(world.produced()) == units
    assert world.processes() == []
    with reading(world.state) as connection:
        assert list(find_unsound(connection, replay=True)) == []


def snapshot_ledger(world, name):
    """Copies the ledger while a reconciler writes it."""
    with sqlite3.connect(world.state.database) as source, sqlite3.connect(world.root / name) as target:
        source.backup(target)
