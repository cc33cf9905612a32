"""Markers: another disk, a second state folder, an older or a foreign ledger are noticed before anything is done with them."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from reconciler.datasets.markers import BrokenMarker, Marker, Standing, judge_place, read_marker, write_marker
from reconciler.datasets.places import STATE, STORAGE, ForeignPlace
from reconciler.execution.recovery.recovering import adopt_place, recover
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.upkeep.succession import list_formers
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.transaction import Writer
from reconciler.monitoring.site_checks import check_state
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.storage.mounts import MARKER
from tests.support.worlds.lost_ledgers import copy_ledger, lose, put_back, recover_world
from tests.support.worlds.processes import find_processes, start_forked, wait_forked, wait_until
from tests.support.worlds.skimmed import Skimmed
from tests.support.worlds.worlds import ONE_STEP, World

A, B, MINE, OTHER = "a" * 32, "b" * 32, "1" * 32, "2" * 32


@pytest.mark.parametrize(
    ("found", "known", "filled", "standing"),
    [
        (None, None, False, Standing.NEW),
        (None, None, True, Standing.NEW),
        (None, A, False, Standing.NEW),
        (None, A, True, Standing.AWAY),
        (Marker(A, MINE, 5), A, True, Standing.OWN),
        (Marker(A, MINE, 6), A, True, Standing.AHEAD),
        (Marker(A, MINE, 6), None, False, Standing.AHEAD),
        (Marker(A, MINE, 5), None, True, Standing.OWN),
        (Marker(B, MINE, 5), A, True, Standing.FOREIGN),
        (Marker(A, OTHER, 5), A, True, Standing.FOREIGN),
        (Marker(A, OTHER, 5), None, False, Standing.FOREIGN),
        (Marker(A, "0" * 32, 99), A, True, Standing.OWN),
    ],
)
def test_how_a_place_stands_to_a_ledger(found, known, filled, standing):
    """The ledger is at serial 5, and was another before."""
    assert judge_place(found, known, MINE, 5, {"0" * 32}, filled=filled)[0] is standing


@given(st.text(alphabet="0123456789abcdef", min_size=32, max_size=32), st.integers(0, 2**40))
def test_a_marker_is_read_as_it_was_written(tmp_path_factory, name, serial):
    folder = tmp_path_factory.mktemp("place")
    write_marker(folder, Marker(name, OTHER, serial))
    assert read_marker(folder) == Marker(name, OTHER, serial)
    assert os.listdir(folder) == [MARKER]


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 2000, b"\xff", b'{"schema": "place/2"}'])
def test_what_is_no_marker_is_told(tmp_path, content):
    (tmp_path / MARKER).write_bytes(content)
    with pytest.raises(BrokenMarker):
        read_marker(tmp_path)


@pytest.fixture
def world(tmp_path):
    """One unit of two is made, in a storage outside of the state."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(site.read_text().replace("storage: data", f"storage: {tmp_path}/store"))
    world.pin()
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    return world


def recover_store(world):
    return recover(world.state, world.repository(), [f"{world.root}/store"])


def complaints(world):
    return [one.complaint.what for one in check_state(world.state) if one.complaint and one.complaint.fatal]


def test_another_disk_at_the_path_is_written_by_nobody(world):
    store = world.root / "store"
    store.rename(world.root / "away")
    store.mkdir()
    (store / "something").mkdir()
    with pytest.raises(SourceUnavailable, match="it has no marker, and the ledger has published there"):
        world.reconcile()
    with pytest.raises(SourceUnavailable, match="what it holds cannot be told"):
        world.state_view(refresh=True)
    write_marker(store, Marker(B, OTHER, 3))
    with pytest.raises(ForeignPlace, match=r"it belongs to the ledger .*`b2prod state adopt"):
        world.reconcile()
    assert sorted(os.listdir(store)) == [MARKER, "something"]
    assert len(world.starts) == 1, "nothing was submitted"
    shutil.rmtree(store)
    (world.root / "away").rename(store)
    assert world.reconcile().produced == 1


def test_a_person_may_say_that_another_disk_is_right(world):
    store = world.root / "store"
    (store / MARKER).unlink()
    assert adopt_place(world.state, STORAGE, str(store), "shifter@example.org", "the marker was removed")
    assert world.reconcile().produced == 1


