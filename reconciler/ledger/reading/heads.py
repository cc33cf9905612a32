"""What counts of a campaign's outputs, run by run: reads only."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, select

from reconciler.ledger.schema.tables import outputs
from reconciler.model.states import OutputState
from schemas.manifest.runs import run_key


class Head(NamedTuple):
    """The version of a run's output that counts. `recipe` tells by what it was made: equal numbers, equal recipes.

    `read` and `kept` are numbers of events, None where nobody counted them.
    """

    step: str
    output: str
    run: int
    fingerprint: bytes
    recipe: int
    read: int | None
    kept: int | None


def read_heads(
    connection: Connection, campaign: str, fingerprints: Collection[bytes] | None = None
) -> list[Head]:
    """The produced outputs with one of the `fingerprints`; without these, the newest version of each run's output."""
    columns = ("step", "output", "experiment", "run", "fingerprint", "recipe", "events_read", "events")
    mine = (outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    query = select(*(outputs.c[name] for name in columns)).where(*mine).order_by(outputs.c.version)
    rows = (
        Head(row[0], row[1], run_key(row[2], row[3]), row[4], row[5], row[6], row[7])
        for row in connection.execute(query)
    )
    if fingerprints is not None:
        return [head for head in rows if head.fingerprint in fingerprints]
    return list({head[:3]: head for head in rows}.values())
