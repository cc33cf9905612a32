"""What the ledger alone tells of a campaign, whatever is declared: reads only."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from reconciler.ledger.schema.tables import attempts, examinations, intents, jobs, outputs, verifications
from reconciler.model.states import LIVE, IntentState, OutputState


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How many units of a step something was produced of, are under way, and are in quarantine."""

    step: str
    done: int
    in_flight: int
    quarantined: int


def read_progress(connection: Connection, campaign: str) -> tuple[StepProgress, ...]:
    """The steps of a campaign of which there is anything, by name."""
    live = select(jobs.c.intent).join(attempts, attempts.c.job == jobs.c.id).where(attempts.c.state.in_(LIVE))
    under_way = or_(intents.c.state == IntentState.OPEN, intents.c.id.in_(live))
    made = _list_units(connection, outputs, campaign, outputs.c.state == OutputState.PRODUCED)
    running = _list_units(connection, intents, campaign, under_way)
    stopped = _list_units(connection, intents, campaign, intents.c.state == IntentState.QUARANTINED) - running
    steps = sorted({step for step, _, _ in made | running | stopped})
    return tuple(
        StepProgress(
            step, *(sum(unit[0] == step for unit in units) for units in (made - running, running, stopped))
        )
        for step in steps
    )


def _list_units(
    connection: Connection, table: Table, campaign: str, at: ColumnElement[bool]
) -> set[tuple[str, int, int]]:
    columns = table.c
    query = select(columns.step, columns.experiment, columns.run).distinct()
    rows = connection.execute(query.where(columns.campaign == campaign, at))
    return {(step, experiment, run) for step, experiment, run in rows}


def list_flaws(connection: Connection, campaign: str) -> tuple[list[str], list[str]]:
    """What the last verification found of what still counts as produced: gone or changed, and wrong; a text for each file."""
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
