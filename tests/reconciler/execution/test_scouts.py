"""Scouts: after enough good jobs of a step, the next ones ask for the memory that those took; what is tried again, for all."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from reconciler.ledger.schema.tables import attempts, intents
from reconciler.model.states import FailureClass
from schemas.policy.site import BatchSettings
from tests.support.worlds.production_model import Production

GIGABYTE = 1_000_000_000


@pytest.fixture
def production(template, monkeypatch):
    production = Production(template, monkeypatch, shared=True, attached=False)
    yield production
    production.close()


@pytest.fixture
def asked(production):
    """What the batches of the production's step reco ask for, in order; None is what the site's file says."""
    found, watch = [], production.cluster.watch

    def note(batch):
        watch(batch)
        if "-reco-" in batch.name:
            found.append(batch.memory)

    production.cluster.watch = note
    return found


def allow(production, **settings):
    def find_sites(repository):
        return {
            name: replace(site, batch=BatchSettings(**settings)) for name, site in repository.sites.items()
        }

    production.approvals.find_sites = find_sites


def go_on(production, memory=GIGABYTE):
    """A turn, and all its jobs end well; the next turn sees that."""
    production.turn()
    for _ in range(2):
        production.cluster.work_all()
    for job in production.cluster.jobs:
        file = job.room / "result.json"
        if file.exists():
            file.write_text(json.dumps({**json.loads(file.read_text()), "peak_memory": memory}))
    production.pass_time(100)
    production.turn()


@pytest.mark.parametrize(
    ("settings", "memory", "expected"),
    [
        pytest.param({"memory": 4000, "scouts": 3}, GIGABYTE, 1200, id="a quarter more, in hundreds"),
        pytest.param({"memory": 4000, "scouts": 4}, GIGABYTE, None, id="too few scouts"),
        pytest.param({"memory": 1200, "scouts": 3}, GIGABYTE, None, id="as much as the site gives"),
        pytest.param({"memory": 4000}, GIGABYTE, None, id="no scouts"),
        pytest.param({"memory": 4000, "scouts": 1}, 1, 100, id="nearly nothing"),
    ],
)
def test_the_next_jobs_ask_for_what_earlier_ones_took(production, asked, settings, memory, expected):
    allow(production, **settings)
    go_on(production, memory)
    assert {*asked} == {None}
    production.variant = (3, "all", 1)
    production.turn()
    assert asked[-1] == expected
    production.check()


def test_a_job_for_which_that_was_too_little_is_tried_again_with_all(production, asked):
    allow(production, memory=4000, scouts=3)
    go_on(production)
    production.variant = (3, "all", 1)
    production.turn()
    assert asked[-1] == 1200
    (job,) = (one for one in production.cluster.active() if "-reco-" in one.name)
    production.cluster.work(job)
    job.state, job.failure = "ended", FailureClass.PERMANENT
    for _ in range(4):
        production.pass_time(5000)
        production.turn()
    assert asked[-1] is None
    query = select(attempts.c.failure, attempts.c.reason).where(attempts.c.name == job.name)
    ((failure, reason),) = production.rows(query)
    assert failure == "transient"
    assert "it had asked for 1200 MB, as earlier jobs took: what is tried again asks for all" in reason
    states = {state for (state,) in production.rows(select(intents.c.state))}
    assert "quarantined" not in states
    production.check()
