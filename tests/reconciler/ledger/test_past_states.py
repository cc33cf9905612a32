"""States that earlier versions made go on where they were: with all their rows, and nothing is produced again.

Each is a fixture of `tests/past_states`, which `make.py` there makes by that version's own code.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, func, insert, inspect, select, text

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import State, migrating, opened, reading
from reconciler.ledger.store.privacy import close_state
from reconciler.ledger.store.schema_versions import HEAD, list_versions, upgrade_tables
from reconciler.ledger.store.state import parse_address

ROOT = Path(__file__).parents[3]
FIXTURES = Path(__file__).parents[2] / "past_states"
PAST = {file.name.partition(".")[0]: file for file in sorted(FIXTURES.glob("*.sql.xz"))}
BEFORE_WHOLE_EVENTS = {"0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0010"}
"""Versions of the application `uproot/1`, whose skims held the variables that were read alone. What a skim holds was changed
on purpose, and the application's name, which is in each fingerprint, with it; nothing else may differ."""


def test_every_released_version_has_a_state():
    """A new migration comes with a state of the version before: `python -m tests.past_states.make COMMIT`."""
    assert {*list_versions()} - {HEAD} == {*PAST} - {HEAD}


def read_rows(fixture, file):
    """The rows of each table of a fixture, which is loaded into a new SQLite file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(lzma.decompress(fixture.read_bytes()).decode())
    engine = create_engine(f"sqlite:///{file}")
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return rows


def fill_server(state, version, rows):
    """The same rows in PostgreSQL, in the tables that the migrations make there of that version."""
    with migrating(state) as connection:
        upgrade_tables(connection, version)
    engine = create_engine(parse_address(state.server).set(drivername="postgresql+psycopg"))
    metadata = MetaData()
    with engine.begin() as connection:
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name != "alembic_version" and rows[table.name]:
                connection.execute(insert(table), rows[table.name])
            for column in table.primary_key:
                if (
                    own := inspect(connection).get_sequence_names()
                ) and f"{table.name}_{column.name}_seq" in own:
                    name = f"{table.name}_{column.name}_seq"
                    connection.execute(
                        text(f"SELECT setval('{name}', (SELECT max({column.name}) FROM {table.name}))")
                    )
    engine.dispose()
    assert {*rows} == {*metadata.tables}


def lay_out(root):
    """A checkout of today with the campaign of the fixtures."""
    shutil.copytree(ROOT / "productions", root / "productions")
    for other in ("campaigns", "archive"):
        shutil.rmtree(root / "productions" / other)
    (root / "productions/campaigns/past").mkdir(parents=True)
    shutil.copy(FIXTURES / "campaign.yaml", root / "productions/campaigns/past")


@pytest.mark.slow
@pytest.mark.parametrize("version", PAST)
def test_a_state_of_the_past_is_migrated_with_its_rows_and_restates_nothing(
    version, tmp_path, database, capsys
):
    lay_out(tmp_path)
    state = State(tmp_path / ".b2prod", database)
    close_state(State(state.folder))
    rows = read_rows(PAST[version], state.database if database is None else tmp_path / "copy.sqlite")
    if database is not None:
        fill_server(state, version, rows)

    def call(*arguments):
        capsys.readouterr()
        code = run(["--root", str(tmp_path), *arguments])
        return code, capsys.readouterr()

    if version != HEAD:
        code, said = call("status")
        assert (code, f"is of version {version}" in said.err) == (Exit.USAGE, True)
    assert call("migrate")[0] == Exit.FINE
    with reading(state) as connection:
        found = Counter(
            {
                name: connection.execute(
                    select(func.count()).select_from(tables.metadata.tables[name])
                ).scalar()
                for name in {*rows, "upgrades"} - {"alembic_version"}
            }
        )
        made = connection.execute(select(tables.products.c.path, tables.products.c.checksum)).all()
        states = Counter(connection.execute(select(tables.attempts.c.state)).scalars())
    before = Counter({name: len(table) for name, table in rows.items() if name != "alembic_version"})
    before["upgrades"] += version != HEAD
    assert +found == +before
    assert sorted(made) == sorted((row["path"], row["checksum"]) for row in rows["products"])
    assert states["verified"] == 3

    assert call("resolve", "past")[0] == Exit.FINE
    code, said = call("plan", "past", "--format", "json")
    assert code == Exit.FINE, said.err
    (campaign,) = json.loads(said.out)["campaigns"]
    told = {(one["action"], one["runs"]): one["reason"] for one in campaign["groups"]}
    if version in BEFORE_WHOLE_EVENTS:
        restated = "application changed: uproot/1 -> uproot/2"
        assert told == {("submit", "12:4"): "not produced", ("restate", "12:1-3"): restated}
    else:
        assert told.keys() == {("quarantined", "12:4")}, "what failed for good rests, with its reason"
        assert campaign["summary"]["done"] == 3
    with opened(state) as engine, engine.begin() as connection:  # what is written next has numbers of its own
        connection.execute(insert(tables.plans).values(digest="next", content=b"", begun="t", serial=1))
        new = insert(tables.intents).values(
            plan="next", campaign="next", step="s", experiment=1, run=1, state="open"
        )
        assert connection.execute(new).inserted_primary_key[0] > max(row["id"] for row in rows["intents"])
