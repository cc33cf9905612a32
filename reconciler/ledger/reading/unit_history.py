"""The history of a unit: its attempts and its outputs. Only reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select

from reconciler.ledger.schema.operation_tables import copies
from reconciler.ledger.schema.tables import (
    UNIT_ATTEMPTS,
    attempts,
    batches,
    intents,
    jobs,
    outputs,
    products,
    recipes,
    registrations,
)
from reconciler.model.bundles import find_place
from reconciler.model.states import AttemptState
from reconciler.model.work_items import USAGE
from schemas.manifest.runs import split_key


@dataclass(frozen=True, slots=True)
class UnitAttempt:
    """An attempt of a unit. `application` is the program that ran; log patterns are declared for each application.

    `kept` has the names of its files that were kept, and their digests.
    """

    name: str
    state: str
    reason: str | None
    application: str
    kept: Mapping[str, str]


def list_attempts(connection: Connection, campaign: str, step: str, key: int) -> list[UnitAttempt]:
    """All attempts of a unit, the oldest first."""
    experiment, run = split_key(key)
    told = [attempts.c[name] for name in ("name", "state", "reason", "kept")]
    query = (
        select(*told, func.min(outputs.c.recipe).label("recipe"))
        .select_from(UNIT_ATTEMPTS)
        .join(outputs, outputs.c.intent == intents.c.id)
        .where(intents.c.campaign == campaign, intents.c.step == step)
        .where(intents.c.experiment == experiment, intents.c.run == run)
        .group_by(attempts.c.id, *told)
        .order_by(attempts.c.id)
    )
    rows = connection.execute(query).all()
    stored = select(recipes.c.id, recipes.c.content).where(recipes.c.id.in_({row.recipe for row in rows}))
    applications = {
        number: json.loads(content)["application"].partition("/")[0]
        for number, content in connection.execute(stored)
    }
    return [
        UnitAttempt(row.name, row.state, row.reason, applications[row.recipe], json.loads(row.kept or "{}"))
        for row in rows
    ]


_SAME = ("input", "conditions", "produced", "events_read", "events")
"""The columns of an output that are shown unchanged, after its recipe."""

_COPIES = select(copies.c.kind, copies.c.there, copies.c.verified).order_by(copies.c.kind)
"""A query of where copies of outputs lie, as far as any was moved."""

_TOLD = ("name", "state", "begun", "ended", "reason", "reference", "place", "events_read", *USAGE, "kept")
"""The columns of an attempt that are shown."""


def explain_unit(connection: Connection, campaign: str, step: str, key: int) -> list[dict[str, Any]]:
    """The history of a unit as JSON data: its outputs, oldest first, each with recipe, files and attempts."""
    experiment, run = split_key(key)
    at = and_(outputs.c.campaign == campaign, outputs.c.step == step)
    query = select(outputs, recipes.c.content).join(recipes, recipes.c.id == outputs.c.recipe)
    rows = connection.execute(
        query.where(at, outputs.c.experiment == experiment, outputs.c.run == run).order_by(outputs.c.id)
    )
    known = select(registrations.c.catalogue, registrations.c.name, registrations.c.registered.label("time"))
    history = []
    for row in rows:
        columns = ("path", "size", "checksum", "events", "rows", "kind")
        made = select(*(products.c[name] for name in columns)).where(products.c.output == row.id)
        told = (attempts.c[name] for name in _TOLD)
        tried = (
            select(*told, batches.c.origin)
            .join(jobs, jobs.c.id == attempts.c.job)
            .outerjoin(batches, batches.c.id == attempts.c.batch)
            .where(jobs.c.intent == row.intent)
            .order_by(attempts.c.id)
        )
        history.append(
            {
                **{name: getattr(row, name) for name in ("output", "version", "state")},
                "fingerprint": row.fingerprint.hex(),
                "recipe": json.loads(row.content),
                **{name: getattr(row, name) for name in _SAME},
                "files": [
                    {**file, "path": os.path.join(row.storage, row.folder, file["path"])}
                    for file in connection.execute(made).mappings()
                ],
                "copies": [
                    dict(one)
                    for one in connection.execute(_COPIES.where(copies.c.output == row.id)).mappings()
                ],
                "record": _read_record(connection, row.intent),
                "registered": [
                    dict(one)
                    for one in connection.execute(known.where(registrations.c.output == row.id)).mappings()
                ],
                "attempts": [_describe_attempt(item) for item in connection.execute(tried).mappings()],
            }
        )
    return history


def _describe_attempt(item: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of an attempt as JSON data; `bundle`: how many attempts share its job, and its place among them, from 1; or None."""
    told = dict(item)
    place, origin = told.pop("place") or 0, json.loads(told.pop("origin") or "{}")
    shared = find_place(origin.pop("bundles", ()), place)
    bundle = {"attempts": shared.size, "place": shared.place + 1} if shared.size > 1 else None
    return {**told, "bundle": bundle, "origin": origin, "kept": json.loads(told["kept"] or "{}")}


def _read_record(connection: Connection, intent: int) -> dict[str, Any]:
    """The merged records of the verified jobs of an intent: branches once, numbers of events added."""
    query = select(attempts.c.record).join(jobs, jobs.c.id == attempts.c.job)
    verified = (jobs.c.intent == intent, attempts.c.state == AttemptState.VERIFIED)
    query = query.where(*verified, attempts.c.record.is_not(None))
    merged: dict[str, Any] = {}
    for text in connection.scalars(query.order_by(attempts.c.id)):
        told = json.loads(text)
        told.pop("event_numbers", None)
        for key, values in told.items():
            known = merged.setdefault(key, {})
            for name, value in values.items():
                known[name] = known.get(name, 0) + value if key == "unstored" else value
    return merged
