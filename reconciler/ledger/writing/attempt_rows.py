"""Reading rows of attempts, within a transaction that will write."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import and_, exists, func, select

from reconciler.ledger.schema.tables import attempts, batches, intents, jobs, outputs
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.unit_rows import CHUNK
from reconciler.model.states import CLAIMING, LIVE, AttemptState, IntentState, OutputState
from reconciler.model.work_items import Attempt, WorkItem
from reconciler.outside.installation import find_tool
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key

ATTEMPTS = (
    select(
        attempts,
        jobs.c.intent,
        jobs.c.key,
        jobs.c.events,
        jobs.c.failures,
        intents.c.campaign,
        intents.c.step,
        intents.c.experiment,
        intents.c.run,
        batches.c.name.label("batch_name"),
        batches.c.engine,
        batches.c.origin,
    )
    .join(jobs, jobs.c.id == attempts.c.job)
    .join(intents, intents.c.id == jobs.c.intent)
    .outerjoin(batches, batches.c.id == attempts.c.batch)
    .order_by(attempts.c.id)
)
"""Attempts, the oldest first, each with all that `make_attempt` needs."""


def make_attempt(row: Any) -> Attempt:
    """An attempt from a row of `ATTEMPTS`."""
    origin = json.loads(row.origin or "{}")
    return Attempt(
        id=row.id,
        intent=row.intent,
        job=row.job,
        key=row.key,
        number=row.number,
        name=row.name,
        nonce=row.nonce,
        site=row.site,
        address=(row.campaign, row.step, run_key(row.experiment, row.run)),
        state=AttemptState(row.state),
        begun=row.begun,
        batch=row.batch_name or row.name,
        place=row.place or 0,
        reference=row.reference,
        absences=row.absences,
        unknown=row.unknown,
        missed=row.missed,
        cancel=row.cancel,
        engine=row.engine,
        events=row.events,
        release=origin.get("release"),
        commit=origin.get("commit"),
        failures=row.failures,
    )


def describe_origin(item: WorkItem) -> str:
    """JSON: of what the jobs of a batch are made: the b2prod at work, release and its commit as they were approved."""
    approved = {"release": item.release, "commit": item.commit}
    known = {key: value for key, value in approved.items() if value is not None}
    return canonical_json({"tool": find_tool().describe(), **known}).decode()


def read_jobs(journal: Journal, wanted: set[int]) -> dict[tuple[int | None, str], Any]:
    """Intent and key → job, of those intents that are still open and have no published output."""
    found: dict[tuple[int | None, str], Any] = {}
    listed = sorted(wanted)
    intended = exists().where(outputs.c.intent == intents.c.id, outputs.c.state == OutputState.INTENDED)
    query = (
        select(jobs)
        .join(intents, intents.c.id == jobs.c.intent)
        .where(intents.c.state == IntentState.OPEN, intended)
    )
    for start in range(0, len(listed), CHUNK):
        for row in journal.connection.execute(query.where(intents.c.id.in_(listed[start : start + CHUNK]))):
            found[row.intent, row.key] = row
    return found


def is_replaced(journal: Journal, intent: int) -> bool:
    """Whether an output of an intent exists, or is coming, by another intent."""
    other = outputs.alias()
    live = other.c.state.in_(CLAIMING)
    same = and_(other.c.campaign == outputs.c.campaign, other.c.fingerprint == outputs.c.fingerprint)
    query = select(other.c.id).join(outputs, same)
    at = and_(outputs.c.intent == intent, other.c.intent != intent, live)
    return journal.connection.execute(query.where(at).limit(1)).first() is not None


def count_attempts(journal: Journal, wanted: set[int]) -> dict[int, tuple[int, bool]]:
    """Job → the number of its attempts, and whether one of them is verified or live."""
    settled = attempts.c.state.in_((*LIVE, AttemptState.VERIFIED))
    counted = (attempts.c.job, func.count(), func.max(attempts.c.number).filter(settled))
    found = {}
    listed = sorted(wanted)
    for start in range(0, len(listed), CHUNK):
        at = attempts.c.job.in_(listed[start : start + CHUNK])
        for job, count, done in journal.connection.execute(
            select(*counted).where(at).group_by(attempts.c.job)
        ):
            found[job] = (count, done is not None)
    return found
