"""What PostgreSQL alone does: many machines on one ledger, and a server that is not there."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import select

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store import server
from reconciler.ledger.store.database import State, has_database, opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.model.run import Run
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.run_catalogue.run_import import ImportedRuns, import_runs


@pytest.fixture
def address(postgresql):
    return postgresql.create_database()


def test_a_second_apply_on_another_machine_is_refused_and_told_by_whom(tmp_path, address):
    refused = pytest.raises(GuardRefused, match=r"at work \(process [0-9]+ on ")
    with holding(State(tmp_path / "here", address)), refused, holding(State(tmp_path / "there", address)):
        pass
    with holding(State(tmp_path / "there", address)):
        pass


def test_two_ledgers_on_one_server_do_not_wait_for_each_other(tmp_path, address, postgresql):
    other = postgresql.create_database()
    with holding(State(tmp_path / "here", address)), holding(State(tmp_path / "there", other)):
        pass


def test_imports_at_the_same_time_take_turns(tmp_path, address):
    state = State(tmp_path, address)
    with opened(state):
        pass
    found: list[ImportedRuns] = []

    def bring() -> None:
        with opened(state) as engine:
            found.append(import_runs(engine, [Run(3, number) for number in range(200)]))

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.new for one in found) == [0, 0, 0, 200]


def test_a_database_without_anything_recorded_says_how_to_begin(tmp_path, address):
    state = State(tmp_path, address)
    assert not has_database(state)
    with pytest.raises(SourceUnavailable, match="begin with"), reading(state):
        pass


@pytest.mark.parametrize("lead", ["postgresql://postgres:secret@127.0.0.1:9/b2prod", None])
def test_a_server_or_database_that_is_not_there_is_told_without_the_password(tmp_path, address, lead):
    state = State(tmp_path, lead or f"{address.rpartition('/')[0]}/nowhere")
    with pytest.raises(SourceUnavailable, match="cannot be used") as caught, reading(state):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", ["mysql://user@host/name", "b2prod.sqlite", "postgresql://host", "//:\0"])
def test_what_is_no_address_is_wrong_use(tmp_path, given, capsys):
    (tmp_path / "productions").mkdir()
    assert run(["--root", str(tmp_path), "--database", given, "runs"]) == Exit.USAGE
    assert "postgresql://user@host/name" in capsys.readouterr().err


def test_a_look_at_the_storage_may_take_longer_than_a_transaction_that_writes_may_be_silent(
    tmp_path, address, monkeypatch
):
    monkeypatch.setattr(server, "SILENT", "100ms")
    state = State(tmp_path, address)
    with opened(state):
        pass
    with reading(state) as connection:
        time.sleep(0.5)
        assert connection.execute(select(1)).scalar() == 1
    with pytest.raises(SourceUnavailable):
        be_silent(state)


def be_silent(state):
    with opened(state) as engine, engine.begin() as connection:
        time.sleep(0.5)
        connection.execute(select(1))
