"""What good jobs used: measured by the runtime, recorded by the ledger, told by `explain`."""

from __future__ import annotations

import json
import os

import pytest
from sqlalchemy import select, update

from ci.command_line import run
from reconciler.ledger.reading.statistics import Spread, measure_outputs
from reconciler.ledger.schema.tables import attempts, files
from reconciler.ledger.store.database import opened, reading
from reconciler.planning.estimate import estimate_cost
from renderer.steering import load_templates
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.mark.parametrize(
    ("values", "median", "high", "most"),
    [
        ([3.0], 3, 3, 3),
        ([2, 1], 1, 2, 2),
        ([5, 1, 3], 3, 5, 5),
        (range(1, 101), 50, 95, 100),
        (range(1, 41), 20, 38, 40),
    ],
)
def test_a_spread_is_made_of_values_that_were_measured(values, median, high, most):
    assert Spread.of(values) == Spread(len(values), median, high, most)


def test_nothing_has_no_spread():
    assert Spread.of([]) is None


@pytest.fixture
def world(tmp_path, database):
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1))
    world.reconcile()
    return world


def change(world, number, **values):
    with opened(world.state) as engine, engine.begin() as connection:
        chosen = select(attempts.c.id).order_by(attempts.c.id).offset(number).limit(1).scalar_subquery()
        connection.execute(update(attempts).where(attempts.c.id == chosen).values(**values))


def test_what_a_job_used_is_in_the_ledger(world):
    columns = ("wall_seconds", "cpu_seconds", "peak_memory", "host")
    rows = world.rows(attempts, *columns)
    assert len(rows) == 3
    for wall, cpu, memory, host in rows:
        assert wall > 0
        assert cpu > 0
        assert 1 << 20 < memory < 1 << 32, "of a Python, in bytes"
        assert host == os.uname().nodename


def test_statistics_of_an_output_are_over_its_jobs(world):
    for number, (wall, memory, read) in enumerate([(10.0, 5, 20), (20.0, None, 20), (40.0, 9, 20)]):
        change(world, number, wall_seconds=wall, cpu_seconds=None, peak_memory=memory, events_read=read)
    with reading(world.state) as connection:
        found = measure_outputs(connection, "proc7")
        assert measure_outputs(connection, "proc7", step="reco", output=found[0].output) == found[:1]
        assert measure_outputs(connection, "proc7", output="no such") == ()
        assert measure_outputs(connection, "proc8") == ()
    for one in found:
        assert (one.campaign, one.step, one.jobs, one.events) == ("proc7", "reco", 3, 60)
        assert one.wall_seconds == Spread(3, 20.0, 40.0, 40.0)
        assert one.cpu_seconds is None
        assert one.peak_memory == Spread(2, 5, 9, 9)
        assert one.event_rate == Spread(3, 1.0, 2.0, 2.0)
    change(world, 1, events_read=None)
    with reading(world.state) as connection:
        (one, *_) = measure_outputs(connection, "proc7")
    assert (one.events, one.event_rate) == (None, Spread(2, 0.5, 2.0, 2.0))


def test_explain_tells_what_an_attempt_used(world, capsys):
    change(world, 2, wall_seconds=10.0, cpu_seconds=8.5, peak_memory=1_500_000_000, events_read=25, host="n1")
    capsys.readouterr()
    assert run(["--root", str(world.root), "explain", "proc7/reco/3:2"]) == 0
    assert (
        "      10.0 s on n1, 8.5 s of CPU time, 1,500 MB of memory, 2.5 events/s\n" in capsys.readouterr().out
    )
    change(world, 2, wall_seconds=None, cpu_seconds=None, peak_memory=None, host=None)
    assert run(["--root", str(world.root), "explain", "proc7/reco/3:2"]) == 0
    assert "CPU time" not in capsys.readouterr().out
    assert run(["--root", str(world.root), "explain", "proc7/reco/3:1", "--json"]) == 0
    (unit,) = json.loads(capsys.readouterr().out)
    for tried in unit["history"][0]["attempts"]:
        assert tried["peak_memory"] > 0
        assert tried["events_read"] == 1


def test_render_tells_what_its_jobs_will_need(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1))
    world.templates = load_templates()
    world.lock()
    world.reconcile()
    for number, memory in enumerate((1e9, 2e9, 3e9)):
        change(world, number, wall_seconds=number + 10.0, cpu_seconds=3600.0, peak_memory=int(memory))
    needed = "11 s a job (95 of 100 up to 12 s), 3,000 MB of memory; so 3 earlier jobs needed\n"
    for cpu in ("", "3.0 h of CPU time for 3 events, "):
        capsys.readouterr()
        assert run(["--root", str(world.root), "render", "proc7"]) == 0
        assert f"reco: 3 jobs, {cpu}{needed}" in capsys.readouterr().err
        with opened(world.state) as engine, engine.begin() as connection:
            connection.execute(update(files).values(events=1))


def test_the_cost_of_a_plan_has_the_memory_of_its_jobs(world):
    world.change(('ranges: "1-2"', 'ranges: "1-3"'), lock=False)
    world.register_runs([3])
    world.register(3, "raw.3.0.root")
    world.lock()
    (view,) = world.state_view().views
    with reading(world.state) as connection:
        (cost,) = estimate_cost(connection, view)
    used = [memory for (memory,) in world.rows(attempts, "peak_memory")]
    assert cost.memory == max(used)
