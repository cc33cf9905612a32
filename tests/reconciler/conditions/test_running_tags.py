"""The talk's three cases of a running tag, told run by run, and what else may become of one.

cdst is made for runs 1 to 5; calibration then uploads a payload that is valid from run 3 on; a week later a better one.
"""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.reading.observation import read_payloads, read_used
from reconciler.ledger.schema.tables import snapshots
from reconciler.ledger.store.database import opened, reading
from renderer.steering import load_templates
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import ONE_STEP, World

pytestmark = pytest.mark.usefixtures("database")

GEOMETRY = f"CDCGeometry 1 {'c' * 32} 0,0,-1,-1"
FIRST = f"CDCTimeZeros 1 {'1' * 32} 0,0,-1,-1"
BETTER = f"CDCTimeZeros 2 {'2' * 32} 3,3,-1,-1"
BEST = f"CDCTimeZeros 3 {'3' * 32} 3,3,-1,-1"


class Tag:
    """A running tag, where a test writes what the conditions database has of it."""

    def __init__(self, world):
        self.world = world
        self.file = world.root / "database" / "tag_a.iov"

    def write(self, *lines, state="RUNNING"):
        self.world.write("database/tag_a.iov", snapshot("tag_a", *lines).replace("PUBLISHED", state))

    def follow(self, *options):
        return self.world.call("gt", "follow", "--from", self.file, *options)


@pytest.fixture
def start(tmp_path):
    """A world of five runs whose campaign follows the tag, with what a change of it means."""

    def begin(mode, files=(1,) * 5, ranges="1-5"):
        world = World(
            tmp_path, ('"1-2"', f'"{ranges}"'), ("mode: snapshot", mode), campaign=ONE_STEP, files=files
        )
        world.templates = load_templates()
        world.write("productions/global-tags/tag_a.iov", snapshot("tag_a", GEOMETRY, FIRST))
        world.lock()
        world.call = lambda *words: run(["--root", str(world.root), *map(str, words)])
        return world, Tag(world)

    return begin


def time_zeros(world):
    """Run → revision of CDCTimeZeros that it was made with."""
    with reading(world.state) as connection:
        used = read_used(connection, "proc7")
        sets = read_payloads(connection, used)
    return {
        key & 0xFFFFFFFF: next(one.revision for one in sets[digest] if one.name == "CDCTimeZeros")
        for digest, keys in used.items()
        for key in keys
    }


def test_scenario_1_what_was_made_before_the_upload_is_known_and_what_comes_waits_for_it(start):
    """A second campaign (the mdst) begins after the upload: each has what it was to have, and it is on record."""
    world, tag = start("mode: running, on_change: forward")
    world.reconcile()
    tag.write(GEOMETRY, FIRST, BETTER)
    assert tag.follow() == Exit.FINE
    assert world.state_view("proc7").plan.is_empty
    text = (world.root / "productions/campaigns/proc7/campaign.yaml").read_text()
    world.write("productions/campaigns/proc7m/campaign.yaml", text.replace("kind:", "reuse: never\nkind:"))
    world.lock()
    world.reconcile("proc7m")
    assert time_zeros(world) == dict.fromkeys(range(1, 6), "1")
    with reading(world.state) as connection:
        used = read_used(connection, "proc7m")
        sets = read_payloads(connection, used)
    later = {
        one.revision: [key & 0xFFFFFFFF for key in keys]
        for digest, keys in used.items()
        for one in sets[digest]
        if one.name == "CDCTimeZeros"
    }
    assert later == {"1": [1, 2], "2": [3, 4, 5]}


def test_scenario_1_2_a_better_payload_restates_exactly_the_runs_that_it_is_for(start, capsys):
    world, tag = start("mode: running, on_change: restate")
    tag.write(GEOMETRY, FIRST, BETTER)
    tag.follow()
    world.reconcile()
    assert time_zeros(world) == {1: "1", 2: "1", 3: "2", 4: "2", 5: "2"}
    tag.write(GEOMETRY, FIRST, BETTER, BEST)
    capsys.readouterr()
    assert tag.follow("--json", "--exit-code") == Exit.CHANGES
    (told,) = json.loads(capsys.readouterr().out)
    assert told["runs"] == "3:3-5"
    assert [(one["payload"], one["kind"]) for one in told["changes"]] == [("CDCTimeZeros", "changed")]
    assert world.groups() == [("restate", "reco", "3:3-5", "payload CDCTimeZeros changed")]
    world.reconcile()
    assert time_zeros(world) == {1: "1", 2: "1", 3: "3", 4: "3", 5: "3"}
    assert world.state_view().plan.is_empty


def test_scenario_1_2_nobody_cares_but_the_mixture_is_seen(start, capsys):
    world, tag = start("mode: running, on_change: forward", ranges="1-4")
    tag.write(GEOMETRY, FIRST, BETTER)
    tag.follow()
    world.reconcile()
    tag.write(GEOMETRY, FIRST, BETTER, BEST)
    tag.follow()
    world.change(('"1-4"', '"1-5"'))
    assert world.groups() == [("submit", "reco", "3:5", "not produced")]
    world.reconcile()
    assert time_zeros(world) == {1: "1", 2: "1", 3: "2", 4: "2", 5: "3"}
    assert world.state_view().plan.is_empty
    capsys.readouterr()
    assert world.call("status") == Exit.FINE
    assert "proc7 is a mixture" in capsys.readouterr().out
    assert world.call("status", "--json") == Exit.FINE
    (row,) = json.loads(capsys.readouterr().out)
    assert sorted(row["begun_with"].values()) == [1, 4]