def test_an_older_ledger_does_nothing_before_a_person_has_said_so(world):
    copy_ledger(world, "older")
    world.reconcile()
    put_back(world, "older")
    assert "an older copy was put back" in complaints(world)[0]
    with pytest.raises(ForeignPlace, match="an older copy was put back"):
        world.reconcile()
    assert recover_store(world).adopted == 1
    assert complaints(world) == []
    assert world.reconcile().produced == 0
    assert len(world.starts) == 2


def test_an_older_ledger_that_came_as_far_by_other_ways_is_one_all_the_same(world):
    copy_ledger(world, "older")
    world.reconcile()
    with reading(world.state) as connection:
        serial = read_identity(connection).serial
    put_back(world, "older")
    with opened(world.state) as engine:
        levers = OperatorActions(Writer(engine, None), "shifter@example.org")
        for _ in range(serial):
            levers.release(Scope("proc7", "proc7"), "again")
    with pytest.raises(ForeignPlace, match=r"journal is not in this one's"):
        world.reconcile()


def test_a_new_ledger_in_a_state_that_had_one_does_nothing_either(world):
    with reading(world.state) as connection:
        before = read_identity(connection).ledger
    lose(world)
    assert f"it belongs to the ledger {before[:8]}" in complaints(world)[0]
    with pytest.raises(ForeignPlace, match="`b2prod state rebuild` takes over what is published"):
        world.reconcile()
    assert recover_store(world).adopted == 1
    with reading(world.state) as connection:
        assert before in list_formers(connection)
    assert world.reconcile().produced == 1


def test_a_ledger_that_was_lost_may_be_begun_anew_on_a_persons_word(world):
    lose(world)
    adopt_place(world.state, STATE, str(world.state.folder), "shifter@example.org", "begun anew")
    assert world.reconcile().produced == 1
    assert world.summary() == {"done": 1, "blocked": 1}, "what is published is seen all the same"


def test_a_second_state_folder_on_one_database_leaves_the_jobs_of_the_first_alone(
    tmp_path, postgresql, monkeypatch
):
    monkeypatch.setattr("tests.support.worlds.worlds.SERVER", postgresql.create_database())
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.reconcile()
    second = State(tmp_path / "second", world.state.server)
    first, world.state = world.state, second
    world.register(1, "late.root")
    with pytest.raises(ForeignPlace, match="the ledger works with the state folder"):
        world.reconcile()
    adopt_place(second, STATE, str(second.folder), "shifter@example.org", "moved there")
    world.reconcile()
    world.state = first
    with pytest.raises(ForeignPlace):
        world.reconcile()


def test_jobs_of_a_ledger_that_was_lost_are_ended_and_their_folders_go(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.behave("hang")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 2)
    os.kill(child, 9)
    wait_forked(child)
    assert world.processes()
    strangers = world.workspaces()
    lose(world)
    recover_world(world)
    world.behave("fine")
    world.reconcile()
    wait_until(lambda: not find_processes(world.state.attempts))
    world.reconcile()
    assert (world.summary(), world.workspaces()) == ({"done": 2}, [])
    assert strangers


def test_the_verb_says_what_was_wrong_and_what_may_be_adopted(tmp_path, capsys):
    skimmed = Skimmed(tmp_path)
    (tmp_path / ".b2prod/data" / MARKER).unlink()
    assert skimmed.b2prod("reconcile", "--once") == Exit.UNAVAILABLE
    assert skimmed.b2prod("doctor", "local") == Exit.FINDINGS
    capsys.readouterr()
    assert skimmed.b2prod("status") == Exit.FINE
    assert "is away: it has no marker" in capsys.readouterr().err
    assert skimmed.b2prod("verify") == Exit.UNAVAILABLE
    assert skimmed.b2prod("state", "adopt", "nowhere", "--reason", "x") == Exit.USAGE
    capsys.readouterr()
    assert skimmed.b2prod("state", "adopt", "local", "--reason", "it was removed by hand") == Exit.FINE
    assert "it has no marker" in capsys.readouterr().err
    assert skimmed.b2prod("reconcile", "--once") == Exit.FINE
    assert skimmed.b2prod("state", "rebuild", "--dry-run") == Exit.FINE
    assert "0 outputs would be taken over, 3 known before, 0 left" in capsys.readouterr().err
    with opened(State(tmp_path / ".b2prod")):
        pass
