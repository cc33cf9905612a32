"""Brakes: what of a plan does not begin in a turn, and what is said of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from ci.cli.exits import Exit
from ci.reports.progress import tell_outcome
from reconciler.execution.apply import reconcile
from reconciler.execution.tracking.workspace import Workspace
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.schema.tables import files, inputs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.operator_actions import OperatorActions
from reconciler.ledger.writing.transaction import Writer
from reconciler.monitoring.health import judge_campaign
from reconciler.outside.errors import SourceUnavailable
from tests.support.worlds.builders import snapshot
from tests.support.worlds.processes import run_forked
from tests.support.worlds.worlds import ONE_STEP, QUIET, World

LIMITS = "limits: {max_units: 100, max_restate: 10}"


def put_on_tape(world, number, answer):
    """Run `number` is on tape, and the site's command says `answer` of each file."""
    tool = world.root / "stage"
    tool.write_text(f"#!/bin/sh\nfor file; do echo {answer} $file; done\n")
    tool.chmod(0o755)
    site = world.root / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}prestage: {{command: [{tool}], batch: 10, in_flight: 100}}\n")
    world.pin()
    world.lock()
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(files).where(files.c.run == number).values(storage="tape"))
        connection.execute(update(inputs).where(inputs.c.run == number).values(on_disk=0))


def test_what_lies_behind_a_unit_whose_input_is_on_tape_waits_with_it(tmp_path):
    world = World(tmp_path, files=(1, 1))
    put_on_tape(world, 1, "staging")
    outcome = world.reconcile()
    assert (outcome.failed, outcome.staging, outcome.produced) == ([], 1, 2)
    assert outcome.held == {"what they read is not made yet": 1}


def test_the_input_of_what_a_canary_holds_back_is_brought_to_disk_meanwhile(tmp_path):
    world = World(tmp_path, (LIMITS, f"{LIMITS}\ncanary: {{runs: 1}}"), campaign=ONE_STEP, files=(1, 1))
    put_on_tape(world, 2, "staging")
    outcome = world.reconcile()
    assert (outcome.produced, outcome.staging) == (1, 0)
    assert outcome.held == {"the canary of proc7 goes first": 1}
    with opened(world.state) as engine, engine.begin() as connection:
        query = select(files.c.storage).where(files.c.run == 2)
        assert connection.execute(query).scalars().all() == ["staging"]
    outcome = world.reconcile()
    assert (outcome.produced, outcome.staging) == (0, 1)


def test_what_cannot_begin_takes_no_place_among_those_in_flight(tmp_path):
    limited = LIMITS.replace("}", ", max_in_flight: 1}")
    world = World(tmp_path, (LIMITS, limited), campaign=ONE_STEP, files=(1, 1))
    put_on_tape(world, 1, "lost")
    outcome = world.reconcile()
    assert [unit for unit, _ in outcome.failed] == ["proc7/reco/3:1"]
    assert ("proc7", "reco", 2, "mdst", 1) in world.produced()


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_is_begun_than_may_be_in_flight(tmp_path, limit):
    limited = LIMITS.replace("}", f", max_in_flight: {limit}}}")
    world = World(tmp_path, (LIMITS, limited), campaign=ONE_STEP, files=(1, 1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    outcome = world.reconcile()
    assert outcome.produced == limit
    assert outcome.held == {f"proc7 has `max_in_flight: {limit}`": 3 - limit}


def test_a_turn_that_a_pause_holds_up_says_so(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    with opened(world.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").pause("all", "the storage is moved")
    assert tell_outcome(world.reconcile()) == Exit.FINE
    told = capsys.readouterr().err
    assert "2 units not begun: all is paused by shifter@example.org: the storage is moved" in told


def judge(world):
    with reading(world.state) as connection:
        return [
            one.reason
            for one in judge_campaign(connection, world.state_view().views[0], (), datetime.now(UTC))
        ]


def test_a_canary_that_was_made_before_lets_new_runs_go_though_it_may_not_be_made_again(tmp_path):
    limits = LIMITS.replace("max_restate: 10}", "max_restate: 0}\ncanary: {runs: 1}")
    world = World(tmp_path, (LIMITS, limits), campaign=ONE_STEP, files=(1, 1, 1))
    world.reconcile()
    world.reconcile()
    iovs = (f"CDCGeometry 2 {2:032x} 0,0,3,1", f"CDCGeometry 1 {1:032x} 3,2,-1,-1")
    world.write("productions/global-tags/tag_a.iov", snapshot("tag_a", *iovs))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    assert world.reconcile().produced == 1
    assert [group[0] for group in world.groups()] == ["blocked"]


def test_a_canary_that_never_ends_by_itself_is_told(tmp_path):
    world = World(tmp_path, (LIMITS, f"{LIMITS}\ncanary: {{runs: 1}}"), campaign=ONE_STEP, files=(1, 1))
    world.behave('report {"failure": {"class": "permanent", "message": "no"}}', "reco-1")
    world.reconcile()
    outcome = world.reconcile()
    assert outcome.held == {"the canary of proc7 goes first": 1}
    (told,) = (reason for reason in judge(world) if "canary" in reason)
    assert "all others wait for its canary of 1 runs" in told
    assert "reco/3:1 is quarantined" in told
    world.behave("fine", "reco-1")
    world.retry()
    world.reconcile()
    world.reconcile()
    assert world.summary() == {"done": 2}
    assert not any("canary" in reason for reason in judge(world))


def test_a_disk_that_fills_up_in_mid_turn_is_told_with_what_did_not_begin(tmp_path, monkeypatch):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,) * 6, slots=2)
    world.change(('ranges: "1-2"', 'ranges: "1-6"'))
    prepare = Workspace.prepare
    left = 3

    def fill(workspace, attempt, files):
        nonlocal left
        if left == 0:
            raise SourceUnavailable(f"{workspace.folder} cannot be written: No space left on device")
        left -= 1
        prepare(workspace, attempt, files)

    monkeypatch.setattr(Workspace, "prepare", fill)
    outcome = world.reconcile()
    full = f"{world.state.attempts} cannot be written: No space left on device"
    assert (outcome.failed, list(outcome.held)) == ([], [full])
    assert outcome.produced in (2, 3)  # whose batch it was that the disk ended, one or two, both begin anew
    assert outcome.produced + outcome.held[full] == 6
    monkeypatch.setattr(Workspace, "prepare", prepare)
    assert world.reconcile().failed == []
    assert world.state_view().plan.is_empty
    assert world.attempts()["verified"] == 6


def test_a_site_that_takes_no_more_is_told_with_what_did_not_begin(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,) * 4, slots=1)
    world.change(('ranges: "1-2"', 'ranges: "1-4"'))
    world.behave("hang")

    def turn():
        outcome = reconcile(world.state, world.repository(), ["proc7"], QUIET, TurnOptions(bound=0.0))
        (tmp_path / "held").write_text(json.dumps(outcome.held))

    assert run_forked(turn) == 0
    held = json.loads((tmp_path / "held").read_text())
    assert held == {"local has 1 jobs in flight, and more are not begun there at once": 3}
    (tmp_path / "go").touch()
    assert world.reconcile().held == {}
    assert world.summary() == {"done": 4}
