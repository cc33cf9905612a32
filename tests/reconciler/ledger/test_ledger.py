"""The ledger's promises are the database's: one live attempt, one live output, one open intent."""

from __future__ import annotations

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, insert, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.journal import read_journal, read_rows, rebuild
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.model.states import FailureClass
from reconciler.model.work_items import Product
from reconciler.outside.errors import SourceUnavailable
from tests.support.worlds.worlds import ONE_STEP, World, make_work_item

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, campaign=ONE_STEP)


def copy_first(world, table, **changes):
    """Inserts the first row of a table again, with changes."""
    with opened(world.state) as engine, engine.begin() as connection:
        row = dict(connection.execute(select(table)).mappings().first())
        row.pop("id")
        connection.execute(insert(table).values({**row, **changes}))


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (tables.attempts, {"state": "submitted", "number": 9, "name": "b2p-other"}),
        (tables.outputs, {"version": 9}),
        (tables.intents, {"state": "open"}),
    ],
    ids=["I1 attempts", "I2 outputs", "intents"],
)
def test_the_database_refuses_a_second_one(world, table, changes):
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(tables.attempts).values(state="submitted"))
        connection.execute(update(tables.intents).values(state="open"))
    with pytest.raises(IntegrityError):
        copy_first(world, table, **changes)


def serial(world):
    with reading(world.state) as connection:
        return read_identity(connection).serial


def test_the_serial_moves_with_what_plans_depend_on(world):
    before = serial(world)
    world.reconcile()
    after = serial(world)
    assert after > before
    world.reconcile()
    assert serial(world) == after, "a turn that does nothing moves nothing"


def test_the_serial_moves_when_one_of_a_units_jobs_is_verified_but_not_when_it_is_submitted(world):
    """The unit is in flight while any of its jobs is; the last end changes that, also where it is a good one."""
    ledgers: dict[str, list[int]] = {"record_submitted": [], "record_verified": []}
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        ledger, recorder = Ledger(writer), AttemptLedger(writer)
        ledger.begin_plan("0" * 64, {})
        (item,) = ledger.intend([make_work_item(world)])
        both = [attempt for attempt, _ in recorder.begin(item.split())]
        for number, attempt in enumerate(both):
            before = serial(world)
            recorder.record_submitted({attempt.id: str(number)})
            ledgers["record_submitted"].append(serial(world) - before)
        first, second = both
        recorder.record_failed(first, FailureClass.TRANSIENT, "lost its way", max_attempts=3)
        before = serial(world)
        assert not recorder.record_verified(second, [Product("mdst", "a.root", 1, "sha256:00", 1)], 1)
        ledgers["record_verified"].append(serial(world) - before)
    assert ledgers == {"record_submitted": [0, 0], "record_verified": [1]}


def test_what_an_engine_took_is_recorded_of_all_at_once_and_only_where_it_is_waited_for(world):
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        ledger, recorder = Ledger(writer), AttemptLedger(writer)
        ledger.begin_plan("0" * 64, {})
        (item,) = ledger.intend([make_work_item(world)])
        first, second = (attempt.id for attempt, _ in recorder.begin(item.split()))
        recorder.record_deferred([first], "full")
        said = []
        event.listen(engine, "before_cursor_execute", lambda *told: said.append(told[2]))
        recorder.record_submitted({first: "7_0", second: "7_1", 999: "7_2"})
        assert len([one for one in said if one.startswith("UPDATE attempts")]) == 1
        assert world.rows(tables.attempts, "state", "reference") == [("deferred", None), ("submitted", "7_1")]
        with engine.connect() as connection:
            rows, entries = read_rows(connection), list(read_journal(connection))
            last = [told for verb, name, told in entries[-1] if (verb, name) == ("update", "attempts")]
            assert [told["id"] for told in last] == [second]
            rebuild(connection, entries)
            assert read_rows(connection) == rows


@pytest.mark.parametrize(
    ("counts", "events"), [((1, 2), 3), ((0, 0), 0), ((5, None), None), ((None, None), None)]
)
def test_the_events_of_an_output_are_known_where_those_of_each_file_are(world, counts, events):
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        ledger, recorder = Ledger(writer), AttemptLedger(writer)
        ledger.begin_plan("0" * 64, {})
        (item,) = ledger.intend([make_work_item(world)])
        for number, (attempt, _) in enumerate(recorder.begin(item.split())):
            recorder.record_submitted({attempt.id: str(number)})
            made = Product("mdst", f"{number}.root", 1, "sha256:00", counts[number])
            assert recorder.record_verified(attempt, [made], 7) == (number == 1)
        ledger.record_produced(item.intent)
    assert world.rows(tables.outputs, "state", "events") == [("produced", events)]


def test_the_migrations_make_the_tables_that_the_code_knows(world):
    with opened(world.state) as engine, engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_a_damaged_database_is_a_source_that_is_unavailable(world, database):
    if database is not None:
        with psycopg.connect(database) as connection:
            connection.execute("ALTER TABLE runs RENAME TO walks")
    world.state.database.write_bytes(b"no database at all" * 100)
    for suffix in ("-wal", "-shm"):
        world.state.database.with_name(world.state.database.name + suffix).unlink(missing_ok=True)
    with pytest.raises(SourceUnavailable, match="cannot be used"):
        world.state_view()


def test_a_reader_cannot_write(world):
    with pytest.raises(SourceUnavailable, match=r"read-?only"), reading(world.state) as connection:
        connection.execute(update(tables.ledger).values(serial=99))
