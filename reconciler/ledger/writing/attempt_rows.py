"""Reading rows of attempts, within a transaction that will write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, exists, func, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import UNIT, UNIT_ATTEMPTS, attempts, batches, intents, jobs, outputs
from reconciler.ledger.writing.journal import Journal
from reconciler.model.bundles import find_place
from reconciler.model.states import CLAIMING, LIVE, AttemptState, IntentState, OutputState
from reconciler.model.work_items import Attempt, WorkItem
from reconciler.outside.installation import find_tool
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key

ATTEMPTS = (
    select(
        *(
            attempts.c[name]
            for name in ("id", "job", "number", "name", "nonce", "site", "begun", "reference")
        ),
        *(attempts.c[name] for name in ("state", "place", "absences", "unknown", "missed", "cancel")),
        *(jobs.c[name] for name in ("intent", "key", "events", "failures")),
        *UNIT,
        func.coalesce(batches.c.name, attempts.c.name).label("batch"),
        batches.c.engine,
        batches.c.origin,
    )
    .select_from(UNIT_ATTEMPTS)
    .outerjoin(batches, batches.c.id == attempts.c.batch)
    .order_by(attempts.c.id)
)
"""A query for attempts, the oldest first, with all columns that `make_attempt` needs."""

_SAME = (
    *("id", "intent", "job", "key", "number", "name", "nonce", "site", "begun", "batch", "reference"),
    *("absences", "unknown", "missed", "cancel", "engine", "events", "failures"),
)
"""The fields of an attempt that are columns."""


def make_attempt(row: Any) -> Attempt:
    """An attempt from a row of `ATTEMPTS`."""
    release, commit, memory, bundles = _read_origin(row.origin)
    shared = find_place(bundles, row.place or 0)
    return Attempt(
        **{name: getattr(row, name) for name in _SAME},
        address=(row.campaign, row.step, run_key(row.experiment, row.run)),
        state=AttemptState(row.state),
        place=row.place or 0,
        release=release,
        commit=commit,
        memory=memory,
        index=shared.job,
        bundle=shared.size,
    )


@lru_cache(maxsize=64)
def _read_origin(text: str | None) -> tuple[str | None, str | None, int | None, tuple[int, ...]]:
    """Release, commit, memory and the sizes of the bundles of a batch; it is the same text for all its attempts."""
    told = json.loads(text or "{}")
    return told.get("release"), told.get("commit"), told.get("memory"), tuple(told.get("bundles", ()))


def describe_origin(item: WorkItem, memory: int | None, bundles: Sequence[int]) -> str:
    """JSON text on how the jobs of a batch are made: this b2prod, the approved release and its commit, and the memory asked for.

    Also the sizes of its bundles, if one of them has several attempts.
    """
    told: dict[str, Any] = {"release": item.release, "commit": item.commit, "memory": memory}
    told["bundles"] = list(bundles) if max(bundles) > 1 else None
    known = {key: value for key, value in told.items() if value is not None}
    return canonical_json({"tool": find_tool().describe(), **known}).decode()


def read_jobs(journal: Journal, wanted: set[int]) -> dict[tuple[int | None, str], Any]:
    """Intent and key → job, for those of the intents that are open and have outputs still to be made."""
    intended = exists().where(outputs.c.intent == intents.c.id, outputs.c.state == OutputState.INTENDED)
    query = (
        select(jobs)
        .join(intents, intents.c.id == jobs.c.intent)
        .where(intents.c.state == IntentState.OPEN, intended)
    )
    return {
        (row.intent, row.key): row
        for part in divide(sorted(wanted))
        for row in journal.connection.execute(query.where(intents.c.id.in_(part)))
    }


def is_replaced(journal: Journal, intent: int) -> bool:
    """Whether an output of an intent exists or is being made by another intent."""
    other = outputs.alias()
    live = other.c.state.in_(CLAIMING)
    same = and_(other.c.campaign == outputs.c.campaign, other.c.fingerprint == outputs.c.fingerprint)
    query = select(other.c.id).join(outputs, same)
    at = and_(outputs.c.intent == intent, other.c.intent != intent, live)
    return journal.connection.execute(query.where(at).limit(1)).first() is not None


def count_attempts(journal: Journal, wanted: set[int]) -> dict[int, tuple[int, bool]]:
    """Job → the number of its attempts, and whether one of them is verified or live."""
    settled = attempts.c.state.in_((*LIVE, AttemptState.VERIFIED))
    counted = select(attempts.c.job, func.count(), func.max(attempts.c.number).filter(settled))
    counted = counted.group_by(attempts.c.job)
    return {
        job: (count, done is not None)
        for part in divide(sorted(wanted))
        for job, count, done in journal.connection.execute(counted.where(attempts.c.job.in_(part)))
    }
