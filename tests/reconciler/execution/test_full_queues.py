"""A queue that takes no more is not a failure: jobs wait for room, nothing is counted, and the site is not asked all the time."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from ci.reports.progress import tell_outcome
from reconciler.engines.diracx.client import Busy
from reconciler.engines.lsf import replies
from reconciler.engines.slurm.replies import read_submission
from reconciler.execution.sites.queues import LONGEST, SHORTEST
from reconciler.ledger.schema.tables import jobs
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.model.engine import Accepted, Deferred, Refused, Uncertain
from reconciler.monitoring.health import WAITING, judge_campaign
from reconciler.outside.command import Reply
from reconciler.outside.errors import GuardRefused
from reconciler.outside.http import Answer
from reconciler.planning.views import read_state_view
from tests.support.services.slurm_cluster import Room
from tests.support.worlds.processes import wait_until
from tests.support.worlds.production_model import NAME
from tests.support.worlds.slurm_campaign import SlurmWorld

JOBS = 3
"""Of the two units of the first step; one has two files."""


def failures(production) -> int:
    return production.rows(select(func.sum(jobs.c.failures).label("all")))[0].all


def attempted(production, state="deferred") -> int:
    return list(production.tried().values()).count(state)


def conditions(production) -> dict[str, str]:
    now = datetime.fromtimestamp(production.clock.time(), UTC)
    with reading(production.state) as connection:
        (view,) = read_state_view(connection, production.repository, (NAME,), production.state).views
        found = judge_campaign(connection, view, read_pauses(connection), now)
    return {one.kind: one.reason for one in found}


def test_what_fits_is_submitted_and_the_rest_waits_for_room(production, capsys):
    production.cluster.limit = 2
    outcome = production.turn()
    assert len(production.cluster.active()) == 2
    assert outcome.failed == []
    assert tell_outcome(outcome) == 0
    assert (
        "1 unit not begun: waiting: the site's queue is full: MaxSubmitJobs (local)"
        in capsys.readouterr().err
    )
    assert "the site's queue is full: MaxSubmitJobs" in conditions(production)[WAITING]
    for _ in range(20):
        production.cluster.work_all()
        production.pass_time(400)
        production.turn()
        assert len(production.cluster.active()) <= 2
    assert len(production.cluster.done) == 5
    assert failures(production) == 0
    assert WAITING not in conditions(production)
    production.finish()
    assert len(production.cluster.done) == 5, "no job ran twice"


def test_a_queue_that_is_full_for_a_night_costs_no_attempt_and_few_questions(production):
    production.cluster.limit = 0
    for _ in range(4 * 60):
        production.pass_time(60)
        production.turn()
    assert production.cluster.jobs == []
    assert failures(production) == 0
    assert [pause.kind for pause in production.list_pauses()] == ["full"]
    probes = 4 * 3600 / LONGEST
    assert probes / 2 < attempted(production) < probes + 20
    production.cluster.limit = None
    production.pass_time(LONGEST)
    production.turn()
    assert len(production.cluster.active()) == JOBS
    assert production.list_pauses() == ()
    production.finish()


def test_the_first_try_again_is_soon_and_a_later_turn_keeps_the_pause(production):
    production.cluster.faults["submit"] = "full"
    production.turn()
    before = attempted(production)
    assert before == JOBS + 1, "all, and then one by itself"
    production.pass_time(SHORTEST - 3)
    production.turn()
    assert attempted(production) == before, "it is left alone"
    production.pass_time(5)
    production.turn()
    assert attempted(production) == before + 1, "one is offered, not all"


def test_a_service_that_asks_for_time_gets_it(production):
    production.cluster.faults["submit"] = "busy"
    production.turn()
    before = attempted(production)
    production.cluster.faults.clear()
    production.pass_time(400)
    production.turn()
    assert production.cluster.jobs == []
    assert attempted(production) == before == JOBS, "nor is it offered fewer at once"
    production.pass_time(150)
    production.turn()
    assert len(production.cluster.jobs) == JOBS


def test_a_person_who_knows_that_there_is_room_need_not_wait(production):
    production.cluster.faults["submit"] = "busy"
    production.turn()
    production.cluster.faults.clear()
    with production.levers() as levers:
        levers.resume("site:local", "the limit was lifted")
    production.turn()
    assert len(production.cluster.jobs) == JOBS


@pytest.mark.parametrize("production", [True], indirect=True, ids=["shared"])
def test_what_got_through_in_the_moment_in_which_its_command_was_ended_never_begins(production):
    production.cluster.faults["submit"] = "full_and_taken"
    production.turn()
    assert attempted(production) == JOBS
    production.cluster.faults.clear()
    for _ in range(4):
        production.cluster.work_all()
        production.cluster.work_all()
        production.pass_time(LONGEST)
        production.turn()
    production.cluster.work_all()
    production.finish()
    assert len(production.cluster.done) == 5, "each job once"


def test_what_a_gateway_refused_after_it_had_passed_it_on_is_found(production):
    production.cluster.faults["submit"] = "busy_and_taken"
    production.turn()
    assert "the site's queue is full: 429" in production.list_pauses()[0].reason
    production.cluster.faults.clear()
    production.pass_time(50)
    production.turn()
    assert attempted(production, "submitted") == JOBS == len(production.cluster.jobs)
    production.finish()
    assert len(production.cluster.done) == 5, "each job once"
    assert failures(production) == 0


def test_failures_are_counted_and_deferrals_are_not(production):
    """The pause after a failure is that of a first one, however often there was no room before."""
    production.cluster.faults["submit"] = "full"
    for _ in range(10):
        production.turn()
        production.pass_time(LONGEST)
    production.cluster.faults.clear()
    production.cluster.outcomes["-reco-"] = "transient"
    production.turn()
    production.cluster.work_all()
    production.cluster.work_all()
    now = production.clock.time()
    production.turn()
    after = [row.after for row in production.rows(select(jobs.c.after)) if row.after]
    assert after
    assert all(30 < one - now < 90 for one in after)


SLURM = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("error", "count", "kind", "fewer"),
    [
        (
            f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{SLURM}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            4,
            Deferred,
            True,
        ),
        (
            f"sbatch: error: AssocMaxSubmitJobLimit\n{SLURM}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            1,
            Deferred,
            True,
        ),
        (
            f"sbatch: error: AssocGrpSubmitJobsLimit\n{SLURM}Job violates accounting/QOS policy\n",
            4,
            Deferred,
            True,
        ),
        (
            f"sbatch: error: QOSGrpSubmitJobsLimit\n{SLURM}Job violates accounting/QOS policy\n",
            4,
            Deferred,
            True,
        ),
        (
            f"{SLURM}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            4,
            Deferred,
            True,
        ),
        (
            f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{SLURM}Job violates accounting/QOS policy\n",
            4,
            Refused,
            None,
        ),
        (
            f"sbatch: error: AssocMaxWallDurationPerJobLimit\n{SLURM}Job violates accounting/QOS policy\n",
            1,
            Refused,
            None,
        ),
        (f"{SLURM}Resource temporarily unavailable\n", 4, Deferred, False),
        (f"{SLURM}Slurm temporarily unable to accept job, sleeping and retrying\n", 4, Deferred, False),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.\n",
            4,
            Deferred,
            False,
        ),
        ("sbatch: error: Slurm job queue full, sleeping and retrying.\n", 4, Deferred, False),
        (f"{SLURM}Invalid job array specification\n", 4, Deferred, True),
        (f"{SLURM}Invalid job array specification\n", 1, Refused, None),
        (f"{SLURM}Invalid account specified\n", 4, Refused, None),
        (f"{SLURM}Socket timed out on send/recv operation\n", 4, Uncertain, None),
        (f"{SLURM}Unable to contact slurm controller (connect failure)\n", 4, Uncertain, None),
    ],
)
@pytest.mark.parametrize("status", [1, None])
def test_what_slurm_says_of_a_full_queue(error, count, kind, fewer, status):
    answer = read_submission(Reply("sbatch", status, "", error), count)
    if status is None and kind is Refused:
        kind = Uncertain
    assert type(answer) is kind
    if kind is Deferred:
        assert answer.fewer == fewer
    unsure = read_submission(Reply("sbatch", status, "4711\n", error), count)
    assert not isinstance(unsure, Deferred), "an id says that it may have been taken"


@pytest.mark.parametrize(
    ("error", "status", "count", "kind", "fewer"),
    [
        (
            "User <b2prod>: Pending job threshold reached. Retrying in 60 seconds...\n",
            None,
            4,
            Deferred,
            False,
        ),
        ("Group <belle>: Pending job threshold reached. Retrying in 60 seconds...\n", 255, 4, Deferred, True),
        ("User <b2prod> has reached the pending job limit. Job not submitted.\n", 255, 4, Deferred, True),
        ("Job array index too large. Job not submitted.\n", 255, 4, Deferred, True),
        ("Job array index too large. Job not submitted.\n", 255, 1, Refused, None),
        ("l1: No such queue. Job not submitted.\n", 255, 4, Refused, None),
        ("Cannot connect to LSF. Please wait ...\n", None, 4, Uncertain, None),
    ],
)
def test_what_lsf_says_of_a_full_queue(error, status, count, kind, fewer):
    answer = replies.read_submission(Reply("bsub", status, "", error), count)
    assert type(answer) is kind
    if kind is Deferred:
        assert answer.fewer == fewer
    said = "Job <101> is submitted to queue <l>.\n"
    waited = replies.read_submission(Reply("bsub", 0, said, error), 1)
    assert waited == Accepted("101")
    assert not isinstance(replies.read_submission(Reply("bsub", status, said, error), 1), Deferred)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:27:00 GMT"}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 08:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "٣٠"}, None),
        ({}, None),
    ],
)
def test_for_how_long_a_service_asks_to_be_left_alone(headers, pause):
    assert Answer(429, headers, b"").pause == pause
    assert Busy(429, "slow", pause).pause == pause


@pytest.mark.slow
def test_the_limits_of_a_real_slurm_hold_a_campaign_up_and_nothing_else(
    tmp_path, slurm, shared_tmp, monkeypatch
):
    """An association that takes three jobs, a batch of four, eight units: each ends well at its first attempt that ran."""
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    room = Room(shared_tmp)
    with room.entered(), room.alone(), slurm.limited(3):
        world = SlurmWorld(tmp_path, units=8, width=4)
        outcome = world.reconcile()
        assert (outcome.submitted, outcome.failed) == (3, [])
        ((reason, count),) = outcome.held.items()
        assert count == 5
        assert "the site's queue is full: AssocMaxSubmitJobLimit" in reason

        def is_done():
            with suppress(GuardRefused):
                world.reconcile()
            return world.summary() == {"done": 8}

        wait_until(is_done, 240)
        states = world.attempts()
        assert states["verified"] == 8
        assert states.keys() == {"verified", "deferred"}
        started = [line.split()[2] for line in world.starts]
        assert len(started) == len(set(started)) == 8
