"""The event log: the journal in the words of the field, one event after another, with stable keys.

The journal holds changes of rows. An event says what such a change means, and names the unit, the attempt and the site.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import UNIT, UNIT_ATTEMPTS, attempts, events, intents, outputs
from reconciler.model.states import OutputState
from schemas.manifest.runs import format_run, run_key

_SHOWN = (
    "site",
    "reference",
    "failure",
    "reason",
    "scope",
    "kind",
    "who",
    "verb",
    "what",
    "catalogue",
    "name",
)
"""Columns that are shown unchanged, if the row has them."""

_BEGINNINGS = {
    "attempts": "attempt.begun",
    "intents": "unit.begun",
    "plans": "plan.begun",
    "pauses": "pause.begun",
    "decisions": "decision.taken",
    "registrations": "output.registered",
}
"""The name of the event for a new row of a table."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event. `number` is the number of its entry in the journal; events of one transaction share it.

    `name` is for example `attempt.failed`; `facts` has what is known of campaign, step, run, attempt, site, failure,
    reason, scope, who …
    """

    number: int
    time: str
    name: str
    facts: Mapping[str, Any]

    def data(self) -> dict[str, Any]:
        """The event as JSON data."""
        return {"entry": self.number, "time": self.time, "event": self.name, **self.facts}


def find_last(connection: Connection) -> int:
    """The number of the journal's last entry; 0 if it has none."""
    return connection.execute(select(func.max(events.c.id))).scalar() or 0


def read_last_entry(connection: Connection) -> tuple[int, str]:
    """The number and the digest of the journal's last entry; 0 and an empty text if it has none."""
    last = select(events.c.id, events.c.digest).order_by(events.c.id.desc()).limit(1)
    row = connection.execute(last).first()
    return (row.id, row.digest) if row is not None else (0, "")


def has_entry(connection: Connection, entry: int, digest: str) -> bool:
    """Whether the journal has an entry with this number and digest; it always has entry 0, its beginning."""
    mine = select(events.c.digest).where(events.c.id == entry)
    return entry == 0 or connection.execute(mine).scalar() == digest


def read_events(connection: Connection, after: int, limit: int = 10_000) -> tuple[list[LogEvent], int]:
    """Reads at most `limit` entries after entry `after`. Returns their events and the number of the last entry read."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    found: list[tuple[Row[Any], str, str, Mapping[str, Any]]] = []
    last = after
    for row in connection.execute(query):
        last = row.id
        for verb, table, values in json.loads(zlib.decompress(row.content)):
            name = _BEGINNINGS.get(table) if verb == "insert" else _name_change(table, values)
            if name:
                found.append((row, table, name, values))
    units = _read_units(connection, [(table, _find_row(table, values)) for _, table, _, values in found])
    told = []
    for row, table, name, values in found:
        facts = dict(units.get((table, _find_row(table, values)), {}))
        facts |= {key: values[key] for key in _SHOWN if values.get(key) not in (None, "")}
        if table == "plans":
            facts["plan"] = values["digest"]
        told.append(LogEvent(row.id, row.time, name, facts))
    return told, last


def _name_change(table: str, values: Mapping[str, Any]) -> str | None:
    """The name of the event for a changed row; None if the change is not an event."""
    state = values.get("state")
    match table:
        case "attempts" if state is not None:
            return f"attempt.{state}"
        case "attempts" if values.get("cancel"):
            return "attempt.cancel_asked"
        case "attempts" if values.get("unknown"):
            return "attempt.unknown"
        case "intents" if state is not None:
            return f"unit.{state}"
        case "outputs" if state == OutputState.LOST:
            return "output.lost"
        case "plans" if values.get("ended"):
            return "plan.ended"
        case "pauses":
            return "pause.ended"
    return None


def _find_row(table: str, values: Mapping[str, Any]) -> int:
    """The number of the row by which the unit of a change is found."""
    return int(values.get("output" if table == "registrations" else "id", 0))


def _read_units(
    connection: Connection, found: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """By table and row number: the unit of the row, and for an attempt its name and site."""
    wanted: dict[str, set[int]] = {}
    for table, number in found:
        wanted.setdefault(table, set()).add(number)
    tried = select(attempts.c.id, *UNIT, attempts.c.name.label("attempt"), attempts.c.site)
    made = select(*(outputs.c[name] for name in ("id", "campaign", "step", "experiment", "run", "output")))
    queries: dict[str, tuple[Any, Any]] = {
        "attempts": (tried.select_from(UNIT_ATTEMPTS), attempts.c.id),
        "intents": (select(intents.c.id, *UNIT), intents.c.id),
        "outputs": (made, outputs.c.id),
        "registrations": (made, outputs.c.id),
    }
    units: dict[tuple[str, int], dict[str, Any]] = {}
    for table, (query, key) in queries.items():
        for part in divide(sorted(wanted.get(table, ()))):
            for row in connection.execute(query.where(key.in_(part))).mappings():
                about = {name: value for name, value in row.items() if name not in ("id", "experiment")}
                about["run"] = format_run(run_key(row["experiment"], row["run"]))
                units[table, row["id"]] = about
    return units
