"""Applying plans: exactly what was planned, once; and what is left when something fails."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from sqlalchemy import delete, insert, select

from reconciler.ledger.schema.tables import files, inputs, runs
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.views import read_state_view
from tests.support.worlds.processes import kill_when
from tests.support.worlds.worlds import CAMPAIGN, ONE_STEP, World

pytestmark = pytest.mark.usefixtures("database")

FAILED = '{"failure": {"class": "input", "message": "the branch nTracksLE is missing"}}'


@pytest.mark.quick
def test_plan_apply_plan_is_empty(tmp_path):
    world = World(tmp_path)
    outcome = world.apply(world.store())
    assert (outcome.produced, outcome.failed, outcome.skipped) == (4, [], 0)
    assert world.state_view().plan.is_empty
    assert len(world.starts) == 5  # a job for each of three files, and behind them one for each run
    world.reconcile()
    assert len(world.starts) == 5


@pytest.mark.parametrize(
    "change",
    [
        ("title: A campaign of a test", "title: Another"),
        ("contact: production-manager@example.org", "contact: shifter@example.org"),
    ],
)
def test_a_change_that_describes_changes_nothing(tmp_path, change):
    world = World(tmp_path)
    world.reconcile()
    world.change(change)
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(site.read_text() + "queue: l\n")
    world.lock()
    assert world.state_view().plan.is_empty


def test_a_changed_input_file_restates_its_units_and_what_is_behind_them(tmp_path):
    world = World(tmp_path)
    world.reconcile()
    world.register(2, "raw.2.0.root", content="better data")
    assert world.groups() == [
        ("restate", "reco", "3:2", "input files changed"),
        ("restate", "thin", "3:2", "input restated"),
    ]
    world.reconcile()
    assert [row for row in world.produced() if row[2] == 2 and row[4] == 2] == [
        ("proc7", "reco", 2, "mdst", 2),
        ("proc7", "thin", 2, "udst", 2),
    ]


def test_a_changed_release_restates_the_basf2_units_and_names_both(tmp_path):
    world = World(tmp_path)
    world.reconcile()
    before = world.published()
    world.change(("release: release-03-00-00", "release: release-03-00-01"))
    assert [group[:3] for group in world.groups()] == [
        ("restate", "reco", "3:1-2"),
        ("restate", "thin", "3:1-2"),
    ]
    world.reconcile()
    assert before.items() < world.published().items()  # nothing was overwritten


def test_an_output_deleted_by_hand_is_found_and_produced_again_beside_it(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    gone = next(path for path in world.state.storage("data").rglob("*.root") if "r00002" in str(path))
    gone.unlink()
    assert world.state_view().plan.is_empty  # the ledger alone cannot know
    stored = world.store(refresh=True)
    assert world.groups(refresh=True) == [("submit", "reco", "3:2", "output is gone from the storage")]
    assert world.apply(stored).produced == 1
    assert not gone.exists()
    assert gone.parents[1].joinpath("v2", gone.name).exists()
    assert world.state_view(refresh=True).plan.is_empty


def test_a_storage_that_is_not_there_is_unknown_and_not_empty(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    world.state.storage("data").rename(tmp_path / "unmounted")
    with pytest.raises(SourceUnavailable, match="is away"):
        world.reconcile(refresh=True)
    assert len(world.starts) == 3


@pytest.mark.parametrize(
    ("move", "says"),
    [
        (lambda world: world.reconcile(), "the ledger moved"),
        (lambda world: world.register(2, "raw.2.9.root"), "runs or files were imported"),
        (
            lambda world: world.change(("title: A campaign of a test", "title: Another")),
            "the manifest of proc7 changed",
        ),
        (
            lambda world: world.change(("trigger_mode: all", "trigger_mode: hlt")),
            "the manifest of proc7 changed",
        ),
    ],
    ids=["ledger", "files", "title", "parameter"],
)
def test_a_stale_plan_is_refused_and_says_what_moved(tmp_path, move, says):
    world = World(tmp_path, campaign=ONE_STEP)
    stored = world.store()
    move(world)
    starts = len(world.starts)
    with pytest.raises(GuardRefused, match=says):
        world.apply(stored)
    assert len(world.starts) == starts


def test_an_edited_plan_is_refused(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    stored = world.store()
    with pytest.raises(GuardRefused, match="stale"):
        world.apply({**stored, "digest": "0" * 64})
    assert not world.starts


def test_two_applies_at_once_are_one(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    stored = world.store()
    with holding(world.state):
        for attempt in (lambda: world.apply(stored), world.reconcile):
            with pytest.raises(GuardRefused, match="another apply is at work"):
                attempt()
    assert not world.starts
    assert world.apply(stored).produced == 2


def test_b27_a_failing_unit_is_tried_so_often_and_then_waits_while_others_go_on(tmp_path):
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 2"))
    world.behave("status 7", "reco-1")
    first = world.reconcile()
    assert first.produced == 2
    assert first.skipped == 1
    assert first.failed == [("proc7/reco/3:1", "the application ended with status 7")]
    again = [group for group in world.groups() if group[1] == "reco"]
    assert again == [("submit", "reco", "3:1", "again, after: the application ended with status 7")]
    world.reconcile()
    assert world.summary() == {"done": 2, "waiting": 1, "quarantined": 1}
    starts = len(world.starts)
    world.reconcile()
    assert len(world.starts) == starts
    world.behave("fine", "reco-1")
    assert world.retry() == 1
    assert world.reconcile().produced == 2
    assert world.summary() == {"done": 4}


def test_a_failure_of_the_input_is_not_tried_again(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.behave(f"report {FAILED}", "reco-1")
    outcome = world.reconcile()
    assert outcome.failed == [("proc7/reco/3:1", "the branch nTracksLE is missing")]
    assert world.summary() == {"done": 1, "quarantined": 1}


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("nothing", "did not write"),
        ("signal 9", "ended by signal 9"),
        ("killed", "ended without a result"),
        ("half", "status 1"),
    ],
)
def test_no_evidence_no_output(tmp_path, behaviour, says):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,))
    world.behave(behaviour)
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    outcome = world.reconcile()
    ((unit, reason),) = outcome.failed
    assert unit == "proc7/reco/3:1"
    assert says in reason
    assert world.published() == {}
    world.behave("fine")
    assert world.reconcile().produced == 1


@pytest.mark.parametrize(
    "limits", [("max_restate: 10", "max_restate: 1"), ("max_units: 100", "max_units: 3")]
)
def test_beyond_the_limits_nothing_is_started(tmp_path, limits):
    world = World(tmp_path)
    if "max_restate" in limits[0]:
        world.reconcile()
        world.change(limits, ("trigger_mode: all", "trigger_mode: hlt"))
    else:
        world.change(limits, lock=False)
    starts = len(world.starts)
    world.reconcile()
    assert len(world.starts) == starts
    assert "blocked" in world.summary()


def test_a_held_campaign_launches_nothing(tmp_path):
    world = World(tmp_path, ("limits:", "state: held\nlimits:"))
    world.reconcile()
    assert not world.starts
    assert world.summary() == {"blocked": 4}


def test_a_run_without_files_waits_for_them(tmp_path):
    world = World(tmp_path)
    world.register_runs([3])
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.reconcile()
    assert world.summary() == {"done": 4, "waiting": 2}
    world.register(3, "raw.3.0.root")
    world.reconcile()
    assert world.summary() == {"done": 6}


@pytest.mark.parametrize(("reuse", "starts"), [("", 3), ("reuse: never\n", 6)])
def test_what_another_campaign_made_is_taken_over_unless_it_says_never(tmp_path, reuse, starts):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    again = ONE_STEP.replace("title: A campaign of a test", "title: The same again") + reuse
    world.write("productions/campaigns/proc7b/campaign.yaml", again)
    world.lock()
    world.reconcile()
    assert len(world.starts) == starts
    assert world.state_view().plan.is_empty
    assert world.summary() == ({"done": 4} if reuse else {"done": 2, "reuse": 2})


def test_the_next_step_reads_what_was_taken_over(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    world.write("productions/campaigns/proc8/campaign.yaml", CAMPAIGN)
    world.lock()
    assert world.reconcile("proc8").produced == 2
    assert {row[:2] for row in world.produced()} == {("proc7", "reco"), ("proc8", "thin")}


def test_a_catalogue_that_shrank_stops_the_campaign(tmp_path):
    world = World(tmp_path)
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(delete(runs).where(runs.c.run == 2))
    with pytest.raises(SourceUnavailable, match="lacks runs"):
        world.state_view()


def test_an_input_that_is_at_another_storage_fails_its_unit_and_says_so(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    world.write("productions/campaigns/proc7/campaign.yaml", CAMPAIGN)
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(site.read_text().replace("storage: data", "storage: other"))
    world.lock()
    outcome = world.reconcile()
    assert outcome.produced == 0
    assert {reason for _, reason in outcome.failed} == {"its input is not in the storage of local"}


def test_b27_a_file_registered_for_two_runs_stops_nobody(tmp_path):
    """Equal inputs are equal fingerprints, and one output for each is what the ledger admits (I2).

    Imports refuse such a file now; catalogues of earlier versions may have one.
    """
    world = World(tmp_path, files=(1, 0, 1))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    with opened(world.state) as engine, engine.begin() as connection:
        for table in (files, inputs):
            row = connection.execute(select(table).where(table.c.run == 1)).mappings().one()
            copied = {key: value for key, value in row.items() if key != "id"}
            connection.execute(insert(table).values({**copied, "run": 2}))
    outcome = world.reconcile()
    assert (outcome.produced, outcome.failed) == (4, [])
    assert outcome.skipped == 2
    assert world.reconcile().produced == 0
    assert world.summary() == {"done": 6}
    assert [row[1:3] for row in world.produced()] == [("reco", 1), ("reco", 3), ("thin", 1), ("thin", 3)]


def test_b27_two_files_whose_outputs_would_have_one_name_stop_their_unit_alone(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.register(2, "mdst.2.0.root")
    outcome = world.reconcile()
    assert outcome.produced == 1
    ((unit, reason),) = outcome.failed
    assert unit == "proc7/reco/3:2"
    assert "mdst.2.0.root" in reason
    assert world.summary() == {"done": 1, "quarantined": 1}


def test_b30_a_job_that_kills_its_own_runtime_is_not_tried_for_ever(tmp_path):
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 2"), campaign=ONE_STEP)
    world.behave("killed", "reco-2")
    for _ in range(4):
        world.reconcile()
    assert len(world.starts) == 2 + 2
    assert world.summary() == {"done": 1, "quarantined": 1}


def test_i8_an_interrupted_plan_is_taken_up_with_its_own_units_only(tmp_path):
    """A unit that was in flight when the plan was made is not the plan's, also when it fails in the meantime."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))
    world.behave("hang", "reco-2")
    kill_when(world.reconcile, lambda: len(world.starts) == 2 and len(world.produced()) == 1)
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.behave("hang", "reco-3")
    stored = world.store()
    assert [group[:3] for group in world.groups()] == [
        ("submit", "reco", "3:3"),
        ("in flight", "reco", "3:2"),
    ]
    for process in world.processes():
        os.kill(process, signal.SIGKILL)
    kill_when(lambda: world.apply(stored), lambda: len(world.starts) == 3)
    (tmp_path / "go").touch()
    world.apply(stored)
    assert len(world.starts) == 3
    assert world.summary() == {"done": 2, "submit": 1}


