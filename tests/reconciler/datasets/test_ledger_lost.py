"""A ledger that is lost, or put back from an older copy: what was published is seen before it is made again, and taken over."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from reconciler.datasets.places import STATE
from reconciler.execution.recovery.rebuilding import Fate
from reconciler.execution.recovery.recovering import adopt_place, look_around
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.journal import read_journal, read_rows, rebuild
from tests.support.worlds.lost_ledgers import (
    check_once,
    copy_ledger,
    lose,
    lose_at_moments,
    put_back,
    recover_world,
    storages,
)
from tests.support.worlds.processes import run_forked, start_forked, wait_forked, wait_until
from tests.support.worlds.production_model import make_copy
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, campaign=ONE_STEP)


def test_what_is_published_is_seen_before_it_is_made_again(world):
    world.reconcile()
    before, starts = world.published(), len(world.starts)
    lose(world)
    ((action, _, runs, reason),) = world.groups()
    assert (action, runs) == ("blocked", "3:1-2")
    assert "is taken" in reason
    assert "`b2prod state rebuild`" in reason
    adopt_place(world.state, STATE, str(world.state.folder), "shifter@example.org", "begun anew")
    world.reconcile()
    assert (world.published(), len(world.starts)) == (before, starts)


def test_a_lost_ledger_is_made_again_from_the_records(world):
    world.change(("max_restate: 10", "max_restate: 0"), lock=True)
    world.reconcile()
    lost = world.produced()
    with reading(world.state) as connection:
        rows = read_rows(connection)
    lose(world)
    looked = look_around(world.state, world.repository(), storages(world))
    assert [one.fate for one in looked.survey.found] == [Fate.ADOPT] * 2
    assert world.produced() == [], "a look writes nothing"
    done = recover_world(world)
    assert (done.adopted, done.reserved, done.survey.unrecorded) == (2, 0, ())
    assert world.produced() == lost
    assert world.summary() == {"done": 2}
    with reading(world.state) as connection:
        again = read_rows(connection)
        entries = list(read_journal(connection))
    for table, own in (
        ("outputs", ("plan", "intent", "recipe", "id", "produced")),
        ("products", ("output", "attempt")),
        ("attempts", ("id", "job", "nonce", "fence", "batch", "place", "kept")),
        ("jobs", ("id", "intent")),
    ):
        old, new = (
            sorted(json.dumps(strip(row, own), sort_keys=True) for row in some[table])
            for some in (rows, again)
        )
        assert new == old, table
    with make_copy().begin() as copy:
        rebuild(copy, entries)
        assert read_rows(copy) == again, "the journal has it too"
    assert recover_world(world).adopted == 0
    starts = len(world.starts)
    world.reconcile()
    assert len(world.starts) == starts


def strip(row, names):
    return {key: value for key, value in row.items() if key not in names}


def test_versions_keep_their_numbers_and_the_next_one_follows(world):
    world.reconcile()
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile()
    lost = world.produced()
    assert sorted(row[-1] for row in lost) == [1, 1, 2, 2]
    lose(world)
    recover_world(world)
    assert world.produced() == lost
    assert world.summary() == {"done": 2}
    world.change(("trigger_mode: hlt", "trigger_mode: all"))
    assert world.summary() == {"done": 2}, "it was made so before"


def test_an_older_copy_takes_over_what_was_made_since(world):
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    copy_ledger(world, "older")
    world.change(('ranges: "1"', 'ranges: "1-2"'))
    world.reconcile()
    lost, before = world.produced(), world.published()
    put_back(world, "older")
    assert world.summary() == {"done": 1, "blocked": 1}
    assert recover_world(world).adopted == 1
    assert world.produced() == lost
    world.reconcile()
    assert (world.summary(), world.published()) == ({"done": 2}, before)


def test_what_was_under_way_in_the_copy_is_done_with_what_came_of_it(world):
    """The copy has live attempts, whose outputs were published since and whose folders are gone."""
    world.behave("hang")
    child = start_forked(world.reconcile)
    wait_until(lambda: len(world.starts) == 3)
    os.kill(child, signal.SIGKILL)
    wait_forked(child)
    copy_ledger(world, "older")
    world.write("go", "")
    world.reconcile()
    lost, starts = world.produced(), len(world.starts)
    put_back(world, "older")
    recover_world(world)
    assert world.produced() == lost
    world.reconcile()
    assert (world.summary(), len(world.starts)) == ({"done": 2}, starts)
    assert world.attempts() == {"verified": 3}


@pytest.mark.parametrize("spoiled", ["changed", "gone", "open", "moved", "forged", "nonsense", "link"])
def test_what_does_not_agree_is_left_and_made_anew_beside_it(world, spoiled):
    world.reconcile()
    data = min(world.state.storage("data").rglob("*.root"))
    (record,) = data.parent.glob(".b2prod.*.json")
    content = data.read_bytes()
    match spoiled:
        case "changed":
            data.chmod(0o644)
            data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "gone":
            data.unlink()
        case "open":
            record.chmod(0o644)
        case "moved":
            (data.parents[1] / "v7").mkdir()
            record.rename(data.parents[1] / "v7" / record.name)
        case "forged":
            told = json.loads(record.read_bytes())
            told["recipe"]["release"] = "release-09-00-00"
            record.unlink()
            record.write_text(json.dumps(told))
            record.chmod(0o444)
        case "nonsense":
            record.unlink()
            record.write_text("[" * 100_000)
            record.chmod(0o444)
        case "link":
            record.rename(world.root / "elsewhere")
            record.symlink_to(world.root / "elsewhere")
    lose(world)
    done = recover_world(world)
    assert done.adopted == 1
    (left,) = done.survey.choose(Fate.LEFT)
    assert left.reason
    if spoiled in ("changed", "gone"):
        assert done.reserved == 1
        world.reconcile()
        assert world.summary() == {"done": 2}
        assert sorted(row[-1] for row in world.produced()) == [1, 2]
    else:
        assert set(done.survey.unrecorded) == {str(file) for file in data.parent.glob("*.root")}
        assert world.summary() == {"done": 1, "blocked": 1}


def test_a_record_can_only_say_that_something_is_done_which_is_to_be_made(world):
    """A job wrote it: of a unit that nobody declares, in a version far away, for a file that is not there."""
    world.reconcile()
    data = min(world.state.storage("data").rglob("*.root"))
    (record,) = data.parent.glob(".b2prod.*.json")
    told = json.loads(record.read_bytes())
    for changes in ({"version": 5000}, {"campaign": "other"}, {"experiment": 4}):
        forged = {**told, **changes}
        folder = data.parents[5].parent / f"forged{len(changes)}{next(iter(changes))}"
        forged["folder"] = str(folder.relative_to(world.state.storage("data")))
        folder.mkdir()
        shutil.copy(data, folder)
        file = folder / f".b2prod.mdst.v{forged['version']}.json"
        file.write_text(json.dumps(forged))
        file.chmod(0o444)
    lose(world)
    done = recover_world(world)
    assert done.adopted == 2
    assert len(done.survey.choose(Fate.LEFT)) == 3
    assert {row[0] for row in world.produced()} == {"proc7"}
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.reconcile()
    assert max(row[-1] for row in world.produced()) == 2


UNITS, MOMENTS = 100, 10


@pytest.mark.slow
def test_ten_losses_in_a_campaign_and_every_output_exists_once(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=[1] * UNITS, slots=8)
    world.change(('ranges: "1-2"', f'ranges: "1-{UNITS}"'))
    lose_at_moments(world, UNITS, MOMENTS, world.reconcile)
    for _ in range(3):
        run_forked(world.reconcile)
    check_once(world, UNITS)
    assert world.workspaces() == []
