"""A trial: the steps of a campaign for some events of one run, in scratch; it leaves no trace anywhere else."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.execution.trial.choice import NotDeclared, plan_trial
from reconciler.execution.trial.running import run_trial
from reconciler.ledger.reading.measurement import measure_cpu
from reconciler.ledger.schema.tables import files, inputs
from reconciler.ledger.store.database import opened, reading
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import SourceUnavailable
from renderer.jobs.logs import find_signature
from schemas.manifest.runs import run_key
from tests.support.inputs.scripts import CONVERT
from tests.support.worlds.processes import find_processes
from tests.support.worlds.script_world import Converting
from tests.support.worlds.worlds import World


@pytest.fixture
def world(tmp_path):
    """Two steps over two runs: the first has two files of four events, the second one of five."""
    world = World(tmp_path / "world", files=(0, 0))
    world.register(1, "raw.1.0.root", "raw.1.1.root", events=4)
    world.register(2, "raw.2.0.root", events=5)
    return world


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def plan(world, run=None, steps=(), **options):
    with reading(world.state) as connection:
        (view,) = world.state_view("proc7").views
        key = None if run is None else run_key(3, run)
        return plan_trial(connection, world.repository(), view, world.state, key, steps, **options)


def dump(folder: Path) -> dict[str, str]:
    """Path → content of all below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def test_the_steps_run_in_order_and_read_what_the_trial_made(world, scratch):
    begun = []
    trial = run_trial(plan(world, 1), 3, scratch, begin=begun.append)
    assert trial.failure is None
    assert begun == ["reco", "thin"]
    reco, thin = trial.steps
    assert (reco.taken.read, reco.taken.kept, reco.taken.jobs) == (3, {"mdst": 3}, 1)
    assert (thin.taken.read, thin.taken.kept) == (3, {"udst": 3})
    assert reco.start.read == 1
    # both runs, with their three files
    assert [(cost.units, cost.jobs, cost.events) for cost in trial.costs] == [(2, 3, 13), (2, 2, 13)]
    assert all(cost.cpu_hours > 0 and cost.bytes_written > 0 for cost in trial.costs)
    assert find_processes(scratch) == []


def test_events_are_taken_file_by_file(world, scratch):
    trial = run_trial(plan(world, 1, ["reco"]), 6, scratch)
    (reco,) = trial.steps
    assert (reco.taken.jobs, reco.taken.read) == (2, 6)


def test_a_trial_may_be_of_more_events_than_there_are(world, scratch):
    trial = run_trial(plan(world, 2, ["reco"]), 10**9, scratch)
    assert trial.steps[0].taken.read == 5


def test_one_step_reads_what_is_published_or_else_the_step_before_it_is_tried_too(world, scratch):
    assert [one.step.name for one in plan(world, 2, ["thin"]).steps] == ["reco", "thin"]
    world.reconcile()
    world.reconcile()
    assert [one.step.name for one in plan(world, 2, ["thin"]).steps] == ["reco", "thin"]
    tried = plan(world, 2, ["thin"], reads_published=True)
    assert [one.step.name for one in tried.steps] == ["thin"]
    trial = run_trial(tried, 3, scratch)
    assert trial.steps[0].taken.read == 3
    assert trial.costs[0].cpu_hours is None


def test_without_a_run_it_is_the_first_one_whose_input_is_here(world):
    assert plan(world).run == run_key(3, 1)
    place(world, 1, "tape")
    assert plan(world).run == run_key(3, 2)
    (world.root / "raw/raw.2.0.root").unlink()
    with pytest.raises(SourceUnavailable, match=r"raw\.2\.0\.root is not on this machine"):
        plan(world)


def place(world, run, storage):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(files.update().where(files.c.run == run).values(storage=storage))
        connection.execute(inputs.update().where(inputs.c.run == run).values(on_disk=0))


def take_file(world):
    (world.root / "raw/raw.1.1.root").unlink()


def take_launcher(world):
    site = world.root / "productions/sites/local.yaml"
    site.write_text(
        site.read_text().replace("launchers: {basf2: [", 'launchers: {basf2: ["/nowhere/basf2", ')
    )


MISSING = [
    (
        lambda world: place(world, 1, "tape"),
        {},
        SourceUnavailable,
        "detector/raw of 3:1 is not on disk: stage it",
    ),
    (take_file, {}, SourceUnavailable, "raw.1.1.root is not on this machine"),
    (take_launcher, {}, SourceUnavailable, "/nowhere/basf2 is not on this machine, and reco needs it"),
    (
        lambda world: world.register_runs([9]),
        {"run": 9},
        NotDeclared,
        "proc7 does not take 3:9: it is not in",
    ),
    (lambda _: None, {"run": 8}, NotDeclared, "proc7 does not take 3:8: the run catalogue has no such run"),
    (lambda _: None, {"steps": ["recco"]}, NotDeclared, "proc7 has no step recco; it has reco, thin"),
]


@pytest.mark.parametrize(
    ("act", "options", "error", "told"),
    MISSING,
    ids=["on tape", "file gone", "no program", "not selected", "no such run", "no such step"],
)
def test_what_is_missing_is_said_before_anything_runs(world, act, options, error, told):
    act(world)
    with pytest.raises(error) as raised:
        plan(world, **{"run": 1, **options})
    assert told in str(raised.value)
    assert world.starts == []