def test_a_state_folder_that_cannot_be_made_is_unavailable(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="cannot be"), holding(State(tmp_path / "file" / "state")):
        pass
    assert not world.starts


def test_only_folders_of_our_own_attempts_are_swept(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    stranger = world.state.attempts / "b2p-beef-other-reco-e3r1-j00000000-i1-a1"
    stranger.mkdir(parents=True)
    world.reconcile()
    world.reconcile()
    assert world.workspaces() == [stranger.name]


@pytest.mark.parametrize("slots", [1, 2])
def test_a_unit_with_more_jobs_than_slots_is_made_in_one_turn(tmp_path, slots):
    world = World(tmp_path, campaign=ONE_STEP, files=(5, 3), slots=slots)
    outcome = world.reconcile()
    assert (outcome.produced, outcome.failed) == (2, [])
    assert len(world.starts) == 8


def test_a_unit_with_more_jobs_than_slots_fails_once(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(4, 1), slots=1)
    world.behave("status 7", "reco-1")
    outcome = world.reconcile()
    assert outcome.produced == 1
    assert outcome.failed == [("proc7/reco/3:1", "the application ended with status 7")]


def test_a_unit_that_is_stopped_before_all_its_jobs_began_is_told_as_failed(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(3, 1), slots=1)
    world.behave(f"report {FAILED}", "reco-1")
    outcome = world.reconcile()
    assert outcome.produced == 1
    assert outcome.failed == [("proc7/reco/3:1", "the branch nTracksLE is missing")]


def test_b15_a_plan_is_of_one_moment_whatever_is_written_meanwhile(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    with reading(world.state) as connection:
        before = read_state_view(connection, world.repository(), ["proc7"], world.state).plan.digest()
        world.register(2, "raw.2.9.root")
        assert read_state_view(connection, world.repository(), ["proc7"], world.state).plan.digest() == before
    assert world.state_view().plan.digest() != before


def test_i7_what_git_no_longer_declares_is_not_deleted(tmp_path):
    """Neither a run nor a campaign that is gone from git takes its data along."""
    world = World(tmp_path, campaign=ONE_STEP + "reuse: never\n")
    world.write("productions/campaigns/other/campaign.yaml", ONE_STEP)
    world.lock()
    world.reconcile()
    before = world.published()
    shutil.rmtree(tmp_path / "productions/campaigns/other")
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    world.reconcile()
    assert world.published() == before
    assert world.summary() == {"done": 1, "obsolete": 1}
