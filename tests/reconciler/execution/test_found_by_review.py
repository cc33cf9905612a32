"""What an adversary found in the core, each as the shortest story of it."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from ci.cli.exits import Exit
from ci.reports.progress import tell_outcome
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.schema.tables import runs
from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.outside.errors import SourceUnavailable
from tests.support.doubles.engine_double import VISIBILITY, EngineDouble
from tests.support.worlds.production_model import LEASE, NAME, Production
from tests.support.worlds.worlds import ONE_STEP, World, make_work_item


def test_i1_a_unit_that_is_retried_while_a_job_of_it_still_runs_is_in_flight(production):
    """Quarantined by hand and let go again: its running job is the one that counts."""
    production.turn()
    unit = production.unit("reco", 1)
    with production.levers() as levers:
        levers.quarantine(unit, "looks odd")
        levers.release(unit, "it is fine")
    before = production.submitted
    production.turn()
    assert production.submitted == before
    production.finish()
    assert len(production.cluster.done) == 5, "no job ran twice"


def test_a_unit_that_was_stopped_between_its_intent_and_its_batch_is_not_begun(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        ledger, recorder = Ledger(writer), AttemptLedger(writer)
        ledger.begin_plan("0" * 64, {})
        (item,) = ledger.intend([make_work_item(world)])
        OperatorActions(writer, "shifter@example.org").quarantine(Scope(NAME, NAME), "stop")
        assert recorder.begin(item.split()) == []


def test_b30_what_an_engine_takes_and_loses_again_and_again_comes_to_an_end(production):
    """Those of one unit: that all of a site's are lost at once is not believed, see `test_alarms`."""
    for _ in range(12):
        production.turn()
        for job in production.cluster.active():
            job.hidden |= "-reco-e3r1-" in job.name
        production.pass_time(10_000)
    names = [job.name for job in production.cluster.jobs if "-reco-e3r1-" in job.name]
    assert len(names) == 2 * 3, "two jobs, three attempts each"
    assert production.list_pauses() == ()


def test_b21_answers_from_before_a_job_must_be_visible_do_not_count(production):
    production.cluster.faults["submit"] = "silent"
    production.turn()
    production.cluster.faults.clear()
    states = []
    for seconds in (VISIBILITY / 2, VISIBILITY / 4, VISIBILITY, 1, VISIBILITY / 2, VISIBILITY / 2):
        production.pass_time(seconds)
        production.turn()
        states.append(set(production.tried().values()))
    assert states[:5] == [{"uncertain"}] * 5, "the third is the first that counts, for that long once more"
    assert "lost" in states[5]
    production.finish()


def test_b22_twins_are_ended_before_one_of_them_is_adopted(production):
    """A cancellation that fails is made up for: nothing was recorded, so that both are found again."""
    production.cluster.faults |= {"submit": "twice", "cancel": "down"}
    production.turn()
    del production.cluster.faults["submit"]
    production.pass_time(1000)
    production.turn()
    assert set(production.tried().values()) == {"uncertain"}
    production.cluster.faults.clear()
    production.pass_time(1000)
    production.turn()
    assert len(production.cluster.active()) == len(production.cluster.jobs) / 2
    production.finish()


def test_verified_files_of_a_unit_that_was_given_up_wait_for_its_last_job(production):
    production.turn()
    first = next(job for job in production.cluster.jobs if "-reco-e3r1-" in job.name)
    for _ in range(2):
        production.cluster.work(first)
    production.turn()
    unit = production.unit("reco", 1)
    with production.levers() as levers:
        levers.quarantine(unit, "looks odd")
        levers.release(unit, "it is fine")
    production.pass_time(LEASE)
    production.turn()
    production.cluster.work_all()
    production.cluster.work_all()
    production.turn()
    assert any("/r00001/" in path for path in production.files or production.published())
    production.finish()


def test_b29_what_an_earlier_attempt_made_meanwhile_is_not_made_once_more(template, monkeypatch):
    """A job that was taken for lost comes back done while its unit waits for a free slot: the plan is older than that."""
    production = Production(template, monkeypatch, shared=False, attached=False)
    production.turn()
    cluster = production.cluster
    (lost,) = (job for job in cluster.jobs if "-reco-e3r2-" in job.name)
    lost.hidden = True
    for _ in range(2):
        production.pass_time(VISIBILITY + 10)
        production.turn()
    assert production.tried()[lost.name] == "lost"
    production.pass_time(1000)
    monkeypatch.setattr(EngineDouble, "slots", 2)

    def work():
        if lost.is_active:
            lost.hidden = False
            cluster.work(lost)
        elif production.tried()[lost.name] == "verified":
            cluster.work_all()

    production.meanwhile = work
    production.turn(patient=True)
    assert len([job for job in cluster.jobs if "-reco-e3r2-" in job.name]) == 1
    production.finish()
    production.close()


