"""What a job leaves is judged, whatever it is: no turn stands still for it, and the other jobs go on."""

from __future__ import annotations

import json
import os
from collections import Counter

import pytest
from sqlalchemy import select

from reconciler.execution.tracking.workspace import LOG, LOG_COUNTED, RESULT_SIZE, STARTED, Workspace
from reconciler.ledger.schema.tables import attempts
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.operator_actions import OperatorActions
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.ledger.writing.transaction import Writer
from renderer.jobs.logs import find_signature
from tests.support.worlds.production_model import Production
from tests.support.worlds.worlds import World

pytestmark = pytest.mark.usefixtures("bound")


@pytest.fixture
def production(template, monkeypatch):
    production = Production(template, monkeypatch, shared=True, attached=False)
    yield production
    production.close()


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "attempts" / "a1").mkdir(parents=True)
    return Workspace(tmp_path / "attempts", tmp_path / "batches")


def leave(production, spoil):
    """A turn after two jobs ended, one of which left something else: that one's state, and what is said of it."""
    production.turn()
    for _ in range(2):
        production.cluster.work_all()
    job = next(one for one in production.cluster.jobs if "-reco-e3r1-" in one.name)
    spoil(job.room)
    production.pass_time(100)
    production.turn()
    states = Counter(state for name, state in production.tried().items() if name != job.name)
    assert states["verified"] >= 1, "the others went on"
    production.check()
    (row,) = production.rows(select(attempts.c.state, attempts.c.reason).where(attempts.c.name == job.name))
    return row.state, row.reason


def change(**values):
    def spoil(room):
        file = room / "result.json"
        result = json.loads(file.read_text())
        result |= {name: value for name, value in values.items() if name != "events"}
        if "events" in values:
            result["outputs"][0]["events"] = values["events"]
        file.write_text(json.dumps(result))

    return spoil


def write(name, text):
    return lambda room: (room / name).write_text(text)


def replace(name, make):
    def spoil(room):
        (room / name).unlink()
        make(room / name)

    return spoil


def link(file):
    kept = file.with_name("kept.json")
    kept.write_text("{}")
    file.symlink_to(kept)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(change(events=2**70), "maximum", id="events"),
        pytest.param(change(events=1.0), "whole number", id="a fraction"),
        pytest.param(change(events=-1), "minimum", id="fewer than no events"),
        pytest.param(change(events=1.5), "integer", id="an event and a half"),
        pytest.param(change(events_read=2**70), "maximum", id="events read"),
        pytest.param(change(cpu_seconds=float("nan")), "NaN is not a number", id="no number"),
        pytest.param(change(cpu_seconds=float("inf")), "Infinity is not a number", id="infinity"),
        pytest.param(change(cpu_seconds=10**400), "result.json is malformed", id="a long number"),
        pytest.param(change(failure={"class": "transient", "message": "\udc80b"}), "\ufffdb", id="surrogate"),
        pytest.param(change(failure={"class": "transient", "message": "a\0b"}), "a\ufffdb", id="NUL"),
        pytest.param(change(outputs=[1] * 300_000), "result.json is malformed", id="many mistakes"),
        pytest.param(write("result.json", "[" * 100_000), "nested too deeply", id="deep"),
        pytest.param(lambda room: os.truncate(room / "result.json", 1 << 44), "larger than", id="huge"),
        pytest.param(replace("result.json", os.mkfifo), "not a plain file", id="pipe"),
        pytest.param(replace("result.json", os.mkdir), "not a plain file", id="folder"),
        pytest.param(replace("result.json", link), "not a plain file", id="link"),
        pytest.param(
            change(event_numbers={"size": 5, "checksum": f"sha256:{'0' * 64}"}),
            "event-numbers is not there",
            id="no record of events",
        ),
        pytest.param(change(record={"unwritten": ["x"]}), "malformed", id="a record of another form"),
    ],
)
def test_what_is_no_result_fails_its_own_attempt_and_holds_up_nobody(production, spoil, said):
    state, reason = leave(production, spoil)
    assert state == "failed"
    assert said in reason
    assert len(reason) <= 2000
    production.converge()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(write("job.json", "{}"), id="empty"),
        pytest.param(replace("job.json", os.mkfifo), id="pipe"),
        pytest.param(lambda room: (room / "job.json").unlink(), id="gone"),
    ],
)
def test_what_a_job_makes_of_its_own_description_says_nothing(production, spoil):
    assert leave(production, spoil)[0] == "verified"


def test_a_result_that_says_no_number_of_events_is_one(production):
    def spoil(room):
        result = json.loads((room / "result.json").read_text())
        del result["events_read"]
        (room / "result.json").write_text(json.dumps(result))

    assert leave(production, spoil)[0] == "verified"


def test_an_engine_that_measured_nothing_has_no_numbers(production):
    assert leave(production, change(wall_seconds=0.0, cpu_seconds=0.0, host="h\x07"))[0] == "verified"
    verified = select(attempts.c.wall_seconds, attempts.c.cpu_seconds, attempts.c.host)
    used = production.rows(verified.where(attempts.c.state == "verified"))
    assert Counter(map(tuple, used)) == {(None, None, None): 1, (1.0, 0.5, None): len(used) - 1}


def test_a_whole_result_is_far_below_the_bound():
    output = {
        "output": "s" * 40,
        "file": "f" * 255,
        "size": 10**15,
        "checksum": f"sha256:{'0' * 64}",
        "events": 10**12,
    }
    assert 2000 * len(json.dumps(output)) < RESULT_SIZE


def test_a_text_that_no_database_can_hold_is_recorded_without_that(tmp_path, database):
    world = World(tmp_path)
    with opened(world.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").pause("all", "a\0b\udc80c")
    with reading(world.state) as connection:
        assert [pause.reason for pause in read_pauses(connection)] == ["a\ufffdb\ufffdc"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_what_stands_for_a_start_mark_is_none_of_ours_and_nothing_waits_for_it(workspace, make):
    make(workspace.path("a1") / STARTED)
    assert workspace.was_started("a1")
    assert not workspace.bury("a1")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_what_stands_for_a_log_is_none(workspace, make):
    make(workspace.path("a1") / LOG)
    assert workspace.read_log("a1") == ("", 1)


@pytest.mark.parametrize("ends", ["\n", ""])
def test_in_a_log_without_an_end_lines_are_counted_from_its_end(workspace, ends):
    """It has many gigabytes, and is not read for a number."""
    log = workspace.path("a1") / LOG
    log.touch()
    os.truncate(log, 1 << 40)
    with log.open("a") as stream:
        stream.write(f"\n[FATAL] it is full\nthe last but one\nthe last{ends}")
    text, first = workspace.read_log("a1")
    found = find_signature(text, "basf2", first=first)
    assert (found.number, found.line) == (-3, "[FATAL] it is full")
    assert found.place == "line 3 from the end"


def test_in_a_long_log_lines_are_counted_from_its_beginning(workspace):
    (workspace.path("a1") / LOG).write_text("a line\n" * 400_000 + "[FATAL] it is full\n")
    text, first = workspace.read_log("a1")
    assert len(text) < LOG_COUNTED
    assert find_signature(text, "basf2", first=first).place == "line 400001"
