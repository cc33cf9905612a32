"""How watched sources answer is shown: by status, with its exit code, by doctor, and in the metrics."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import opened
from reconciler.monitoring.metrics import LedgerCollector
from reconciler.outside.clock import Clock
from reconciler.sources.records import record_answer, record_failure, record_question
from renderer.steering import load_templates
from tests.support.worlds.watched_site import START
from tests.support.worlds.worlds import ONE_STEP, World

SOURCES = "sources:\n  runs: [{list: ROOT/runs.csv}]\n  files: [{folder: ROOT/raw, level: raw}]\n"
CLOCK = Clock(time=lambda: START)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, campaign=ONE_STEP)
    made.templates = load_templates()
    made.lock()
    file = tmp_path / "productions/sites/local.yaml"
    file.write_text(file.read_text() + SOURCES.replace("ROOT", str(tmp_path)))
    made.pin()
    made.write("runs.csv", "experiment,run\n")
    made.runs, made.files = f"runs of {tmp_path}/runs.csv", f"raw files of {tmp_path}/raw"
    with opened(made.state) as engine, engine.begin() as connection:
        for source in (made.runs, made.files):
            record_question(connection, f"local: {source}", 60, CLOCK)
        record_answer(connection, f"local: {made.files}", "refused: 1, first a.root: why", CLOCK)
    return made


def fail(world, times=2):
    with opened(world.state) as engine, engine.begin() as connection:
        for _ in range(times):
            record_failure(connection, f"local: {world.runs}", "it holds no run", 60, CLOCK)


def call(world, *words):
    return run(["--root", str(world.root), *words])


def test_status_shows_each_source_and_ends_with_4_while_one_fails(world, capsys):
    assert call(world, "status") == Exit.FINE
    told = " ".join(capsys.readouterr().out.split())
    assert f"local: {world.runs} never 2019-02-12T20:33:20Z is asked" in told
    assert "refused: 1, first a.root: why" in told
    fail(world)
    assert call(world, "status") == Exit.UNAVAILABLE
    printed = capsys.readouterr()
    assert "failed 2 times in a row: it holds no run" in printed.out
    assert f"local: {world.runs} fails" in printed.err
    assert call(world, "status", "proc7") == Exit.FINE, "one that asks for a campaign gets the campaign"


def test_status_has_them_as_data(world, capsys):
    fail(world, 1)
    assert call(world, "status", "--json") == Exit.UNAVAILABLE
    found = {one["source"]: one for one in json.loads(capsys.readouterr().out) if "source" in one}
    assert found[f"local: {world.runs}"] == {
        "source": f"local: {world.runs}",
        "asked": "2019-02-12T19:33:20Z",
        "answered": None,
        "failed": "2019-02-12T19:33:20Z",
        "failures": 1,
        "after": "2019-02-12T20:33:20Z",
        "reason": "it holds no run",
        "note": None,
    }


def test_doctor_looks_for_their_files_and_tells_how_they_answered(world, capsys):
    def ask():
        code = call(world, "doctor", "local", "--json")
        found = json.loads(capsys.readouterr().out)
        return code, {one["looked_at"]: (one["state"], one.get("what", "")) for one in found}

    code, found = ask()
    assert code == Exit.FINE
    assert found[world.runs] == ("fine", "")
    assert found[world.files] == ("note", "refused: 1, first a.root: why")
    shutil.rmtree(world.root / "raw")
    fail(world)
    code, found = ask()
    assert code == Exit.FINE, "it stands in the way of nothing"
    assert found[world.files] == ("note", f"{world.root}/raw cannot be read here")
    assert found[world.runs] == ("note", "it failed 2 times in a row, it never answered: it holds no run")


def test_metrics_have_failures_and_silence(world):
    fail(world)
    registry = CollectorRegistry()
    now = datetime.fromtimestamp(START, UTC) + timedelta(hours=2)
    registry.register(LedgerCollector(world.state, lambda: now))
    read = registry.get_sample_value
    assert read("b2prod_source_failures", {"source": f"local: {world.runs}"}) == 2
    assert read("b2prod_source_failures", {"source": f"local: {world.files}"}) == 0
    assert read("b2prod_source_silence_seconds", {"source": f"local: {world.files}"}) == 7200
    assert read("b2prod_source_silence_seconds", {"source": f"local: {world.runs}"}) is None
