"""Alarms: what goes wrong for many at once is asked about before anything is made again, and jobs that come back are welcome."""

from __future__ import annotations

import shutil

import pytest

from reconciler.datasets.markers import MARKER
from reconciler.execution.tracking import publication
from reconciler.execution.tracking.alarms import is_mass
from reconciler.execution.tracking.publication import PublishingRefused
from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.operator_actions import OperatorActions
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.ledger.writing.transaction import Writer
from schemas.policy.site import Admission
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.mark.parametrize(
    ("count", "total", "mass"),
    [
        (0, 0, False),
        (2, 2, False),
        (3, 3, True),
        (12, 12, True),
        (11, 12, False),
        (19, 100, False),
        (20, 100, True),
        (20, 200, False),
        (21, 200, True),
        (999, 10_000, False),
    ],
)
def test_a_share_and_a_number_or_all_are_too_many(count, total, mass):
    assert is_mass(count, total, Admission()) is mass


def list_alarms(production):
    with reading(production.state) as connection:
        return [(one.scope, one.reason) for one in read_pauses(connection) if one.kind == "alarm"]


def hide(production, *, away=True):
    for job in production.cluster.jobs:
        job.hidden = away


def turn(production, times, seconds=100):
    for _ in range(times):
        production.pass_time(seconds)
        production.turn()


def begin(production):
    """Jobs that run, and that their system knows no more."""
    production.turn()
    production.cluster.work_all()
    production.turn()
    hide(production)
    return [job.name for job in production.cluster.jobs]


def test_jobs_that_are_all_gone_at_once_are_asked_about_and_found_again(production):
    names = begin(production)
    turn(production, 5)
    ((scope, reason),) = list_alarms(production)
    assert scope == "site:local"
    assert reason.startswith("3 of 3 live jobs are unknown to their engine at once")
    assert "`b2prod resume site:local`" in reason
    hide(production, away=False)
    turn(production, 1)
    assert list_alarms(production) == []
    assert [job.name for job in production.cluster.jobs] == names
    production.finish()
    assert len([job for job in production.cluster.jobs if "-reco-" in job.name]) == 3


def test_what_a_person_says_of_an_alarm_holds_and_jobs_that_come_back_are_taken_up(production):
    names = begin(production)
    turn(production, 3)
    with production.levers() as levers:
        assert levers.resume("site:local", "the node is burnt down") == 1
    production.pass_time(10)
    production.turn()
    assert {production.tried()[name] for name in names} == {"lost"}
    hide(production, away=False)
    production.pass_time(1)
    production.turn()
    assert {production.tried()[name] for name in names} == {"running"}
    production.finish()
    assert len([job for job in production.cluster.jobs if "-reco-" in job.name]) == 3


def test_jobs_that_come_back_when_others_were_submitted_for_them_are_ended(production):
    names = begin(production)
    turn(production, 3)
    with production.levers() as levers:
        levers.resume("site:local", "the node is burnt down")
    turn(production, 3, 5000)
    assert len(production.cluster.jobs) == 6
    hide(production, away=False)
    turn(production, 1)
    assert [job.name for job in production.cluster.active()] == [
        job.name for job in production.cluster.jobs[3:]
    ]
    assert {production.tried()[name] for name in names} == {"lost"}
    production.finish()


@pytest.mark.parametrize(
    ("production", "word"),
    [(True, "absent"), (True, "ended"), (False, "ended")],  # what is not known is not fetched
    indirect=["production"],
    ids=["shared-absent", "shared-ended", "fetched-ended"],
)
def test_a_result_that_shows_up_late_is_taken(production, word):
    production.turn()
    production.cluster.work_all()
    production.turn()
    job = production.cluster.jobs[0]
    job.hidden = word == "absent"
    job.state = "ended"
    turn(production, 4, 10)
    assert production.tried()[job.name] in ("submitted", "running")
    production.cluster._finish(job)
    turn(production, 1, 10)
    assert production.tried()[job.name] == "verified"
    production.finish()


def test_a_result_that_never_shows_up_is_not_waited_for_for_ever(production):
    production.turn()
    production.cluster.work_all()
    production.turn()
    job = production.cluster.jobs[0]
    job.state = "ended"
    turn(production, 3, 40)
    assert production.tried()[job.name] == "failed"


def list_data(storage):
    """What lies in a storage, but for its marker: without that one another disk is there, or none."""
    return [path for path in storage.iterdir() if path.name != MARKER]


def empty(world):
    storage = world.state.storage("data")
    for path in list_data(storage):
        shutil.rmtree(path)
    (storage / "somebody's").mkdir()


def pull(world, act):
    with opened(world.state) as engine:
        return act(OperatorActions(Writer(engine, None), "shifter@example.org"))


def test_outputs_that_are_all_gone_at_once_are_asked_about_before_they_are_made_again(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.reconcile()
    empty(world)
    for _ in range(2):
        outcome = world.reconcile(refresh=True)
        assert len(world.starts) == 3
    ((reason, count),) = outcome.held.items()
    assert count == 3
    assert "3 of 3 published outputs are gone or changed at once" in reason
    assert "`b2prod resume campaign:proc7`" in reason
    assert pull(world, lambda levers: levers.resume("campaign:proc7", "it is so")) == 1
    assert world.reconcile(refresh=True).produced == 3
    empty(world)
    world.reconcile(refresh=True)
    assert len(world.starts) == 6, "an answer is about what was asked"


def test_an_alarm_ends_by_itself_when_the_storage_is_back(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.reconcile()
    storage = world.state.storage("data")
    (tmp_path / "away").mkdir()
    for path in list_data(storage):
        path.rename(tmp_path / "away" / path.name)
    (storage / "somebody's").mkdir()
    world.reconcile(refresh=True)
    for path in (tmp_path / "away").iterdir():
        path.rename(storage / path.name)
    assert world.reconcile(refresh=True).held == {}
    assert len(world.starts) == 3
    ((kind, by),) = world.rows(pauses, "kind", "ended_by")
    assert (kind, by) == ("alarm", "b2prod")


def test_units_that_are_refused_one_after_the_other_pause_their_campaign(tmp_path, monkeypatch):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,) * 6, slots=1)
    world.change(('ranges: "1-2"', 'ranges: "1-6"'))

    def refuse(*_):
        raise PublishingRefused("it exists and is another file")

    publish = publication.publish
    monkeypatch.setattr(publication, "publish", refuse)
    world.reconcile()
    assert len(world.starts) == 3
    ((scope, kind, reason),) = world.rows(pauses, "scope", "kind", "reason")
    assert (scope, kind) == ("campaign:proc7", "alarm")
    assert reason.startswith("3 of 3 units that were made are refused when published at once")
    monkeypatch.setattr(publication, "publish", publish)
    pull(world, lambda levers: levers.resume("campaign:proc7", "the ledger was an old one"))
    world.retry()
    assert world.reconcile().produced == 6
