"""Backups: taken while the ledger is written, put back into SQLite and PostgreSQL, and never over what is newer."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import delete, func, inspect, select, update

from ci.cli.exits import Exit
from reconciler.execution.recovery.recovering import take_over
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.schema.tables import attempts, events, metadata, outputs, products
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.upkeep.backups import restore_backup, write_backup
from reconciler.ledger.upkeep.journal_file import compare_journal, ship_journal
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.ledger.writing.journal import read_rows
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from tests.support.worlds.lost_ledgers import recover_world
from tests.support.worlds.processes import start_forked, wait_forked, wait_until
from tests.support.worlds.skimmed import Skimmed
from tests.support.worlds.worlds import ONE_STEP, World

STAMP = "2019-02-07T12:00:00Z"


def rows_of(state):
    with reading(state) as connection:
        return read_rows(connection)


def count_all(state):
    with reading(state) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


@pytest.fixture
def world(tmp_path, database):
    return World(tmp_path, campaign=ONE_STEP)


def test_a_backup_comes_back_whole_and_goes_on_as_another_ledger(world, tmp_path):
    world.reconcile()
    backup = write_backup(world.state, tmp_path / "copy", STAMP)
    assert backup.file.stat().st_mode & 0o077 == 0
    rows, counts = rows_of(world.state), count_all(world.state)
    moved = State(tmp_path / "elsewhere")  # an SQLite, wherever it came from
    restore_backup(moved, tmp_path / "copy")
    take_over(moved)
    assert rows_of(moved) == rows
    again = count_all(moved)
    assert {name for name in counts if counts[name] != again[name]} == {"former_ledgers"}
    with reading(moved) as connection:
        assert read_identity(connection).ledger != backup.identity.ledger
        assert list(find_unsound(connection, replay=True)) == []
    world.state = moved
    world.register(1, "late.root")
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.state = State(moved.folder)
    assert world.state_view().plan is not None


def test_a_backup_of_a_file_is_put_into_a_server_which_goes_on(tmp_path, postgresql):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    write_backup(world.state, tmp_path / "copy", STAMP)
    rows = rows_of(world.state)
    world.state = State(world.state.folder, postgresql.create_database())
    restore_backup(world.state, tmp_path / "copy")
    take_over(world.state)
    assert rows_of(world.state) == rows
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert world.reconcile().produced == 2, "new rows get numbers of their own"


def test_what_is_newer_or_another_is_not_written_over(world, tmp_path):
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    write_backup(world.state, tmp_path / "old", STAMP)
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    world.reconcile()
    rows = rows_of(world.state)
    with pytest.raises(GuardRefused, match="the backup is older"):
        restore_backup(world.state, tmp_path / "old")
    assert rows_of(world.state) == rows
    write_backup(world.state, tmp_path / "new", STAMP)
    other = World(tmp_path / "other", campaign=ONE_STEP) if world.state.server is None else None
    if other is not None:
        other.reconcile()
        with pytest.raises(GuardRefused, match="into an empty state"):
            restore_backup(other.state, tmp_path / "new")
    restore_backup(world.state, tmp_path / "new")
    assert rows_of(world.state) == rows


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 5000])
def test_what_is_no_backup_is_told(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SourceUnavailable, match=r"is not a backup|is damaged"):
        restore_backup(State(tmp_path / "state"), tmp_path / "file")
    assert not (tmp_path / "state").exists()


def test_backups_taken_while_a_reconciler_works_are_each_of_one_moment(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=[1] * 12)
    world.change(('ranges: "1-2"', 'ranges: "1-12"'))
    child = start_forked(world.reconcile)
    files = []
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        files.append(write_backup(world.state, tmp_path / f"copy{len(files)}", STAMP).file)
    assert len(files) > 2
    for file in files[:: max(1, len(files) // 5)]:
        state = State(tmp_path / f"restored-{file.name}")
        restore_backup(state, file)
        with reading(state) as connection:
            assert list(find_unsound(connection, replay=True)) == [], file


def test_the_newest_backups_of_a_folder_stay(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies/mine.sqlite").touch()
    for day in range(1, 6):
        write_backup(world.state, tmp_path / "copies", f"2019-02-0{day}T12:00:00Z", keep=2)
    kept = sorted(os.listdir(tmp_path / "copies"))
    assert [name.split("-")[2] for name in kept[:2]] == ["20190204T120000Z", "20190205T120000Z"]
    assert kept[2:] == ["mine.sqlite"]


def test_jobs_begun_since_a_backup_are_ended_and_nothing_is_made_twice(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    write_backup(world.state, tmp_path / "copy", STAMP)
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    world.behave("hang")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 2)
    os.kill(child, signal.SIGKILL)
    wait_forked(child)
    for file in world.state.folder.glob("b2prod.sqlite*"):
        file.unlink()
    restore_backup(world.state, tmp_path / "copy")
    take_over(world.state)
    recover_world(world)
    world.behave("fine")
    world.reconcile()
    wait_until(lambda: not world.processes())
    world.reconcile()
    assert (world.summary(), world.workspaces()) == ({"done": 2}, [])
    assert len(world.published()) == 2


@pytest.mark.parametrize("spoiled", ["journal", "row", "file", "references"])
def test_what_is_wrong_with_a_ledger_is_found(tmp_path, spoiled):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    with reading(world.state) as connection:
        assert list(find_unsound(connection, replay=True)) == []
    if spoiled == "references":
        with closing(sqlite3.connect(world.state.database)) as connection:
            connection.execute("DELETE FROM jobs")
            connection.commit()
    else:
        with opened(world.state) as engine, engine.begin() as connection:
            match spoiled:
                case "journal":
                    connection.execute(update(events).where(events.c.id == 2).values(digest="0" * 64))
                case "row":
                    connection.execute(update(attempts).values(reference="4711"))
                case "file":
                    connection.execute(delete(products))
    with reading(world.state) as connection:
        found = list(find_unsound(connection, replay=spoiled == "row"))
    said = {"journal": "is not what was written", "row": "changed past it", "file": "have no file"}
    assert said.get(spoiled, "that is not there") in " ".join(found)


def test_the_journal_is_shipped_and_a_ledger_held_against_it(world, tmp_path):
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    file = tmp_path / "journal"
    with reading(world.state) as connection:
        first = ship_journal(connection, file)
        assert ship_journal(connection, file) == 0
    write_backup(world.state, tmp_path / "old", STAMP)
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    world.reconcile()
    with reading(world.state) as connection:
        more = ship_journal(connection, file)
        assert (len(file.read_bytes().splitlines()), more > 0) == (first + more, True)
        assert list(compare_journal(connection, file)) == []
    older = State(tmp_path / "older")
    restore_backup(older, tmp_path / "old")
    with reading(older) as connection:
        (told,) = compare_journal(connection, file)
        assert f"lacks {more} entries" in told
        with pytest.raises(GuardRefused, match="is not the ledger's"):
            ship_journal(connection, file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    with reading(world.state) as connection:
        assert "cut short" in next(compare_journal(connection, file))
        assert ship_journal(connection, file) == 1
    file.write_bytes(file.read_bytes().replace(b'"fence": 1', b'"fence": 7', 1))
    with reading(world.state) as connection:
        assert "is not what was shipped" in next(compare_journal(connection, file))


def test_the_verbs_of_a_whole_story(tmp_path, capsys):
    skimmed = Skimmed(tmp_path)
    copy, journal = tmp_path / "copy.sqlite", tmp_path / "journal"
    assert skimmed.b2prod("state", "backup") == Exit.USAGE
    assert skimmed.b2prod("state", "backup", "-o", copy, "--journal", journal) == Exit.FINE
    assert skimmed.b2prod("state", "check", "--replay", "--against", journal) == Exit.FINE
    for file in (tmp_path / ".b2prod").glob("b2prod.sqlite*"):
        file.unlink()
    assert skimmed.b2prod("state", "rebuild") == Exit.USAGE
    assert skimmed.b2prod("state", "restore", copy) == Exit.FINE
    assert skimmed.b2prod("state", "check") == Exit.FINE
    assert skimmed.b2prod("state", "rebuild") == Exit.FINE
    assert skimmed.b2prod("reconcile", "--once") == Exit.FINE
    assert skimmed.b2prod("plan", "--exit-code") == Exit.FINE
    with opened(State(tmp_path / ".b2prod")) as engine, engine.begin() as connection:
        connection.execute(update(outputs).values(state="lost"))
    capsys.readouterr()
    assert skimmed.b2prod("state", "check", "--replay", "--json") == Exit.FINDINGS
    assert "outputs has 3 rows" in capsys.readouterr().out


def test_every_table_is_in_a_backup(world, tmp_path):
    backup = write_backup(world.state, tmp_path / "copy", STAMP)
    with opened(world.state) as engine:
        tables = set(inspect(engine).get_table_names())
    with closing(sqlite3.connect(backup.file)) as copy:
        copied = {name for (name,) in copy.execute("select name from sqlite_master where type = 'table'")}
    assert tables == {name for name in copied if not name.startswith("sqlite_")}
