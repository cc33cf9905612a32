"""A PostgreSQL that falls silent, and comes back: waits have an end, and nobody is locked out by itself."""

from __future__ import annotations

import signal
import time

import pytest
from sqlalchemy import text

from ci.cli.exits import Exit
from reconciler.ledger.store import server
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from tests.support.services.silent_server import gate_before
from tests.support.worlds import worlds
from tests.support.worlds.command_world import SignalledWorld, check_whole, read_log
from tests.support.worlds.processes import wait_until

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

GRACE, LAST = 4.0, 6.0
"""What a reconciler that is told to end takes here, in place of `reconciler.outside.signals`."""


class HurriedWorld(SignalledWorld):
    """A world whose commands wait for a shorter time before they end."""

    entry = f"from reconciler.outside import signals as s; s.GRACE, s.LAST = {GRACE}, {LAST}; {SignalledWorld.entry}"


@pytest.fixture
def silenced(tmp_path, postgresql, monkeypatch):
    """A state behind a gate, of which an answer is waited for a second."""
    monkeypatch.setattr(server, "ANSWER", 1.0)
    with gate_before(postgresql.create_database()) as (gate, address):
        state = State(tmp_path, address)
        with opened(state):
            pass
        yield gate, state
        gate.open()


def ask(state, gate):
    with reading(state) as connection:
        gate.shut()
        connection.execute(text("SELECT 1"))


def write(state, gate):
    with opened(state) as engine, engine.begin() as connection:
        gate.shut()
        connection.execute(text("UPDATE ledger SET serial = serial + 1"))


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("work", [ask, write])
def test_an_answer_is_not_waited_for_without_an_end(silenced, work):
    gate, state = silenced
    begun = time.monotonic()
    with pytest.raises(SourceUnavailable, match="cannot be used"):
        work(state, gate)
    assert time.monotonic() - begun < 5
    gate.open()
    with reading(state) as connection:
        assert connection.execute(text("SELECT serial FROM ledger")).scalar() == 0


@pytest.mark.usefixtures("bound")
def test_who_could_not_give_a_lease_back_takes_it_again_at_once(silenced):
    gate, state = silenced
    with holding(state) as first:
        gate.shut()
    gate.open()
    with holding(state) as second:
        assert second.fence == first.fence + 1
        with pytest.raises(GuardRefused, match="at work"), holding(state):
            pass  # what this process still holds is not free


def test_a_connection_that_dies_is_seen_by_both_ends(tmp_path, postgresql):
    state = State(tmp_path, postgresql.create_database())
    with opened(state) as engine, engine.begin() as connection:
        told = dict.fromkeys(
            (
                "tcp_keepalives_idle",
                "tcp_user_timeout",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
            )
        )
        for name in told:
            told[name] = connection.execute(text(f"SHOW {name}")).scalar()
        ours = connection.connection.driver_connection.info.get_parameters()
    assert told == {
        "tcp_keepalives_idle": "10",
        "tcp_user_timeout": "30000",
        "statement_timeout": "2min",
        "lock_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
    }
    assert {
        "keepalives_idle": "10",
        "tcp_user_timeout": "30000",
        "connect_timeout": "10",
    }.items() <= ours.items()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(tmp_path, postgresql, monkeypatch):
    monkeypatch.setattr(server, "STATEMENT", 0.2)
    state = State(tmp_path, postgresql.create_database())
    with (
        pytest.raises(SourceUnavailable, match="statement timeout"),
        opened(state) as engine,
        engine.begin() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(5)"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("--once",), ("--watch", "--interval", "0.2")], ids=lambda words: words[0]
)
def test_a_reconciler_whose_ledger_is_silent_hears_that_it_is_to_end(
    tmp_path, postgresql, monkeypatch, command
):
    with gate_before(postgresql.create_database()) as (gate, address):
        monkeypatch.setattr(worlds, "SERVER", address)
        monkeypatch.setenv("B2PROD_DATABASE", address)
        world = HurriedWorld(tmp_path, slots=2)
        world.behave("hang")
        process = world.start("reconcile", *command)
        try:
            wait_until(lambda: len(world.starts) == 2, 60)
            gate.shut()
            time.sleep(2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=GRACE + LAST + 10) == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()
            gate.open()
            (tmp_path / "go").touch()
        said = read_log(world)
        assert "Traceback" not in said
        assert "ended by SIGTERM" in said
        assert world.call("reconcile", "--once") == Exit.FINE
        check_whole(world)
