"""Which runs of which campaigns the journal has something new about, without reading any other row."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import UNIT, UNIT_ATTEMPTS, attempts, events, intents, jobs, outputs
from schemas.manifest.runs import run_key

LIMIT = 4 * 2**20
"""Entries of more compressed bytes are not read: then much is new, and reading everything takes no longer."""

_ABOUT_UNITS: Mapping[str, tuple[Select[Any], ColumnElement[int]]] = {
    "intents": (select(*UNIT), intents.c.id),
    "outputs": (
        select(*(outputs.c[name] for name in ("campaign", "step", "experiment", "run"))),
        outputs.c.id,
    ),
    "jobs": (select(*UNIT).join(jobs, jobs.c.intent == intents.c.id), jobs.c.id),
    "attempts": (select(*UNIT).select_from(UNIT_ATTEMPTS), attempts.c.id),
}
"""Table → how its rows lead to units."""

_ABOUT_NO_UNIT = frozenset(
    (
        *("plans", "recipes", "payload_buckets", "payload_sets", "batches", "products", "registrations"),
        *("pauses", "decisions", "editions"),
    )
)
"""Tables of which plans of units that the ledger has no part in read nothing, or only what the other tables name."""


def find_changed(connection: Connection, after: int) -> dict[str, set[int]] | None:
    """Campaign → keys of the runs that the journal's entries after the number `after` are about; None if that is too much to tell."""
    new = events.c.id > after
    size = connection.execute(select(func.sum(func.length(events.c.content))).where(new)).scalar()
    if (size or 0) > LIMIT:
        return None
    numbers: dict[str, set[int]] = {table: set() for table in _ABOUT_UNITS}
    for content in connection.scalars(select(events.c.content).where(new)):
        for _, table, row in json.loads(zlib.decompress(content)):
            if table in numbers:
                numbers[table].add(row["id"])
            elif table not in _ABOUT_NO_UNIT:
                return None
    found: dict[str, set[int]] = {}
    for table, ids in numbers.items():
        query, column = _ABOUT_UNITS[table]
        for part in divide(sorted(ids)):
            for campaign, _, experiment, run in connection.execute(query.where(column.in_(part))):
                found.setdefault(campaign, set()).add(run_key(experiment, run))
    return found