def test_a_run_that_waits_for_its_input_says_so(world):
    world.register_runs([3])
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    with pytest.raises(SourceUnavailable, match=r"proc7/reco/3:3 cannot be tried: no raw is registered"):
        plan(world, 3)
    assert plan(world).run == run_key(3, 1)


FAILING = [
    ("fatal Couldn't open geometry", "unclassified", "status 1", "FATAL: Couldn't open geometry"),
    ("status 3", "unclassified", "status 3", None),
    ("nothing", "unclassified", "did not write", None),
    ("empty", "unclassified", "is empty", None),
    ("counts 5 3 4", "infrastructure", "holds 3 events, the result states 4", None),
    ("killed", "unclassified", "left no result", None),
]


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason", "signature"), FAILING, ids=[row[0] for row in FAILING]
)
def test_a_job_that_fails_ends_the_trial_with_its_cause(world, scratch, behaviour, kind, reason, signature):
    world.behave(behaviour, "thin-1")
    trial = run_trial(plan(world, 1), 5, scratch)
    assert [one.step.name for one in trial.steps] == ["reco"]
    assert trial.failure.step == "thin"
    assert trial.failure.failure == kind
    assert reason in trial.failure.reason
    found = find_signature(trial.failure.log, trial.failure.application)
    assert (found and found.signature) == signature


@pytest.mark.parametrize("behaviour", ["hang", "deaf 60"])
def test_a_job_that_takes_too_long_is_ended(world, scratch, behaviour, monkeypatch):
    monkeypatch.setattr("reconciler.execution.trial.running.GRACE", 0.3)
    world.behave(behaviour, "reco-1")
    trial = run_trial(plan(world, 1), 5, scratch, seconds=0.5)
    assert "longer than 0.5 seconds" in trial.failure.reason
    assert find_processes(scratch) == []


def test_an_interrupted_trial_leaves_no_process(world, scratch, monkeypatch):
    world.behave("hang", "reco-1")

    told = []

    def interrupt(seconds):
        if world.starts and not told:
            told.append(find_processes(scratch))
            raise KeyboardInterrupt
        CLOCK.sleep(seconds)

    monkeypatch.setattr("reconciler.execution.trial.running.CLOCK", replace(CLOCK, sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        run_trial(plan(world, 1), 5, scratch)
    assert told[0], "nothing ran"
    assert find_processes(scratch) == []


ACTS = ("fine", "fatal x", "nothing", "half", "killed", "lie mdst=mdst.raw.1.0.root", "report {", "fine")


def test_no_trial_leaves_a_trace(world, tmp_path):
    """Ledger, run catalogue, storage, input and checkout are the same bytes, whatever was made before and whatever a job does."""
    for produced in (False, True):
        if produced:
            world.behave("fine")
            world.reconcile()
            world.reconcile()
            assert world.summary() == {"done": 4}
        for number, behaviour in enumerate(ACTS):
            world.behave(behaviour, ("any", "thin-1")[number % 2])
            (world.root / "starts").unlink(missing_ok=True)
            before = dump(world.root)
            folder = tmp_path / f"{produced}-{number}"
            folder.mkdir()
            options = ({}, {"steps": ["thin"], "reads_published": True})[number % 3 == 2]
            run_trial(plan(world, 1 + number % 2, **options), 1 + number, folder)
            assert world.starts, "nothing was tried"
            (world.root / "starts").unlink()
            assert dump(world.root) == before
        (world.root / "behaviour/thin-1").unlink()


class Counting(Converting):
    """A world whose script ends after the events that it is told, and says how many it read."""

    text = """\
#!/bin/sh
cp "{root}/events/${{B2PROD_MOST_EVENTS}}.root" "$6"
echo "{{\\"events_read\\": $B2PROD_MOST_EVENTS}}" > application.json
"""


@pytest.mark.parametrize(("kind", "read"), [(Counting, 4), (Converting, None)], ids=["says it", "does not"])
def test_a_script_is_told_how_many_events_and_says_what_it_read(tmp_path, scratch, kind, read):
    world = kind(tmp_path / "world", campaign=CONVERT, files=(1, 1))
    world.register(1, "raw.1.0.root", events=9)
    trial = run_trial(plan(world, 1), 4, scratch)
    assert trial.failure is None, trial.failure
    (convert,) = trial.steps
    assert (convert.taken.read, convert.start) == (read, None)
    assert convert.taken.kept == {"cdst": 4 if read else 3}


def test_a_site_elsewhere_is_tried_on_this_machine(world, scratch):
    planned = plan(world, 1)
    assert planned.repository.sites["local"].engine == "local"
    repository = world.repository()
    far = replace(repository.sites["local"], engine="slurm")
    (view,) = world.state_view("proc7").views
    with reading(world.state) as connection:
        moved = replace(repository, sites={"local": far})
        planned = plan_trial(connection, moved, view, world.state, run_key(3, 1))
    assert run_trial(planned, 2, scratch).failure is None


def test_what_a_trial_measured_is_not_what_the_ledger_says(world, scratch):
    tried = plan(world, 1)
    assert run_trial(tried, 2, scratch).steps
    with reading(world.state) as connection:
        digests = [recipe.digest for units in tried.steps for recipe in units.recipes]
        assert measure_cpu(connection, digests) is None
    assert os.listdir(scratch)