def test_scenario_3_a_snapshot_stays_until_somebody_cuts_a_new_one(start, capsys):
    world, tag = start("mode: snapshot")
    world.reconcile()
    tag.write(GEOMETRY, FIRST, BETTER)
    assert tag.follow() == Exit.FINE
    assert "no live campaign has a running tag" in capsys.readouterr().err
    assert world.state_view().plan.is_empty
    assert world.call("gt", "pull", "tag_a", "--from", tag.file) == Exit.REFUSED
    assert world.call("gt", "pull", "tag_a", "--from", tag.file, "--replace") == Exit.FINE
    assert world.call("plan") == Exit.FINDINGS  # the lock is stale: re-resolving is a decision, and reviewed
    world.lock()
    assert world.groups() == [("restate", "reco", "3:3-5", "payload CDCTimeZeros changed")]


def test_ignored_changes_leave_the_baseline_and_block_what_it_does_not_cover(start):
    world, tag = start("mode: running, on_change: ignore", ranges="1-4")
    tag.write(GEOMETRY, FIRST, BETTER)
    tag.follow()
    assert [group[:3] for group in world.groups()] == [("submit", "reco", "3:1-4")]
    world.reconcile()
    assert time_zeros(world) == dict.fromkeys(range(1, 5), "1")
    world.change(('"1-4"', '"1-5"'))
    tag.write(GEOMETRY, FIRST, f"BeamSpot 1 {'b' * 32} 3,5,-1,-1")
    tag.follow()
    assert world.groups() == [
        ("blocked", "reco", "3:5", "the baseline of tag_a has no BeamSpot for it, and changes are ignored")
    ]


def test_runs_stay_with_a_baseline_that_was_replaced(start):
    """A new baseline is for the runs that come; what began with the old one is still known, payload by payload."""
    world, _ = start("mode: running, on_change: forward", ranges="1-4")
    world.reconcile()
    changed = snapshot("tag_a", GEOMETRY, FIRST, BETTER)
    world.write("productions/global-tags/tag_a.iov", changed)
    world.change(('"1-4"', '"1-5"'), ("trigger_mode: all", "trigger_mode: hlt"))
    assert [group[:3] for group in world.groups()] == [
        ("submit", "reco", "3:5"),
        ("restate", "reco", "3:1-4"),
    ]
    world.reconcile()
    assert time_zeros(world) == {1: "1", 2: "1", 3: "1", 4: "1", 5: "2"}


def test_a_later_snapshot_is_no_drift_of_the_lock(start):
    world, tag = start("mode: running, on_change: restate")
    tag.write(GEOMETRY, FIRST, BETTER)
    tag.follow()
    assert world.call("resolve", "proc7", "--check") == Exit.FINE
    assert world.call("check") == Exit.FINE


def test_appending_is_no_breach_and_an_unchanged_tag_changes_nothing(start, capsys):
    world, tag = start("mode: running, on_change: restate")
    world.reconcile()
    tag.write(GEOMETRY, FIRST, f"CDCTimeZeros 2 {'2' * 32} 3,6,-1,-1")
    assert tag.follow("--exit-code") == Exit.FINE
    assert "nothing changed for the runs of the catalogue" in capsys.readouterr().err
    assert world.state_view().plan.is_empty
    before = world.store()
    assert tag.follow() == Exit.FINE
    assert "tag_a: unchanged" in capsys.readouterr().err
    assert world.store()["digest"] == before["digest"]


def test_what_was_found_last_counts_also_where_a_clock_went_back(start):
    world, tag = start("mode: running, on_change: restate")
    world.reconcile()
    tag.write(GEOMETRY, FIRST, BETTER)
    assert tag.follow() == Exit.FINE
    with opened(world.state) as engine, engine.begin() as connection:
        ahead = update(snapshots).where(snapshots.c.followed.is_not(None))
        connection.execute(ahead.values(followed="2999-12-31T23:59:59.999999Z"))
    tag.write(GEOMETRY, FIRST, BEST)
    assert tag.follow() == Exit.FINE
    world.reconcile()
    assert time_zeros(world)[3] == "3"


@pytest.mark.parametrize("state", ["OPEN", "INVALID"])
def test_a_tag_that_no_job_may_use_is_not_followed(start, state, capsys):
    world, tag = start("mode: running, on_change: restate")
    before = world.store()
    tag.write(GEOMETRY, FIRST, BETTER, state=state)
    assert tag.follow() == Exit.FINDINGS
    assert state in capsys.readouterr().err
    assert world.store()["digest"] == before["digest"]


def test_a_source_that_is_away_changes_nothing(start, tmp_path):
    world, tag = start("mode: running, on_change: restate")
    assert tag.follow() == Exit.UNAVAILABLE
    assert world.summary() == {"submit": 5}


@pytest.mark.parametrize(
    ("mode", "hint"),
    [("mode: running", "on_change: restate"), ("mode: snapshot, on_change: ignore", "mode: running")],
)
def test_a_running_tag_says_what_a_change_means_and_a_snapshot_does_not(start, mode, hint, capsys):
    world, _ = start("mode: snapshot")
    world.change(("mode: snapshot", mode), lock=False)
    assert world.call("check") == Exit.FINDINGS
    found = capsys.readouterr().out
    assert "BP207" in found
    assert hint in found
