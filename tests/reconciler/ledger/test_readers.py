"""Who may only read the state sees all of it, and leaves nothing in it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ci.cli.exits import Exit
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.store.database import State, opened, reading
from reconciler.outside.errors import SourceUnavailable
from renderer.steering import load_templates
from tests.support.worlds.command_lines import run_lines
from tests.support.worlds.worlds import ONE_STEP, World

READS = (
    ["status"],
    ["status", "--left-out", "--json"],
    ["plan"],
    ["plan", "--refresh"],
    ["explain", "proc7/reco/3:1"],
    ["logs", "proc7/reco/3:1"],
    ["runs"],
    ["runs", "quarantine"],
    ["files", "list"],
    ["lumi", "show", "proc7"],
    ["retention", "proc7"],
    ["gt", "show", "tag_a"],
    ["gt", "used", "proc7"],
)
WRITES = (
    ["pause", "all", "--reason", "x"],
    ["quarantine", "proc7", "--reason", "x"],
    ["reconcile", "--once"],
    ["runs", "remove", "3:1", "--reason", "x"],
)


def make(root):
    made = World(root, campaign=ONE_STEP)
    made.templates = load_templates()
    made.lock()
    made.reconcile()
    return made


@pytest.fixture
def world():
    """A world that others may look into, of which two units are made."""
    root = Path(tempfile.mkdtemp(prefix="b2prod-readers-"))
    root.chmod(0o755)
    yield make(root)
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(root)


def close(state):
    """Lets everybody read a state, and nobody write it."""
    for path in (state.folder, *state.folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def overwrite(database):
    other = sqlite3.connect(database)
    other.execute("UPDATE runs SET type = 'cosmic'")
    other.commit()
    other.close()


def list_files(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def expect(ended, codes):
    wrong = [one for one in ended if one.code not in codes or "Traceback" in one.text]
    assert not wrong, "\n".join(f"{one.line}: {one.code}\n{one.text}" for one in wrong)


def test_whoever_may_only_read_the_state_reads_all_of_it_and_leaves_nothing(world):
    close(world.state)
    before = list_files(world.state.folder)
    expect(run_lines(READS, world.root, as_reader=True), {Exit.FINE})
    told = run_lines(WRITES, world.root, as_reader=True)
    expect(told, {Exit.UNAVAILABLE})
    assert all("readonly" in one.err or "read-only" in one.err or "denied" in one.err for one in told), told
    assert list_files(world.state.folder) == before


def test_a_state_that_somebody_writes_is_read_with_what_was_written_last(world):
    kept = sqlite3.connect(world.state.database)
    kept.execute("UPDATE runs SET type = 'cosmic' WHERE run = 1")
    kept.commit()  # it is in the file beside the ledger as long as the connection is there
    assert Path(f"{world.state.database}-wal").stat().st_size > 0
    close(world.state)
    (ended,) = run_lines([["runs", "--json"]], world.root, as_reader=True)
    kept.close()
    assert ended.code == Exit.FINE, ended.err
    assert "cosmic" in ended.out


def test_what_was_read_while_somebody_wrote_is_not_believed(world, monkeypatch):
    folder = world.state.folder
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)  # root may write everywhere
    with pytest.raises(SourceUnavailable, match="written while it was read"), reading(world.state):
        overwrite(world.state.database)
    with reading(world.state) as connection:
        assert list_campaigns(connection) == ["proc7"]


@pytest.mark.parametrize("name", ["a b", "100%", "what?", "x#y", "ä"])
def test_a_folder_may_have_any_name(tmp_path, name):
    state = State(tmp_path / name)
    with opened(state):
        pass
    with reading(state) as connection:
        assert list_campaigns(connection) == []
    assert [path.name for path in (tmp_path / name).iterdir()] == ["b2prod.sqlite"]


def test_a_role_that_may_only_select_reads_all_of_it(tmp_path, postgresql, monkeypatch):
    address = postgresql.create_database()
    monkeypatch.setattr("tests.support.worlds.worlds.SERVER", address)
    make(tmp_path)
    reader = f"reader_{make_url(address).database}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {reader} LOGIN")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
    limited = make_url(address).set(username=reader).render_as_string()
    environment = {"B2PROD_DATABASE": limited}
    expect(run_lines(READS, tmp_path, environment), {Exit.FINE})
    expect(run_lines(WRITES[1:], tmp_path, environment), {Exit.UNAVAILABLE})
    (paused,) = run_lines(WRITES[:1], tmp_path, environment)
    assert (paused.code, "paused by the order" in paused.err) == (Exit.FINE, True), (
        "the folder may be written"
    )
