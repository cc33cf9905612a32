"""Two reconcilers on one ledger, by the real command line: one at a time, and whoever slept too long is fenced out. (9.4)"""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import psycopg
import pytest
from sqlalchemy import literal, select

from ci.cli.exits import Exit
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.ledger.schema.tables import leases
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.store.server import WRITING
from reconciler.ledger.writing import lease
from reconciler.ledger.writing.lease import Fenced, holding
from reconciler.ledger.writing.pauses import PauseWriter, read_pauses
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.engine import EngineUnavailable, JobHandle
from reconciler.outside.errors import GuardRefused
from tests.contract.doubles import install, set_faults
from tests.support.worlds.command_world import RealWorld, check_whole
from tests.support.worlds.processes import wait_until

pytestmark = pytest.mark.usefixtures("database")


def is_writable(world):
    """Whether nobody is in the middle of a transaction that writes."""
    if world.state.server is None:
        connection = sqlite3.connect(world.state.database, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True
    with psycopg.connect(world.state.server) as connection:
        return connection.execute(f"SELECT pg_try_advisory_xact_lock({WRITING})").fetchone()[0]


def stop(world, process):
    """Stops a process between its transactions: in one, it would stop everybody until it is killed."""

    def has_stopped():
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        if is_writable(world):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    wait_until(has_stopped)


def read_lease(world):
    with opened(world.state) as engine, engine.connect() as connection:
        return connection.execute(select(leases, lease.tell_clock(connection).label("now"))).one()


@pytest.mark.slow
def test_i9_b22_one_that_slept_beyond_its_lease_is_fenced_out_and_nothing_runs_twice(tmp_path):
    world = RealWorld(tmp_path, slots=2)
    world.behave("hang")
    first = world.start("reconcile", "--once", "--lease", "2")
    second = None
    try:
        wait_until(lambda: len(world.starts) == 2, 60)
        stop(world, first)
        fence = read_lease(world).fence
        wait_until(lambda: (now := read_lease(world)).expires < now.now)
        second = world.start("reconcile", "--once", "--lease", "30")
        wait_until(lambda: read_lease(world).fence == fence + 1, 60)
        (tmp_path / "go").touch()
        assert second.wait(timeout=120) == Exit.FINE
        check_whole(world)
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=60) == Exit.REFUSED
    finally:
        for process in (first, second):
            if process and process.poll() is None:
                process.kill()
                process.wait()
    check_whole(world)
    assert len(world.starts) == 6
    assert world.attempts() == {"verified": 6}
    assert "another reconciler took over" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_b14_of_two_that_start_at_once_one_is_refused_before_it_calls_an_engine(tmp_path):
    world = RealWorld(tmp_path, slots=6)
    world.behave("hang")
    both = [world.start("reconcile", "--once") for _ in range(2)]
    try:
        wait_until(lambda: any(one.poll() is not None for one in both), 60)
        (refused,) = [one for one in both if one.poll() is not None]
        assert refused.returncode == Exit.REFUSED
        (tmp_path / "go").touch()
        (winner,) = [one for one in both if one is not refused]
        assert winner.wait(timeout=120) == Exit.FINE
    finally:
        for process in both:
            process.kill()
            process.wait()
    check_whole(world)
    assert len(world.starts) == 6


@pytest.fixture
def state(tmp_path, database):
    return State(tmp_path, database)


def name(monkeypatch, holder):
    monkeypatch.setattr(lease, "describe_process", lambda: holder)


def test_b13_the_holders_own_time_counts_and_not_the_others(state, monkeypatch):
    name(monkeypatch, "process 1 on elsewhere [x:1]")
    with holding(state, 1000.0):
        name(monkeypatch, "process 2 on elsewhere [x:2]")
        with pytest.raises(GuardRefused, match="at work"), holding(state, 0.001):
            pass


@pytest.mark.parametrize(
    "holder", ["process 1 on {host} [other/1:1]", "process 999999999 on elsewhere [x:1]"]
)
def test_b13_what_may_live_elsewhere_is_not_taken_for_dead(state, monkeypatch, holder):
    """Machines may share a name, and containers numbers of processes."""
    name(monkeypatch, holder.format(host=os.uname().nodename))
    with holding(state):
        name(monkeypatch, "process 2 on here [y:2]")
        with pytest.raises(GuardRefused, match="at work"), holding(state):
            pass


def test_b12_the_lease_of_a_process_that_is_gone_is_free_at_once(state, monkeypatch):
    mine = lease.describe_process()
    with opened(state) as engine, engine.begin() as connection:
        gone = mine.rpartition(":")[0] + ":1]"
        row = {"scope": "apply", "holder": gone, "fence": 7, "seconds": 90.0, "expires": 1e12}
        connection.execute(leases.insert().values(row))
    with holding(state) as taken:
        assert taken.fence == 8


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_the_clock_of_the_day_does_not_judge_leases(state, monkeypatch, jump):
    """9.9: forward, and no early takeover; backward, and nothing is held for longer."""
    real = time.time
    with holding(state, 60.0):
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        name(monkeypatch, "process 2 on elsewhere [x:2]")
        with pytest.raises(GuardRefused, match="at work"), holding(state):
            pass
    with holding(state):
        pass


def test_i9_a_write_under_an_old_fence_fails_and_leaves_nothing(state, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(lease, "tell_clock", lambda _: literal(now))
    name(monkeypatch, "process 1 on elsewhere [x:1]")
    with holding(state, 90.0) as first, opened(state) as engine:
        writer = Writer(engine, first)
        now += 91
        name(monkeypatch, "process 2 on elsewhere [x:2]")
        with holding(state, 90.0) as second:
            assert second.fence == first.fence + 1
            with pytest.raises(Fenced):
                PauseWriter(writer).pause("all", "operator", "too late", "somebody")
    with reading(state) as connection:
        assert read_pauses(connection) == ()


def test_under_a_short_lease_no_call_of_an_engine_lasts_long(tmp_path, monkeypatch):
    """2.3: a call that lasted longer than the lease could end when another reconciler is at work."""
    world = RealWorld(tmp_path)
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(site.read_text().replace("engine: local", "engine: slurm\nqueue: prod"))
    doubles = tmp_path / "doubles"
    commands = ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol")
    install(doubles, dict.fromkeys(commands, "/bin/false"))
    set_faults(doubles, dict.fromkeys(commands, "hang"))
    monkeypatch.setenv("PATH", str(doubles), prepend=os.pathsep)
    ticket = JobHandle("b2p-x-a1", "nonce", tmp_path, "b2p-x", 1, "2019-02-07T12:00:00Z", "7_1")
    with opened(world.state) as database, holding(world.state, 3.0) as held:
        engine = SiteEngines(world.repository().sites, Writer(database, held)).engine("local")
        begun = time.monotonic()
        with pytest.raises(EngineUnavailable):
            engine.query([ticket])
        assert time.monotonic() - begun < 3.0
