"""Units as JSON data: what exists of them, and who made it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from reconciler.ledger.reading.observation import list_steps, read_payloads
from reconciler.ledger.reading.unit_history import explain_unit, list_attempts
from reconciler.model.states import LIVE, OutputState
from reconciler.planning.production import Produced
from reconciler.run_catalogue.run_selection import explain_absence
from renderer.identity.payloads import Payload
from schemas.manifest.runs import format_run
from schemas.repository import Declared


def describe_stopped(
    connection: Connection, declared: Declared, production: Produced, step: str | None, key: int
) -> Iterator[dict[str, Any]]:
    """Yields the units of a run of a campaign that is not planned: of one step, or of all that it declares or ever had."""
    name = declared.campaign.name
    for one in list_every_step(connection, name, production) if step is None else [step]:
        heads = [head for head in production.taken_over if (head.step, head.run) == (one, key)]
        makers = {head.fingerprint: head.maker for head in heads if head.maker is not None}
        tried = list_attempts(connection, name, one, key)
        state = f"not produced, and {name} is stopped"
        if any(attempt.state in LIVE for attempt in tried):
            state = "in flight: an attempt may still come to a result, and nothing new begins"
        elif key in production.list_produced(one):
            state = tell_done(makers.values())
        elif declared.lock is not None and key not in (production.selected or ()):
            state = f"not selected: {explain_absence(connection, declared.campaign, declared.lock, key)}"
        elif tried:
            state += f"; the last attempt, {tried[-1].name}, is {tried[-1].state}"
        history = list_history(connection, name, one, key, makers)
        unit: dict[str, Any] = {"unit": f"{name}/{one}/{format_run(key)}", "state": state, "history": history}
        if known := read_known_payloads(connection, history):
            unit["made_with"] = describe_payloads(known[-1])
        yield unit


def list_every_step(connection: Connection, name: str, production: Produced) -> list[str]:
    """The steps that a campaign declares, then those that it had earlier."""
    return [*production.steps, *sorted({*list_steps(connection, name)} - {*production.steps})]


def tell_done(makers: Iterable[str]) -> str:
    """The state of a unit whose outputs exist; `makers` are campaign and step of the others that made them."""
    others = sorted({*makers})
    return f"done: taken over from {', '.join(others)}" if others else "done"


def list_history(
    connection: Connection, name: str, step: str, key: int, makers: Mapping[bytes, str]
) -> list[dict[str, Any]]:
    """The outputs of a unit, and those that it took over: `makers` maps their fingerprints to campaign and step."""
    history = explain_unit(connection, name, step, key)
    wanted = {fingerprint.hex(): maker for fingerprint, maker in makers.items()}
    for maker in sorted({*makers.values()}):
        campaign, _, other = maker.partition("/")
        for one in explain_unit(connection, campaign, other, key):
            if wanted.get(one["fingerprint"]) == maker and one["state"] == OutputState.PRODUCED:
                history.append({**one, "taken_over_from": maker})
    return history


def read_known_payloads(
    connection: Connection, history: Sequence[Mapping[str, Any]]
) -> list[tuple[Payload, ...]]:
    """The payloads with which the outputs of a history were made, as far as the ledger has them."""
    made = read_payloads(connection, {item["conditions"] for item in history} - {None})
    return [made[item["conditions"]] for item in history if item["conditions"] in made]


def describe_payloads(payloads: Iterable[Payload]) -> dict[str, Any]:
    """Name → revision and checksum."""
    return {one.name: {"revision": one.revision, "checksum": one.checksum} for one in payloads}
