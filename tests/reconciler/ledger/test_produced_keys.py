"""The keys of produced outputs are those of the outputs, whatever happened to these, and a plan from them is the same."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update

from reconciler.ledger.reading.produced_columns import read_produced
from reconciler.ledger.reading.produced_keys import find_wrong_keys
from reconciler.ledger.schema.file_tables import produced_keys
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.model.states import OutputState
from reconciler.planning.views import view_campaign
from tests.support.worlds.worlds import World


def list_absent(connection, world):
    """What the keys say: output → the indices of units that lack it; and how many outputs there are, and whether others."""
    units = view_campaign(connection, world.repository(), "proc7", world.state).units
    produced, count, others = read_produced(connection, "proc7", units, ())
    columns = {output: column for item in units for output, column in item.fingerprints.items()}
    return {output: list(produced.find_absent(column)) for output, column in columns.items()}, count, others


def count_produced(connection):
    here = outputs.c.state == OutputState.PRODUCED
    return connection.execute(select(func.count()).where(here)).scalar_one()


def test_keys_follow_what_is_made_again_and_lost(tmp_path):
    world = World(tmp_path)

    def agree():
        with reading(world.state) as connection:
            assert find_wrong_keys(connection) == set()
            kept = sum(map(len, connection.scalars(select(produced_keys.c["keys"]))))
            assert kept == 16 * count_produced(connection)

    world.reconcile()
    agree()
    gone = next(path for path in world.state.storage("data").rglob("thin/**/*.root") if "r00002" in str(path))
    gone.unlink()
    world.behave("fatal no memory", "thin-2")
    world.reconcile(refresh=True)
    agree()
    world.behave("fine", "thin-2")
    world.retry()
    world.reconcile()
    agree()
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile()
    agree()


def test_outputs_are_read_where_keys_are_not_complete(tmp_path):
    world = World(tmp_path)
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        with_keys = list_absent(connection, world)
        assert with_keys[1] == count_produced(connection) > 0
        connection.execute(delete(produced_keys))
        assert list_absent(connection, world) == with_keys


def test_a_check_of_the_state_finds_wrong_keys(tmp_path):
    world = World(tmp_path)
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        assert list(find_unsound(connection)) == []
        connection.execute(update(produced_keys).values(keys=bytes(16)))
        assert list(find_unsound(connection)) == ["the keys of proc7 are not those of the outputs there are"]
