"""The progress of a campaign, from the ledger alone. Only reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from reconciler.ledger.schema.tables import UNDER_WAY, examinations, intents, outputs, verifications
from reconciler.model.states import IntentState, OutputState


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The numbers of units of a step that have a produced output, are under way, and are in quarantine.

    A unit is under way while an attempt of it may still come to a result, or its outputs are being published.
    """

    step: str
    done: int
    in_flight: int
    quarantined: int


_PUBLISHING = select(outputs.c.intent).where(outputs.c.state == OutputState.PUBLISHING)
_IS_UNDER_WAY = or_(intents.c.id.in_(UNDER_WAY), intents.c.id.in_(_PUBLISHING))


def list_under_way(connection: Connection) -> list[str]:
    """The campaigns with units under way, sorted by name."""
    query = select(intents.c.campaign).where(_IS_UNDER_WAY).distinct()
    return list(connection.scalars(query.order_by(intents.c.campaign)))


def read_progress(connection: Connection, campaign: str) -> tuple[StepProgress, ...]:
    """The steps of a campaign that have such units, sorted by name."""
    made = _list_units(connection, outputs, campaign, outputs.c.state == OutputState.PRODUCED)
    running = _list_units(connection, intents, campaign, _IS_UNDER_WAY)
    stopped = _list_units(connection, intents, campaign, intents.c.state == IntentState.QUARANTINED) - running
    counts = [Counter(step for step, _, _ in units) for units in (made - running, running, stopped)]
    return tuple(
        StepProgress(step, *(count[step] for count in counts)) for step in sorted(set().union(*counts))
    )


def _list_units(
    connection: Connection, table: Table, campaign: str, at: ColumnElement[bool]
) -> set[tuple[str, int, int]]:
    query = select(table.c.step, table.c.experiment, table.c.run).where(table.c.campaign == campaign, at)
    return {(step, experiment, run) for step, experiment, run in connection.execute(query.distinct())}


def list_flaws(connection: Connection, campaign: str) -> tuple[list[str], list[str]]:
    """Two lists of texts from the last verification, on produced outputs: files that are gone or changed, and wrong files."""
    query = (
        select(examinations.c.trouble, examinations.c.text)
        .join(verifications, verifications.c.id == examinations.c.verification)
        .join(outputs, outputs.c.id == examinations.c.output)
        .where(and_(verifications.c.campaign == campaign, examinations.c.trouble.is_not(None)))
        .where(outputs.c.state == OutputState.PRODUCED)
        .order_by(examinations.c.output, examinations.c.path)
    )
    lost: list[str] = []
    wrong: list[str] = []
    for trouble, text in connection.execute(query):
        (wrong if trouble == "wrong" else lost).append(text or "")
    return lost, wrong
