"""What others on the machine may not read: the state, and passwords in the address of a database."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.store.state import State, check_address, show_address
from reconciler.monitoring.site_checks import check_state
from reconciler.outside.errors import SourceUnavailable
from tests.support.worlds.worlds import World

SECRET = "s3cr3t7canary"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def list_open(top: Path) -> list[str]:
    """The state folder and what of the ledger is in it, where others have any right."""
    files = [top, *(file for file in top.iterdir() if file.name.startswith("b2prod.sqlite"))]
    return [file.name for file in files if file.stat().st_mode & 0o077]


def test_s32_the_state_is_its_owners_alone_whatever_the_umask(tmp_path, umask):
    state = State(tmp_path / "above" / "state")
    with opened(state) as engine, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE x (y)")
        assert state.database.with_name("b2prod.sqlite-wal").exists()
        assert list_open(state.folder) == []
    assert state.folder.stat().st_mode & 0o777 == 0o700
    assert state.database.stat().st_mode & 0o777 == 0o600


def test_s32_a_whole_production_leaves_the_state_closed(tmp_path, umask):
    world = World(tmp_path)
    world.reconcile()
    assert list_open(world.state.folder) == []


def test_s32_a_state_that_was_open_is_closed(tmp_path):
    state = State(tmp_path / "state")
    with opened(state):
        pass
    (state.folder / "attempts").mkdir()
    for path in (state.folder, state.folder / "attempts", state.database):
        path.chmod(0o777)
    with opened(state):
        pass
    assert list_open(state.folder) == []
    assert (state.folder / "attempts").stat().st_mode & 0o077 == 0


def test_a_folder_that_has_other_things_stays_as_it_is_and_is_told(tmp_path):
    """As where somebody says `--state /tmp`."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "of-somebody").touch()
    state = State(folder)
    with opened(state):
        pass
    assert folder.stat().st_mode & 0o777 == 0o755
    assert list_open(folder) == ["shared"]
    (told,) = [one.complaint for one in check_state(state) if one.looked_at == "who may read the state"]
    assert told is not None
    assert str(folder) in told.what


def test_a_ledger_is_made_through_no_link(tmp_path):
    state = State(tmp_path / "state")
    state.folder.mkdir()
    state.database.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceUnavailable), opened(state):
        pass
    assert not (tmp_path / "elsewhere").exists()


# ── addresses of databases ──

ODD = [
    f"postgresql://user:{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:{SECRET}@@127.0.0.1:1/db",
    f"postgresql://user:x@{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:x/{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:x?{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:x#{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:x:{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:x%40{SECRET}@127.0.0.1:1/db",
    f"postgresql://us/er:{SECRET}@127.0.0.1:1/db",
    f"postgresql://:{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:{SECRET}/db",
    f"postgresql://127.0.0.1:{SECRET}/db",
    f"postgresql://user@127.0.0.1:1/db?password={SECRET}",
    f"postgresql://user@127.0.0.1:1/db?sslpassword={SECRET}",
    f"postgresql://user@127.0.0.1:1/db?password=a%40{SECRET}",
    f"postgresql://user@127.0.0.1:1/db?password=a@{SECRET}",
    f"postgresql://user@127.0.0.1:1/db?passwort={SECRET}",
    f"postgresql://user@127.0.0.1:1/db?options=-c%20x.y={SECRET}",
    f"postgresql:///db?host=/nowhere&user=user&password={SECRET}",
    f"postgresql:///password={SECRET} host=127.0.0.1",
    f"postgresql://user:{SECRET}@127.0.0.1:1/d b",
    f"postgres://user:{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:1/db",
    f"mysql://user:{SECRET}@127.0.0.1:1/db",
    f"user={SECRET}",
    f" postgresql://user:{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:{SECRET}\n@127.0.0.1:1/db",
    f"postgresql://user:{SECRET}\x1b[2J@127.0.0.1:1/db",
]


@pytest.mark.parametrize("address", ODD)
def test_s32_no_password_of_a_database_is_shown(address, tmp_path, monkeypatch, capfd):
    (tmp_path / "productions").mkdir()
    for words in (["status"], ["runs"], ["doctor"], ["trust", "show"]):
        assert run(["--root", str(tmp_path), "--database", address, *words]) != Exit.FINE
    monkeypatch.setenv("B2PROD_DATABASE", address)
    assert run(["--root", str(tmp_path), "status"]) != Exit.FINE
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert SECRET not in said
    assert SECRET not in State(tmp_path, address).address
    for use in (opened, reading):
        with pytest.raises((SourceUnavailable, ValueError)) as raised, use(State(tmp_path, address)):
            pass
        assert SECRET not in str(raised.value)


PASSWORDS = st.text(st.characters(codec="ascii"), min_size=12, max_size=30)


@given(PASSWORDS)
def test_s32_whatever_a_password_holds_it_is_not_shown(password):
    for written in (password, quote(password, safe="")):
        for address in (
            f"postgresql://user:{written}@host:5432/db",
            f"postgresql://user@host/db?password={written}",
        ):
            assert password not in show_address(address)
            try:
                check_address(address)
            except ValueError as error:
                told = str(error)
            else:
                told = State(Path("x"), address).redact(f"no password {password} of user@host")
            assert password not in told


def test_an_address_shows_who_where_and_which():
    assert show_address("postgresql://user@host:5432/db?sslmode=require") == "postgresql://user@host:5432/db"
    assert show_address(f"postgresql://a%40b:{SECRET}@host/db") == "postgresql://a%40b:***@host/db"
    assert show_address("postgresql:///db?host=/run/postgresql") == "postgresql:///db"
    check_address("postgresql://user@[::1]:5432/db-1?sslmode=verify-full&sslrootcert=/etc/ca.pem")
