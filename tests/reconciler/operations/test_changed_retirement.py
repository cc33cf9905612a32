"""A retirement that is said anew while an action of it is under way, and odd things in the trash: nothing is stuck, nothing is told wrongly."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from reconciler.ledger.schema.operation_tables import operations
from reconciler.model.names import TOMBSTONES
from tests.support.worlds.retired_storage import RetiredStorage


@pytest.fixture
def world():
    made = RetiredStorage()
    made.sign()
    yield made
    made.close()


def states(world):
    return {world.state(number) for number in world.places}


def kinds(world):
    with world.engine.begin() as connection:
        columns = (operations.c.kind, operations.c.state)
        return [tuple(row) for row in connection.execute(select(*columns).order_by(operations.c.id))]


def say_anew(world, reason="made with the wrong tag"):
    world.reason = reason
    world.sign()


def spoil(world, number):
    """Somebody writes into a file of an output that is in the trash."""
    file = world.storage / world.aside(number) / world.places[number][1][1]
    before = file.read_text()
    file.write_text("x")
    return file, before


@pytest.mark.parametrize("kill", [1, 5, 7, 11, 15])
def test_a_trash_that_is_said_anew_while_it_is_under_way_goes_on_with_what_was_begun(world, kill):
    world.turn(kill)
    assert kinds(world) == [("trash", "intended")]
    say_anew(world)
    outcome = world.turn()
    assert not outcome.failed
    assert not outcome.barred
    assert states(world) == {"trashed"}
    assert kinds(world) == [("trash", "refused"), ("trash", "done")]
    world.check()


def test_a_purge_that_is_said_anew_while_it_is_under_way_goes_on(world):
    world.turn()
    world.days = 31
    world.turn(kill=8)
    assert kinds(world)[-1] == ("purge", "intended")
    say_anew(world)
    assert not world.turn().barred
    assert states(world) == {"purged"}


def test_an_output_of_which_a_part_is_in_the_trash_is_not_published_again(world):
    world.turn(kill=15)  # of the first one the files are aside, and this is not recorded yet
    file, before = spoil(world, 1)
    assert world.turn().failed
    assert world.state(1) == "trashed"
    file.write_text(before)
    world.turn()
    assert states(world) == {"trashed"}
    world.check()


def test_what_is_in_the_trash_already_is_left_there_by_the_next_action(world):
    world.turn()
    file, before = spoil(world, 1)
    world.restore()
    assert [world.state(number) for number in (1, 2, 3)] == ["trashed", "produced", "produced"]
    say_anew(world)
    assert not world.turn().failed
    assert states(world) == {"trashed"}
    world.restore()  # one that could not come back before stops no other
    assert [world.state(number) for number in (1, 2, 3)] == ["trashed", "produced", "produced"]
    file.write_text(before)
    world.restore()
    assert states(world) == {"produced"}
    world.check()


def test_what_was_restored_does_not_go_again_when_its_manifest_is_as_it_was_before(world):
    world.turn()
    world.restore()
    say_anew(world)
    world.turn()
    world.restore()
    world.reason = "superseded"
    assert world.plan().why.startswith("it was restored")


@pytest.mark.parametrize("when", ["before the trash", "before the purge"])
@pytest.mark.parametrize("what", ["link", "file"])
def test_something_in_the_place_of_the_tombstones_stops_it_before_anything_is_deleted(world, what, when):
    odd = world.storage / TOMBSTONES
    if when == "before the purge":
        world.turn()
    odd.symlink_to(world.outside) if what == "link" else odd.write_text("")
    world.days = 31
    outcome = world.turn()
    assert "is a link, or no folder" in outcome.failed[0][1]
    assert not [file for file in world.outside.iterdir() if file.name != "secret"]
    world.check()
    odd.unlink()
    world.turn()
    world.days = 70
    world.turn()
    assert states(world) == {"purged"}
