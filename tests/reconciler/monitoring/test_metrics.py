"""Metrics: what the ledger says at a scrape, what turns were like, on loopback; a ledger that cannot be read is one too."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import urllib3
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ci.changes.project import Project
from ci.reports.monitoring import Monitor
from reconciler.ledger.store.database import State, opened
from reconciler.ledger.writing.pauses import PauseWriter
from reconciler.ledger.writing.transaction import Writer
from reconciler.monitoring.health import HealthStatus
from reconciler.monitoring.metrics import LedgerCollector, TurnMetrics
from tests.support.worlds.command_world import RealWorld
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import ONE_STEP, World


def read(registry):
    """Samples by name and labels."""
    return parse(generate_latest(registry).decode())


def parse(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def world(tmp_path, database):
    return World(tmp_path, campaign=ONE_STEP, files=(1, 1))


def test_the_ledger_is_measured(world):
    world.behave("status 3", "reco-2")
    world.reconcile()
    with opened(world.state) as engine:
        PauseWriter(Writer(engine, None)).pause("site:local", "operator", "why", "shifter@example.org")
    registry = CollectorRegistry()
    registry.register(LedgerCollector(world.state))
    found = read(registry)
    assert found["b2prod_ledger_up",] == 1
    assert found["b2prod_units", "proc7", "produced", "reco"] == 1
    assert found["b2prod_units", "open", "proc7", "reco"] == 1
    assert found["b2prod_attempts", "local", "verified"] == 1
    assert found["b2prod_attempts", "failed", "local"] >= 1
    assert found["b2prod_paused", "operator", "site:local"] == 1


def test_a_ledger_that_cannot_be_read_says_so_and_nothing_else(tmp_path):
    registry = CollectorRegistry()
    registry.register(LedgerCollector(State(tmp_path)))
    assert read(registry) == {("b2prod_ledger_up",): 0}


def test_turns_plans_and_conditions_are_noted(world, monkeypatch):
    plan = world.state_view().plan
    registry = CollectorRegistry()
    turns = TurnMetrics(registry)
    stalled = [HealthStatus("proc7", "Stalled", "a"), HealthStatus("proc7", "Stalled", "b")]
    at = datetime(2019, 2, 7, tzinfo=UTC)
    turns.note(2.0, at, plan, stalled, fine=True, whole=True)
    found = read(registry)
    assert found["b2prod_turns_total", "fine"] == 1
    assert found["b2prod_turn_seconds_sum",] == 2.0
    assert found["b2prod_plan_units", "proc7", "submit"] == 2
    assert found["b2prod_condition", "Stalled", "proc7"] == 2
    assert found["b2prod_last_turn_timestamp_seconds",] == at.timestamp()
    assert found["b2prod_good_turn_age_seconds",] < 5
    monkeypatch.setattr("time.monotonic", lambda real=time.monotonic: real() + 1000)
    turns.note(1.0, at, None, [], fine=False, whole=False)
    found = read(registry)
    assert 1000 <= found["b2prod_good_turn_age_seconds",] < 1010, "one that was cut short is not a good one"
    assert found["b2prod_turns_total", "trouble"] == 1
    assert found["b2prod_plan_units", "proc7", "submit"] == 2, "a turn without a plan says nothing of it"


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_they_are_served_on_loopback_and_the_port_is_free_again(tmp_path, capsys):
    project = Project(tmp_path, State(tmp_path / ".b2prod"))
    with Monitor(project, ("127.0.0.1", 0)):
        address = re.search(r"http://127\.0\.0\.1:[0-9]+/metrics", capsys.readouterr().err)[0]
        answer = urllib3.request("GET", address, retries=False, timeout=5.0)
        assert parse(answer.data.decode())["b2prod_ledger_up",] == 0
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", address, retries=False, timeout=5.0)


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_port_that_somebody_has_is_told_once_and_taken_when_it_is_free(tmp_path, capsys):
    project = Project(tmp_path, State(tmp_path / ".b2prod"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with Monitor(project, ("127.0.0.1", port)) as monitor:
            monitor.begin()
            monitor.end(None, [], whole=True)
            assert capsys.readouterr().err.count(f"no metrics can be served at 127.0.0.1:{port}") == 1
            other.close()
            monitor.begin()
            assert scrape(f"http://127.0.0.1:{port}/metrics") is not None


def test_what_could_not_be_logged_is_logged_in_the_next_turn(world, capsys):
    log = world.root / "away" / "events.log"
    with Monitor(Project(world.root, world.state), log=log) as monitor:
        monitor.begin()
        world.reconcile()
        monitor.end(None, [], whole=True)
        assert "cannot be written: No such file or directory; it is tried again" in capsys.readouterr().err
        log.parent.mkdir()
        monitor.begin()
        monitor.end(None, [], whole=True)
        monitor.end(None, [], whole=True)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(event["event"] == "unit.produced" for event in events) == 2


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_thousand_idle_connections_leave_the_reconciler_its_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("reconciler.outside.metrics_server._Handler.timeout", 0.5)
    project = Project(tmp_path, State(tmp_path / ".b2prod"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(Monitor(project, ("127.0.0.1", 0)))
        address = re.search(r"http://127\.0\.0\.1:([0-9]+)/metrics", capsys.readouterr().err)
        before = len(os.listdir("/proc/self/fd"))
        client = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", IDLE, address[1]], stdout=subprocess.PIPE, stdin=subprocess.PIPE
            )
        )
        assert client.stdout.readline() == b"connected\n"
        assert len(os.listdir("/proc/self/fd")) < before + 50
        wait_until(lambda: scrape(address[0]) is not None, 20)
        client.communicate(b"\n")


IDLE = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(1000)]
print("connected", flush=True)
sys.stdin.readline()
"""


def scrape(address):
    try:
        return parse(urllib3.request("GET", address, retries=False, timeout=5.0).data.decode())
    except urllib3.exceptions.HTTPError:
        return None


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_reconciler_that_goes_on_for_ever_is_measured_and_logged(tmp_path):
    world = RealWorld(tmp_path, slots=2)
    log = tmp_path / "events.log"
    process = world.start("reconcile", "--watch", "--interval", "0.2", "--metrics", "0", "--log", str(log))
    try:
        said = tmp_path / "log"
        wait_until(lambda: "metrics are at" in said.read_text(), 30)
        address = re.search(r"http://\S+", said.read_text())[0]

        def complete() -> bool:
            answer = urllib3.request("GET", address, retries=False, timeout=5.0)
            found = parse(answer.data.decode())
            done = found.get(("b2prod_plan_units", "done", "proc7"))
            return found.get(("b2prod_units", "proc7", "produced", "reco")) == done == 3

        wait_until(complete, 60)
        wait_until(lambda: log.read_text().count("unit.produced") == 3)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events].count("unit.begun") == 3, "the first turn's are there too"
    assert {event["run"] for event in events if "run" in event} == {"3:1", "3:2", "3:3"}
