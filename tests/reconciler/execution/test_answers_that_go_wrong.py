"""Whole turns with answers that went wrong: nothing is submitted twice, nothing is made of them, and what has ended stays so."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
from sqlalchemy import select

from reconciler.engines import ENGINES
from reconciler.engines.htcondor.engine import HtcondorEngine
from reconciler.engines.lsf.engine import LsfEngine
from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.ledger.schema.tables import products
from reconciler.model.states import LIVE
from reconciler.outside.command import Reply
from schemas.policy.site import Site
from tests.contract.mutations import mutate_reply
from tests.support.doubles.engine_double import VISIBILITY, EngineDouble
from tests.support.doubles.htcondor_logs import (
    BEGAN,
    ENDED,
    REMOVED,
    SUBMITTED,
    make_batch,
    make_site,
    write_log,
)

SHARED = pytest.mark.parametrize("production", [True], indirect=True, ids=["shared"])
TURNS = 60


@pytest.fixture
def batch(tmp_path):
    return make_batch(tmp_path)


class SpeakingEngine(EngineDouble):
    """The double, of whose jobs a real adapter is told by the texts of its commands, of which some went wrong."""

    draw: random.Random | None = None

    def query(self, handles):
        asked = [dataclasses.replace(one, reference=self.name(one)) for one in handles]
        return self.adapter().query(asked)

    def find(self, handles):
        found = self.adapter().find([dataclasses.replace(one, reference=None) for one in handles])
        return {
            name: [one.replace("[", "_").partition("_")[0] for one in some] for name, some in found.items()
        }

    def adapter(self):
        adapter = self.kind(Site("local", self.word, "data"))
        adapter._call = self.call
        return adapter

    def call(self, command, _seconds):
        reply = self.answer(command)
        return (
            reply if self.draw is None else mutate_reply(self.draw, reply, ("11_0|RUNNING|None|x\n", "{}\n"))
        )


class SpeakingSlurm(SpeakingEngine):
    kind, word = SlurmEngine, "slurm"

    def name(self, handle):
        return f"{handle.reference}_{handle.index}"

    def answer(self, command):
        name = command[0]
        if name == "sdiag":
            return Reply(name, 0, "sdiag output\nDBD Agent queue size: 0\n", "")
        folders = "%Z" in command[-1] or "WorkDir" in command[-1]
        rows = []
        for job in self._list_visible():
            if name == "squeue" and job.state == "ended":
                continue
            state = {"pending": "PENDING", "running": "RUNNING", "ended": "COMPLETED"}[job.state]
            place = f"{job.handle.home}|" if folders else ""
            rows.append(f"{job.reference}_{job.handle.index}|{state}|None|{place}{job.handle.batch}")
        head = ["JOBID", "STATE", "REASON", *(["WORK_DIR"] if folders else []), "NAME"]
        if name == "sacct":
            head = ["JobID", "State", "ExitCode", *(["WorkDir"] if folders else []), "JobName"]
        return Reply(name, 0, "".join(f"{row}\n" for row in ("|".join(head), *rows)), "")


class SpeakingLsf(SpeakingEngine):
    kind, word = LsfEngine, "lsf"

    def name(self, handle):
        return f"{handle.reference}[{handle.index + 1}]"

    def answer(self, command):
        jobs = self._list_visible()
        if command[0] == "bjobs":
            wanted = command[5:]
            if wanted[0] == "-J":
                jobs = [job for job in jobs if job.handle.batch.startswith(wanted[1].rstrip("*"))]
            else:
                jobs = [job for job in jobs if job.reference in wanted]
            records = [
                {
                    "JOBID": job.reference,
                    "JOBINDEX": str(job.handle.index + 1),
                    "JOB_NAME": f"{job.handle.batch}[{job.handle.index + 1}]",
                    "STAT": {"pending": "PEND", "running": "RUN", "ended": "DONE"}[job.state],
                    "EXIT_CODE": "",
                    "EXIT_REASON": "",
                }
                for job in jobs
            ]
            if not records:
                return Reply("bjobs", 255, "", "No job found\n")
            text = json.dumps({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}, indent=1)
            return Reply("bjobs", 0, f"{text}\n", "")
        if "-J" in command:
            jobs = [job for job in jobs if job.handle.batch == command[-1]]
        elif "-d" in command:
            jobs = [job for job in jobs if job.state == "ended"]
        rows = [
            f"{job.reference}[{job.handle.index + 1}] prod {job.handle.batch}[{job.handle.index + 1}] 1 0 1 0 0 0 2\n"
            for job in jobs
        ]
        head = "JOBID   USER    JOB_NAME  PEND    PSUSP   RUN     USUSP   SSUSP   UNKWN   TOTAL\n"
        return Reply(
            "bhist", 0, "Summary of time in seconds spent in various states:\n" + head + "".join(rows), ""
        )


@SHARED
@pytest.mark.parametrize("kind", [SpeakingSlurm, SpeakingLsf])
def test_no_answer_leads_to_a_second_job_or_to_an_output(production, kind, monkeypatch):
    """Every answer of every command goes wrong for a night, while the jobs run."""
    monkeypatch.setitem(ENGINES, "slurm", lambda *_: kind(production.cluster))
    production.turn()
    production.cluster.work_all()
    jobs = len(production.cluster.jobs)
    monkeypatch.setattr(kind, "draw", random.Random(kind.word))
    for _ in range(TURNS):
        production.pass_time(1000)
        production.turn()
        assert len(production.cluster.jobs) == jobs == 3, production.tried()
        assert set(production.tried().values()) <= set(LIVE)
        assert production.rows(select(products.c.path)) == []
    monkeypatch.setattr(kind, "draw", None)
    production.finish()
    assert len(production.cluster.done) == 5, "each job once"


@pytest.mark.parametrize("outcome", ["fine", "transient"])
def test_an_ended_job_stays_ended_whatever_is_said_of_it_later(production, outcome):
    """Accounting that is late, a state that goes back, an answer that comes twice."""
    production.cluster.outcomes["-reco-"] = outcome
    production.turn()
    production.cluster.work_all()
    production.cluster.work_all()
    production.pass_time(10)
    production.turn()
    first = list(production.cluster.jobs[:3])
    names = {job.name for job in first}
    before = {name: state for name, state in production.tried().items() if name in names}
    assert set(before.values()) == {"verified" if outcome == "fine" else "failed"}
    for state in ("running", "pending", "ended", "running", "ended"):
        for job in first:
            job.state = state
        production.pass_time(10)
        production.turn()
        assert {name: production.tried()[name] for name in names} == before
    production.check()


@pytest.mark.parametrize("production", [True, False], indirect=True, ids=["shared", "fetched"])
def test_a_job_that_goes_back_before_its_result_is_there_is_waited_for(production):
    production.turn()
    production.cluster.work_all()
    first = list(production.cluster.jobs[:3])
    for state in ("ended", "running", "ended", "pending", "running"):
        for job in first:
            job.state = state
        production.pass_time(VISIBILITY + 1000)
        production.turn()
        assert len(production.cluster.jobs) == 3, "one look at an end without a result is none"
    production.finish()
    assert len(production.cluster.done) == 5


@SHARED
def test_a_job_of_which_no_answer_came_has_failed_if_it_began_and_is_forgotten(production):
    """Its folder tells that it began, so it is no attempt that was never started."""
    production.cluster.faults["submit"] = "accept_then_fail"
    production.turn()
    first = {job.name for job in production.cluster.jobs}
    production.cluster.work_all()
    production.cluster.jobs.clear()
    production.cluster.faults.clear()
    for _ in range(3):
        production.pass_time(VISIBILITY + 1000)
        production.turn()
    assert {production.tried()[name] for name in first} == {"failed"}
    production.finish()


@pytest.mark.parametrize("late", [[BEGAN], [SUBMITTED, BEGAN], [BEGAN, REMOVED], [ENDED, ENDED]])
def test_what_an_event_log_tells_behind_a_jobs_end_changes_nothing(batch, late):
    handle = batch.handles[1]
    write_log(handle, SUBMITTED, BEGAN, ENDED, *late, value=3)
    seen = HtcondorEngine(make_site()).query([handle])[handle.name]
    assert (seen.sighting.value, seen.failure) == ("ended", None)
    assert "status 3" in seen.reason
