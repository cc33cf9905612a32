"""Conditions: what `status` says of how a campaign is doing, with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from ci.cli.exits import Exit
from ci.command_line import run
from ci.reports.plan import format_markdown, format_plan
from ci.reports.progress import tell_outcome
from reconciler.ledger.schema.tables import attempts, sites
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.monitoring.health import judge_campaign
from tests.support.worlds.command_world import RealWorld
from tests.support.worlds.worlds import ONE_STEP, World, pull

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime.now(UTC)


def judge(world, now=NOW):
    (view,) = world.state_view().views
    with reading(world.state) as connection:
        found = judge_campaign(connection, view, read_pauses(connection), now)
    return [(one.kind, one.reason) for one in found]


def execute(world, statement):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(statement)


@pytest.fixture
def flying(tmp_path):
    """A world of two units, of which one is verified and the other as if still running."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.behave("status 7", "reco-2")
    world.reconcile()
    failed = attempts.c.state == "failed"
    execute(world, update(attempts).where(failed).values(state="running", ended=None))
    return world


def test_what_is_done_and_quiet_has_no_condition(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    assert judge(world) == []


def test_jobs_under_way_are_progress(flying):
    assert judge(flying) == [("Progressing", "1 job under way")]


def test_waiting_blocked_and_degraded_say_why(tmp_path):
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 1"), campaign=ONE_STEP)
    world.register_runs([3])
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.behave("status 7", "reco-2")
    world.reconcile()
    pull(world, lambda levers: levers.pause("site:local", "a new disk"))
    (waiting, blocked, degraded) = judge(world)
    assert waiting[0] == "Waiting"
    assert waiting[1].startswith("1 unit of reco: ")
    assert blocked[0] == "Blocked"
    assert "site:local is paused since" in blocked[1]
    assert "by shifter@example.org: a new disk" in blocked[1]
    assert degraded == (
        "Degraded",
        "in quarantine: 1 unit of reco: the application ended with status 7",
    )


def test_failures_that_differ_in_names_and_numbers_alone_are_told_once(tmp_path, capsys):
    world = World(
        tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 1"), campaign=ONE_STEP, slots=1
    )
    world.behave(
        'report {"failure": {"class": "input", "message": "raw.1.0.root is 7 bytes short"}}', "reco-1"
    )
    world.behave(
        'report {"failure": {"class": "input", "message": "raw.2.0.root is 9 bytes short"}}', "reco-2"
    )
    tell_outcome(world.reconcile())
    assert (
        "failed: proc7/reco/3:1: raw.1.0.root is 7 bytes short (and 1 unit alike)\n"
        in capsys.readouterr().err
    )
    assert judge(world) == [
        ("Degraded", "in quarantine: 2 units of reco: raw.1.0.root is 7 bytes short (and 1 alike)")
    ]
    plan = world.state_view().plan
    assert len(plan.campaigns[0].groups) == 2
    text = format_plan(plan)
    assert "raw.1.0.root is 7 bytes short (and 1 alike)\n        3:1-2" in text
    assert "raw.2.0.root" not in text
    assert "raw.2.0.root" not in format_markdown(plan)


def test_nothing_known_for_long_is_a_stall_and_no_progress(flying):
    since = (NOW - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    running = attempts.c.state == "running"
    execute(flying, update(attempts).where(running).values(unknown=since, reason="no answer"))
    ((kind, reason),) = judge(flying)
    assert kind == "Stalled"
    assert f"proc7/reco/3:2 since {since}: no answer" in reason
    assert "settle" in reason
    assert judge(flying, NOW - timedelta(hours=1, minutes=30)) == []


def test_a_silent_site_is_a_stall(flying):
    values = {"name": "local", "seen": "2019-02-07T12:00:00Z", "failures": 3, "reason": "timed out"}
    execute(flying, update(sites).values(values))
    assert judge(flying)[1:] == [
        (
            "Stalled",
            "local does not answer (3 times in a row, it last answered at 2019-02-07T12:00:00Z): timed out",
        )
    ]


def test_a_straggler_is_told_by_the_history_of_its_step(flying):
    with opened(flying.state) as engine, engine.begin() as connection:
        row = dict(
            connection.execute(select(attempts).where(attempts.c.state == "verified")).mappings().one()
        )
        row.pop("id")
        for number in range(2, 25):
            times = {"begun": "2019-02-07T12:00:00Z", "ended": f"2019-02-07T12:{number:02}:00Z"}
            values = {**row, **times, "number": number, "name": f"b2p-{number}"}
            connection.execute(insert(attempts).values(values))
    assert [kind for kind, _ in judge(flying)] == ["Progressing"]
    ((_, reason),) = judge(flying, NOW + timedelta(hours=2))[1:]
    assert reason.startswith("reco: 1 job under way for more than 1:0")
    assert "proc7/reco/3:2 first" in reason


def test_status_shows_conditions(tmp_path, capsys):
    world = RealWorld(tmp_path, slots=2)
    server = ["--database", world.state.server] if world.state.server else []
    base = ["--root", str(tmp_path), "--state", str(world.state.folder), *server]
    pull(world, lambda levers: levers.pause("all", "a storm"))
    assert run([*base, "status"]) == Exit.FINE
    assert "by shifter@example.org: a storm" in capsys.readouterr().out
    assert run([*base, "status", "--json"]) == Exit.FINE
    (found,) = [row for row in json.loads(capsys.readouterr().out) if "condition" in row]
    assert (found["campaign"], found["condition"]) == ("proc7", "Blocked")