def test_a_clock_that_was_set_back_holds_up_no_site(production):
    production.cluster.faults["query"] = "down"
    production.turn()
    production.pass_time(10)
    production.turn()
    production.cluster.faults.clear()
    production.offset = -86_400.0
    production.cluster.work_all()
    production.cluster.work_all()
    production.pass_time(700)
    production.turn()
    assert "verified" in production.tried().values()
    production.offset = 0.0
    production.finish()


def test_a_cancellation_that_is_refused_holds_up_nobody(production):
    production.turn()
    with production.levers() as levers:
        levers.cancel(production.unit("reco", 1), "looks odd")
    production.cluster.faults["cancel"] = "down"
    other = next(job for job in production.cluster.jobs if "-reco-e3r2-" in job.name)
    for _ in range(2):
        production.cluster.work(other)
    production.pass_time(1000)
    outcome = production.turn()
    assert production.tried()[other.name] == "verified"
    assert any("did not end 2 jobs as asked" in text for text in outcome.troubles)
    production.cluster.faults.clear()
    production.finish()


def test_units_behind_one_that_is_tried_again_later_are_not_failed(production):
    production.cluster.outcomes["-reco-e3r1-"] = "transient"
    production.turn()
    production.cluster.work_all()
    production.cluster.work_all()
    production.pass_time(10)
    outcome = production.turn()
    assert not outcome.failed
    assert outcome.held == {
        "a job failed a while ago, and is tried again later": 1,
        "what they read is not made yet": 1,
    }
    production.cluster.outcomes.clear()
    production.finish()


def test_a_time_that_a_clock_gone_wrong_has_written_holds_up_no_job(production):
    production.cluster.outcomes["-reco-e3r2-"] = "transient"
    production.offset = 86_400.0
    production.turn()
    production.cluster.work_all()
    production.cluster.work_all()
    production.pass_time(10)
    production.turn()
    production.offset = 0.0
    production.cluster.outcomes.clear()
    before = production.submitted
    production.turn()
    assert production.submitted > before
    production.finish()


@pytest.mark.parametrize("ahead", [5.0, 1800.0, 86_400.0, 1e9])
def test_what_was_begun_in_the_future_does_not_keep_a_turn_from_its_end(production, ahead):
    production.offset = ahead
    production.turn()
    for job in production.cluster.jobs:
        job.hidden = True
    production.offset = 0.0
    begun = production.steady
    production.turn(patient=True)
    assert production.steady - begun < 300


def test_a_job_that_comes_back_and_cannot_be_read_holds_up_nobody(template, monkeypatch):
    production = Production(template, monkeypatch, shared=False, attached=False)
    production.turn()
    lost = next(job for job in production.cluster.jobs if "-reco-e3r2-" in job.name)
    lost.hidden = True
    for _ in range(2):
        production.pass_time(VISIBILITY + 10)
        production.turn()
    assert production.tried()[lost.name] == "lost"
    lost.hidden = False
    for _ in range(2):
        production.cluster.work(lost)
    monkeypatch.setattr(Workspace, "collect", unreadable(Workspace.collect, lost.name))
    production.pass_time(100)
    production.turn()
    monkeypatch.undo()
    production.close()


def unreadable(real, name):
    def collect(self, attempt, due):
        if attempt.name == name:
            raise SourceUnavailable("its folder cannot be read now")
        return real(self, attempt, due)

    return collect


def test_a_campaign_of_which_something_cannot_be_read_holds_up_no_other(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    text = (tmp_path / "productions/campaigns/proc7/campaign.yaml").read_text()
    other = text.replace('ranges: "1-2"', 'ranges: "3"')
    world.write("productions/campaigns/proc8/campaign.yaml", other)
    world.register_runs([3])
    world.register(3, "raw.3.0.root")
    world.lock()
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(delete(runs).where(runs.c.run == 3))
    outcome = world.reconcile()
    assert (outcome.produced, list(outcome.absent)) == (2, ["proc8"])
    assert tell_outcome(outcome) == Exit.UNAVAILABLE
    with pytest.raises(SourceUnavailable, match="3:3"):
        world.reconcile("proc8")


@pytest.mark.parametrize("fault", ["down", "unknown", "short"])
def test_a_result_counts_while_the_engine_cannot_tell(template, monkeypatch, fault):
    production = Production(template, monkeypatch, shared=True, attached=False)
    production.turn()
    names = [job.name for job in production.cluster.jobs]
    production.cluster.work_all()
    production.turn()
    production.cluster.faults["query"] = fault
    production.cluster.work_all()
    for _ in range(2):  # a site that did not answer is left alone for a while
        production.pass_time(1)
        production.turn()
    assert {production.tried()[name] for name in names} == {"verified"}
    production.cluster.faults.clear()
    production.finish()
    assert len(production.cluster.done) == 5, "no job ran twice"
    production.close()
