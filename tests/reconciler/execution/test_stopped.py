"""Jobs of stopped campaigns: they finish, or are cancelled where the manifest says so."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import select

from reconciler.execution.apply import reconcile
from reconciler.execution.tracking.stopped_jobs import REASON
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.schema.tables import attempts
from tests.support.doubles.simulated_process import Killed, SimulatedProcess
from tests.support.worlds.production_model import LEASE, NAME
from tests.support.worlds.worlds import QUIET


class Stopping:
    """A production whose campaign is stopped while its jobs are under way."""

    def __init__(self, production, running_jobs):
        self.production = production
        production.turn()
        declared = production.repository.campaigns[NAME]
        campaign = replace(declared.campaign, state="stopped", running_jobs=running_jobs)
        campaigns = {NAME: replace(declared, campaign=campaign)}
        self.repository = replace(production.repository, campaigns=campaigns)

    def turn(self):
        """A turn with the stopped campaign, which is not planned."""
        production = self.production
        options = TurnOptions(production.approvals, bound=20.0, lease=LEASE, clock=production.clock)
        return reconcile(production.state, self.repository, (), QUIET, options)

    def go_on(self):
        for _ in range(3):
            self.production.pass_time(10_000)
            self.turn()
            self.production.cluster.work_all()
        self.production.check()

    @property
    def states(self):
        return Counter(self.production.tried().values())

    @property
    def cancelled(self):
        return self.production.rows(
            select(attempts.c.reason).where(attempts.c.state == "cancelled").distinct()
        )


def test_by_default_the_jobs_of_a_stopped_campaign_finish_and_nothing_begins(production):
    stopping = Stopping(production, "finish")
    begun = production.submitted
    production.cluster.work_all()
    stopping.go_on()
    assert stopping.states == {"verified": begun}
    assert production.submitted == begun
    assert production.published(), "what they made is published"


def test_the_jobs_of_a_stopped_campaign_are_cancelled_where_it_says_so(production):
    stopping = Stopping(production, "cancel")
    begun = production.submitted
    stopping.go_on()
    assert stopping.states == {"cancelled": begun}
    assert stopping.cancelled == [(REASON,)]
    assert not production.cluster.active()
    assert production.submitted == begun
    production.turn()
    assert production.submitted > begun, "active again, it makes what is missing, and nobody has to retry it"
    production.finish()


def test_a_job_that_ended_well_before_it_was_cancelled_counts(production):
    stopping = Stopping(production, "cancel")
    for _ in range(2):
        production.cluster.work_all()  # they start, then they end
    stopping.go_on()
    assert stopping.states == {"verified": production.submitted}


def test_an_engine_that_refuses_is_asked_again(production):
    stopping = Stopping(production, "cancel")
    production.cluster.faults["cancel"] = "down"
    stopping.turn()
    assert production.cluster.active()
    production.cluster.faults.clear()
    stopping.go_on()
    assert set(stopping.states) == {"cancelled"}


@pytest.mark.parametrize("fault", ["accept_then_fail", "silent"])
def test_jobs_that_may_be_at_the_engine_are_looked_for_and_ended(production, fault):
    production.cluster.faults["submit"] = fault
    stopping = Stopping(production, "cancel")
    production.cluster.faults.clear()
    stopping.go_on()
    assert "verified" not in stopping.states
    assert not production.cluster.active()


def test_a_campaign_that_runs_is_not_touched_whatever_it_says(production):
    stopping = Stopping(production, "cancel")
    declared = stopping.repository.campaigns[NAME]
    held = replace(declared.campaign, state="held")
    stopping.repository = replace(stopping.repository, campaigns={NAME: replace(declared, campaign=held)})
    stopping.turn()
    assert not production.rows(select(attempts.c.cancel).where(attempts.c.cancel.is_not(None)))


@pytest.mark.parametrize("effect", [4, 6, 8, 10])
def test_a_turn_that_cancels_may_be_killed_at_any_effect(production, effect):
    stopping = Stopping(production, "cancel")
    begun = production.submitted
    with contextlib.suppress(Killed):
        SimulatedProcess(stopping.turn, kill=effect).run()
    production.pass_time(LEASE + 1)
    production.check()
    stopping.go_on()
    assert stopping.states == {"cancelled": begun}
    assert stopping.cancelled == [(REASON,)]
    assert not production.cluster.active()
