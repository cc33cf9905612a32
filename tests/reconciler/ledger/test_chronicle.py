"""The chronicle: what happened, in the words of the field, with the unit, the attempt and the site it is about."""

from __future__ import annotations

import json

import pytest

from ci.reports.monitoring import find_logged, log_events
from reconciler.ledger.reading.event_log import LogEvent, find_last, read_events
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.transaction import Writer
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def world(tmp_path, database):
    return World(tmp_path, campaign=ONE_STEP, files=(1,))


def tell(world, after=0):
    with reading(world.state) as connection:
        return read_events(connection, after)


def test_a_unit_is_told_from_its_plan_to_its_product(world):
    world.reconcile()
    events, last = tell(world)
    names = [event.name for event in events]
    told = [
        "plan.begun",
        "unit.begun",
        "attempt.begun",
        "attempt.submitted",
        "attempt.verified",
        "unit.produced",
    ]
    assert [name for name in names if name in told] == told
    verified = next(event for event in events if event.name == "attempt.verified")
    assert {key: verified.facts[key] for key in ("campaign", "step", "run", "site")} == {
        "campaign": "proc7",
        "step": "reco",
        "run": "3:1",
        "site": "local",
    }
    assert verified.facts["attempt"].startswith("b2p-")
    with reading(world.state) as connection:
        assert find_last(connection) == last
    assert tell(world, last) == ([], last)


def test_failures_and_decisions_say_why_and_who(world):
    world.behave("status 3")
    world.reconcile()
    _, last = tell(world)
    with opened(world.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").quarantine(
            Scope("proc7", "proc7"), "to be looked at"
        )
    events, _ = tell(world)
    failed = next(event for event in events if event.name == "attempt.failed")
    assert (failed.facts["failure"], "status 3" in failed.facts["reason"]) == ("unclassified", True)
    assert sorted(event.name for event in tell(world, last)[0]) == ["decision.taken", "unit.quarantined"]
    decision = next(event for event in events if event.name == "decision.taken")
    assert (decision.facts["who"], decision.facts["verb"]) == ("shifter@example.org", "quarantine")
    assert json.dumps([event.data() for event in events])


def test_entries_are_read_piece_by_piece_and_none_is_left_out(world):
    world.reconcile()
    whole, end = tell(world)
    pieces, last = [], 0
    while last < end:
        with reading(world.state) as connection:
            some, last = read_events(connection, last, 2)
        pieces += some
    assert pieces == whole


def test_a_log_goes_on_where_it_ended_even_behind_half_a_line(tmp_path):
    log = tmp_path / "events.log"
    assert find_logged(log) is None
    events = [LogEvent(number, "2019-02-07T12:00:00Z", "unit.produced", {"run": "3:1"}) for number in (6, 7)]
    log_events(log, events)
    with (tmp_path / "events.log").open("a") as stream:
        stream.write('{"entry": 8, "ti')
    assert find_logged(log) == 7
    first = json.loads((tmp_path / "events.log").read_text().splitlines()[0])
    assert first == {"entry": 6, "time": "2019-02-07T12:00:00Z", "event": "unit.produced", "run": "3:1"}
