"""The sums of datasets are those of their runs, whatever happened to these."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from reconciler.datasets.summaries import summarize_datasets
from reconciler.ledger.reading.dataset_sums import count_sums, read_sums
from reconciler.ledger.schema.file_tables import dataset_sums
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.run_catalogue.file_removal import remove_files
from tests.support.worlds.worlds import World


def list_sums(world):
    """Dataset → runs, files and events of its sums, which are those that are counted."""
    with reading(world.state) as connection:
        told, counted = (
            [{**row, "recipe": None} for row in read(connection)] for read in (read_sums, count_sums)
        )
        assert told == counted
        return {one.name: (one.runs, one.files, one.events) for one in summarize_datasets(connection)}


def test_sums_follow_what_is_made_again_and_lost(tmp_path):
    world = World(tmp_path)
    world.reconcile()
    first = list_sums(world)
    assert {name: runs for name, (runs, *_) in first.items()} == {
        "detector/raw": 2,
        "proc7/reco/mdst": 2,
        "proc7/thin/udst": 2,
    }
    gone = next(path for path in world.state.storage("data").rglob("thin/**/*.root") if "r00002" in str(path))
    gone.unlink()
    world.behave("fatal no memory", "thin-2")
    world.reconcile(refresh=True)
    assert list_sums(world)["proc7/thin/udst"][:2] == (1, 1)
    world.behave("fine", "thin-2")
    world.retry()
    world.reconcile()
    assert list_sums(world) == first
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile()
    assert list_sums(world) == first, "the newest version of each run counts"


def test_sums_follow_what_is_registered_and_removed(tmp_path):
    world = World(tmp_path)
    before = list_sums(world)["detector/raw"]
    (file,) = world.register(9, "one.root", events=5)
    runs, files, events = before
    assert list_sums(world)["detector/raw"] == (runs + 1, files + 1, events + 5)
    with opened(world.state) as engine:
        remove_files(engine, [str(file)], "a test", "a test", "2026-01-01T00:00:00Z")
    assert list_sums(world)["detector/raw"] == before


@pytest.mark.parametrize("made", [True, False])
def test_a_check_of_the_state_finds_wrong_sums(tmp_path, made):
    world = World(tmp_path)
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        assert list(find_unsound(connection)) == []
        connection.execute(update(dataset_sums).where(dataset_sums.c.made.is_(made)).values(files=17))
        (said,) = find_unsound(connection)
    assert said.startswith("the sums of " + ("proc7/reco/mdst, proc7" if made else "detector/raw"))
