"""Jobs that outlive what they were begun for: their unit, its declaration, the engine of their site."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from sqlalchemy import select

from ci.changes import project
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler import engines
from reconciler.execution.apply import reconcile
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.schema.tables import attempts, batches, intents
from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.model.states import AttemptState
from tests.support.doubles.engine_double import Cluster
from tests.support.worlds.production_model import LEASE, NAME
from tests.support.worlds.worlds import ONE_STEP, QUIET, World, make_work_item


@pytest.mark.parametrize("before", [("quarantine",), ("quarantine", "release")], ids="-".join)
def test_jobs_of_a_unit_that_was_given_up_are_ended_too(production, before):
    production.turn()
    unit = production.unit("reco", 1)
    with production.levers() as levers:
        for lever in before:
            getattr(levers, lever)(unit, "looks odd")
        assert levers.cancel(unit, "end them") == 1
    for _ in range(3):
        production.pass_time(10_000)
        production.turn()
    names = [job.name for job in production.cluster.jobs if "-reco-e3r1-" in job.name]
    assert {production.tried()[name] for name in names} == {"cancelled"}
    assert len(names) == 2, "nothing of it is tried before `retry`"
    production.finish()


def make_doubtful(production):
    """A turn that is told nothing of a running job: the job."""
    production.turn()
    job = next(job for job in production.cluster.jobs if "-reco-e3r2-" in job.name)
    production.cluster.work(job)
    production.cluster.faults["query"] = "unknown"
    production.pass_time(100)
    production.turn()
    production.cluster.faults.clear()
    return job


def test_an_attempt_of_a_unit_that_was_given_up_can_be_settled(production):
    job = make_doubtful(production)
    unit = production.unit("reco", 2)
    with production.levers() as levers:
        levers.quarantine(unit, "looks odd")
        levers.release(unit, "it is fine")
        assert levers.list_doubtful(unit) == [job.name]
        assert levers.adopt(unit, job.reference, "seen in the queue") == job.name
    production.finish()
    assert len([one for one in production.cluster.jobs if "-reco-e3r2-" in one.name]) == 1


def test_a_job_that_was_adopted_under_a_name_that_is_no_id_does_not_run_twice(production):
    job = make_doubtful(production)
    with production.levers() as levers:
        levers.adopt(production.unit("reco", 2), "no such id", "a slip")
    for _ in range(6):
        production.pass_time(10_000)
        production.turn()
    assert [one.name for one in production.cluster.active() if "-reco-e3r2-" in one.name] == [job.name]
    with production.levers() as levers:
        levers.adopt(production.unit("reco", 2), job.reference, "this it is")
    production.finish()


def test_a_job_is_adopted_only_where_its_engine_has_it(production, monkeypatch, capsys):
    monkeypatch.setattr(project, "load_templates", lambda: production.template.templates)
    job = make_doubtful(production)
    other = next(one for one in production.cluster.jobs if one.name != job.name)
    base = ["--root", str(production.template.root), "--state", str(production.state.folder)]

    def adopt(reference):
        told = run([*base, "settle", "proc7/reco/3:2", "--adopt", reference, "--reason", "seen"])
        return told, capsys.readouterr()

    for reference, words in (
        ("no such id", "is not an id"),
        ("999999", "it says: absent"),
        (other.reference, other.name),
    ):
        told, shown = adopt(reference)
        assert told == Exit.REFUSED, shown
        assert words in shown.err
    production.cluster.faults["query"] = "down"
    told, shown = adopt(job.reference)
    assert told == Exit.UNAVAILABLE
    assert "no contact" in shown.err
    production.cluster.faults.clear()
    rows = production.rows(select(attempts.c.reference).where(attempts.c.name == job.name))
    assert rows == [(job.reference,)], "nothing was written"
    told, shown = adopt(job.reference)
    assert told == Exit.FINE, shown
    production.finish()


@pytest.mark.parametrize("doubtful", [False, True])
def test_jobs_of_an_engine_that_the_site_has_no_more_are_unknown_until_it_is_back(
    production, monkeypatch, doubtful
):
    if doubtful:
        production.cluster.faults["submit"] = "accept_then_fail"
    production.turn()
    production.cluster.faults.clear()
    jobs = {job.name for job in production.cluster.jobs}
    other = Cluster(
        production.folder / "other",
        lambda: production.steady,
        shared=production.cluster.shared,
        attached=False,
    )
    monkeypatch.setitem(engines.ENGINES, "lsf", other.engine)
    before = production.repository
    sites = {"local": replace(before.sites["local"], engine="lsf")}
    after = replace(before, sites={**before.sites, **sites})
    for _ in range(4):
        production.pass_time(10_000)
        turn_options = TurnOptions(production.approvals, bound=20.0, lease=LEASE, clock=production.clock)
        reconcile(production.state, after, (NAME,), QUIET, turn_options)
    assert jobs.isdisjoint(job.name for job in other.jobs)
    assert not other.jobs, "these jobs are all that can begin"
    reasons = production.rows(select(attempts.c.reason).distinct())
    words = "local is lsf now; this job was given to slurm: bring the engine back, or settle it"
    assert reasons == [(words,)]
    production.finish()
    assert len(production.cluster.done) == 5, "no job ran twice"


def test_a_batch_of_an_earlier_ledger_is_asked_of_the_engine_that_its_site_has(production):
    production.turn()
    assert production.rows(select(batches.c.engine).distinct()) == [("slurm",)]
    with opened(production.state) as engine, engine.begin() as connection:
        connection.execute(batches.update().values(engine=None))
    production.cluster.work_all()
    production.pass_time(100)
    production.turn()
    assert set(production.tried().values()) == {"running"}


def test_what_a_renamed_step_left_open_does_not_hold_up_its_new_name(tmp_path):
    world = World(tmp_path, ("max_units: 100", "max_attempts: 3, max_units: 100"), campaign=ONE_STEP)
    world.behave("status 7", "reco-1")
    world.reconcile()
    world.change(("  reco:\n", "  reco2:\n"))
    shutil.rmtree(world.root / "behaviour")
    for _ in range(2):
        assert not world.reconcile().skipped
    assert ("proc7", "reco2", 1, "mdst", 1) in world.produced()
    assert {row for row in world.rows(intents, "step", "run", "state") if row[1] == 1} == {
        ("reco", 1, "abandoned"),
        ("reco2", 1, "produced"),
    }


def test_what_runs_under_a_steps_old_name_is_not_made_under_its_new_one(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        ledger, recorder = Ledger(writer), AttemptLedger(writer)
        ledger.begin_plan("0" * 64, {})
        (item,) = ledger.intend([make_work_item(world)])
        world.change(("  reco:\n", "  reco2:\n"))
        declared = world.state_view().views[0].units
        renamed = replace(item, units=declared[0], declared=declared)
        still = replace(renamed, declared=())
        ((attempt, _),) = recorder.begin(item.split()[:1])
        assert ledger.intend([renamed]) == [None]
        recorder.record_gone(attempt, AttemptState.CANCELLED, "it was asked for")
        assert ledger.intend([still]) == [None], "as far as is known it is still declared"
        assert ledger.intend([renamed]) != [None]
