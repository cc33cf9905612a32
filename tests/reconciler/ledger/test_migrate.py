"""Versions of a state: `migrate` alone changes one, and says so; everything else refuses those that are older or newer."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import MetaData, insert, inspect, select, text

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import State, migrating, opened, reading
from reconciler.ledger.store.privacy import close_state
from reconciler.ledger.store.schema_versions import HEAD, list_versions, make_tables, upgrade_tables
from reconciler.ledger.upkeep import migration
from reconciler.ledger.upkeep.migration import migrate
from reconciler.ledger.writing.lease import holding
from reconciler.outside.errors import GuardRefused, OtherVersion, SourceUnavailable
from tests.support.worlds.older_states import make_state
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def old(tmp_path, database):
    """A state of the fourth version, with one product."""
    state = State(tmp_path / "state", database)
    make_state(state, "0004")
    return state


@pytest.fixture
def world(tmp_path, database):
    return World(tmp_path, campaign=ONE_STEP)


def turn_back(state, version):
    """Lets a state be one of another version; its tables stay as they are."""
    with opened(state) as engine, engine.begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))


def call(world, *arguments):
    return run(["--root", str(world.root), *arguments])


def test_products_go_along_and_the_file_as_it_was_is_kept_beside(old):
    done = migrate(old)
    assert (done.before, done.after) == ("0004", HEAD)
    with reading(old) as connection:
        assert connection.execute(select(tables.ledger)).one() == ("first", 7, 3)
        columns = (tables.products.c.path, tables.attempts.c.name)
        made = select(*columns).select_from(tables.products.join(tables.attempts))
        assert connection.execute(made).one() == ("f.root", "a")
    if old.server is not None:
        assert done.copy is None
        return
    assert done.copy == old.database.with_name("b2prod-0004.sqlite")
    assert done.copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(done.copy)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0004",)]
        assert connection.execute("SELECT path FROM products").fetchall() == [("f.root",)]
    assert migrate(old) == migration.Migrated(HEAD, HEAD, None)


def test_a_copy_takes_no_other_ones_place(old):
    if old.server is not None:
        return
    there = old.database.with_name("b2prod-0004.sqlite")
    there.write_text("somebody's")
    assert migrate(old).copy.name == "b2prod-0004-2.sqlite"
    assert there.read_text() == "somebody's"


def test_a_migration_that_fails_leaves_everything_as_it_was(old, monkeypatch):
    def fail(connection):
        upgrade_tables(connection)
        connection.execute(text("SELECT nonsense FROM nowhere"))

    monkeypatch.setattr(migration, "upgrade_tables", fail)
    with pytest.raises(SourceUnavailable, match="nowhere"):
        migrate(old)
    monkeypatch.undo()
    with pytest.raises(OtherVersion, match="version 0004"), reading(old):
        pass
    assert migrate(old).before == "0004"


def test_a_migration_that_would_lose_what_is_referred_to_does_not_happen(old, monkeypatch):
    if old.server is not None:
        return  # refuses it at once

    def lose(connection):
        upgrade_tables(connection)
        connection.execute(text("DELETE FROM attempts"))

    monkeypatch.setattr(migration, "upgrade_tables", lose)
    with pytest.raises(SourceUnavailable, match=r"as it was: row .* of products refers to a row of attempts"):
        migrate(old)
    with closing(sqlite3.connect(old.database)) as connection:
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)


def test_nothing_is_migrated_under_a_reconciler(world):
    with holding(world.state):
        age(world.state, "0020")
        with pytest.raises(GuardRefused, match="an apply is at work"):
            migrate(world.state)
        with pytest.raises(OtherVersion, match="version 0020"), reading(world.state):
            pass
        migrate_anyway(world)
    assert migrate(world.state).before == HEAD


def age(state, version):
    """Gives a state the tables of an older version. Of the rows only the leases stay."""
    with migrating(state) as connection:
        leases = connection.execute(select(tables.leases)).mappings().all()
        there = MetaData()
        there.reflect(connection)
        there.drop_all(connection)
        upgrade_tables(connection, version)
        if leases:
            connection.execute(insert(tables.leases), [dict(row) for row in leases])


def migrate_anyway(world):
    """What `migrate` does, without asking for leases."""
    with migrating(world.state) as connection:
        upgrade_tables(connection)


VERBS = [
    ("status",),
    ("plan",),
    ("reconcile", "--once"),
    ("pause", "all", "--reason", "a test"),
    ("resolve", "proc7"),
    ("explain", "proc7/reco/3:1"),
    ("doctor",),
    ("files", "list", "3:1"),
    ("state", "export", "-o", "nowhere/x.zip"),
]


@pytest.mark.parametrize("arguments", VERBS, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("0004", f"is of version 0004, this b2prod works with {HEAD}: `b2prod migrate` brings it there"),
        (
            "0425",
            f"is of version 0425, this b2prod knows up to {HEAD}: use b2prod 9.9.9 (commit abc) or a newer one",
        ),
    ],
)
def test_a_verb_tells_the_version_of_the_state_before_it_reads_what_is_declared(
    world, capsys, arguments, version, says
):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE upgrades SET tool = 'b2prod 9.9.9 (commit abc)'"))
    turn_back(world.state, version)
    world.write("productions/campaigns/proc7/campaign.yaml", "schema: campaign/2\nof: a newer tool\n")
    world.write("productions/sites/local.yaml", "this: too\n")
    capsys.readouterr()
    assert call(world, *arguments) == Exit.USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("check",), ("explain", "BP404"), ("new", "proc9"), ("plan", "--help")]
)
def test_what_needs_no_state_asks_for_none(world, arguments):
    turn_back(world.state, "0425")
    assert call(world, *arguments) == Exit.FINE


def test_the_verb_says_from_where_to_where(world, capsys):
    age(world.state, "0020")
    assert call(world, "migrate") == Exit.FINE
    said = capsys.readouterr().err
    assert f"from version 0020 to {HEAD}" in said
    assert ("b2prod-0020.sqlite" in said) == (world.state.server is None)
    assert call(world, "status") == Exit.FINE
    assert call(world, "migrate") == Exit.FINE
    assert f"of version {HEAD} already" in capsys.readouterr().err
    turn_back(world.state, "0425")
    assert call(world, "migrate") == Exit.USAGE
    assert "knows up to" in capsys.readouterr().err


def test_where_there_is_no_state_nothing_is_migrated_and_none_is_made(tmp_path, capsys):
    (tmp_path / "productions").mkdir()
    assert run(["--root", str(tmp_path), "migrate"]) == Exit.UNAVAILABLE
    assert "there is no state" in capsys.readouterr().err
    assert not (tmp_path / ".b2prod").exists()


def test_the_newest_version_is_that_of_the_last_migration():
    assert list_versions()[-1] == HEAD


def test_a_new_state_knows_who_made_it(world):
    with reading(world.state) as connection:
        (tool,) = connection.execute(text("SELECT tool FROM upgrades")).scalars()
    assert tool.startswith("b2prod ")


def test_two_that_make_a_state_at_the_same_time_make_one(tmp_path, database):
    state = State(tmp_path / "state", database)

    def ask(_number):
        with opened(state) as engine, engine.begin() as connection:
            return connection.execute(select(tables.ledger.c.id)).scalar_one()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1


def describe(state):
    """The tables of a database as it tells them, without the order of columns, and how it counts what has no number."""
    with reading(state) as connection:
        seen = inspect(connection)
        return {
            name: {
                "columns": sorted((one["name"], str(one["type"]), one["nullable"], None if "nextval" in str(one["default"]) else one["default"]) for one in seen.get_columns(name)),
                "key": seen.get_pk_constraint(name)["constrained_columns"],
                "foreign": sorted(
                    (one["constrained_columns"], one["referred_table"], one["referred_columns"], str(one["options"]))
                    for one in seen.get_foreign_keys(name)
                ),
                "unique": sorted(one["column_names"] for one in seen.get_unique_constraints(name)),
                "checks": sorted(str(one["sqltext"]) for one in seen.get_check_constraints(name)),
                "indexes": sorted(
                    (one["name"], one["column_names"], bool(one["unique"]), {key: str(value) for key, value in one.get("dialect_options", {}).items()})
                    for one in seen.get_indexes(name)
                ),
            }
            for name in seen.get_table_names()
        }  # fmt: skip


def test_a_new_state_is_as_all_migrations_make_it(tmp_path, postgresql):
    for made, grown in ((None, None), (postgresql.create_database(), postgresql.create_database())):
        states = (
            State(tmp_path / f"made{made is None}", made),
            State(tmp_path / f"grown{made is None}", grown),
        )
        for state, make in zip(states, (make_tables, upgrade_tables), strict=True):
            close_state(state)
            with migrating(state) as connection:
                make(connection)
        assert describe(states[0]) == describe(states[1])
