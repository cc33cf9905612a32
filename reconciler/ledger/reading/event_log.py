"""The event log: what happened according to the journal, one event after another, with stable keys.

The journal holds changes of rows. An event says in the words of the field what such a change means, and names the
unit, the attempt and the site that it is about.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from reconciler.ledger.schema.tables import attempts, events, intents, jobs, outputs
from reconciler.model.states import OutputState
from schemas.manifest.runs import format_run, run_key

CHUNK = 500

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
"""What of a row is told as it is, where it has it."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One thing that happened. `number` is its entry's in the journal, which several events of one moment share.

    `name` is as in `attempt.failed`; `facts` has of campaign, step, run, attempt, site, failure, reason, scope, who …
    what there is to say.
    """

    number: int
    time: str
    name: str
    facts: Mapping[str, Any]

    def data(self) -> dict[str, Any]:
        """The event as JSON data."""
        return {"entry": self.number, "time": self.time, "event": self.name, **self.facts}


def find_last(connection: Connection) -> int:
    """The number of the journal's last entry; 0 where it has none."""
    return connection.execute(select(func.max(events.c.id))).scalar() or 0


def read_events(connection: Connection, after: int, limit: int = 10_000) -> tuple[list[LogEvent], int]:
    """The events of at most `limit` entries behind entry `after`, and the number of the last entry read."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    found: list[tuple[int, str, str, str, Mapping[str, Any]]] = []
    last = after
    for row in connection.execute(query):
        last = row.id
        for verb, table, values in json.loads(zlib.decompress(row.content)):
            if name := _name(verb, table, values):
                found.append((row.id, row.time, table, name, values))
    units = _read_units(connection, found)
    told = []
    for number, time, table, name, values in found:
        shown = {key: values[key] for key in _SHOWN if values.get(key) not in (None, "")}
        about = units.get((table, values.get("output" if table == "registrations" else "id", 0)), {})
        told.append(LogEvent(number, time, name, {**about, **shown, **_name_plan(table, values)}))
    return told, last


def _name(verb: str, table: str, values: Mapping[str, Any]) -> str | None:
    """What the change of a row means; None where it tells nobody anything."""
    new = verb == "insert"
    state = values.get("state")
    if table == "attempts":
        if new:
            return "attempt.begun"
        if state is not None:
            return f"attempt.{state}"
        if values.get("cancel"):
            return "attempt.cancel_asked"
        return "attempt.unknown" if values.get("unknown") else None
    if table == "intents":
        return "unit.begun" if new else f"unit.{state}" if state is not None else None
    if table == "outputs":
        return "output.lost" if state == OutputState.LOST else None
    if table == "plans":
        return "plan.begun" if new else "plan.ended" if values.get("ended") else None
    if table == "pauses":
        return "pause.begun" if new else "pause.ended"
    return {"decisions": "decision.taken", "registrations": "output.registered"}.get(table) if new else None


def _name_plan(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"plan": values["digest"]} if table == "plans" else {}


def _read_units(
    connection: Connection, found: Iterable[tuple[int, str, str, str, Mapping[str, Any]]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """By table and row: the unit that it is about, and of an attempt its name and site."""
    wanted: dict[str, set[int]] = {}
    for _, _, table, _, values in found:
        if table in ("attempts", "intents", "outputs"):
            wanted.setdefault(table, set()).add(values["id"])
        elif table == "registrations":
            wanted.setdefault(table, set()).add(values["output"])
    unit = (intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
    tried = select(attempts.c.id, *unit, attempts.c.name.label("attempt"), attempts.c.site)
    made = (outputs.c.campaign, outputs.c.step, outputs.c.experiment, outputs.c.run)
    queries: dict[str, tuple[Select[Any], Any]] = {
        "attempts": (
            tried.join(jobs, jobs.c.id == attempts.c.job).join(intents, intents.c.id == jobs.c.intent),
            attempts.c.id,
        ),
        "intents": (select(intents.c.id, *unit), intents.c.id),
        "outputs": (select(outputs.c.id, *made, outputs.c.output), outputs.c.id),
        "registrations": (select(outputs.c.id, *made, outputs.c.output), outputs.c.id),
    }
    units: dict[tuple[str, int], dict[str, Any]] = {}
    for table, numbers in wanted.items():
        query, key = queries[table]
        for some in _divide(sorted(numbers)):
            for row in connection.execute(query.where(key.in_(some))).mappings():
                about = {name: value for name, value in row.items() if name not in ("id", "experiment")}
                about["run"] = format_run(run_key(row["experiment"], row["run"]))
                units[table, row["id"]] = about
    return units


def _divide(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK))
