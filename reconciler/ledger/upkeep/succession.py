"""Succession: a ledger that was put back from a copy, or made again, goes on under another id.

What it begins then has other names than what was begun before, which it may not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from sqlalchemy import Connection, select, update

from reconciler.ledger.schema.decision_tables import former_ledgers
from reconciler.ledger.schema.tables import ledger
from reconciler.ledger.store.database import insert_new
from reconciler.outside.clock import CLOCK

NAMED = 4
"""Digits of an id that the names of attempts begin with."""


def succeed(connection: Connection, reason: str, formers: Iterable[str] = ()) -> str:
    """Gives a ledger another id, which is returned; the one that it had, and `formers`, are remembered as its own."""
    before: str = connection.execute(select(ledger.c.id)).scalar_one()
    known = {*connection.scalars(select(former_ledgers.c.id)), before, *formers}
    now = uuid4().hex
    while any(now[:NAMED] == one[:NAMED] for one in known):
        now = uuid4().hex
    for one in sorted({before, *formers}):
        row = {"id": one, "until": CLOCK.show(), "reason": reason[:500]}
        connection.execute(insert_new(connection, former_ledgers).values(**row))
    connection.execute(update(ledger).values(id=now, serial=ledger.c.serial + 1))
    return now


def list_formers(connection: Connection) -> frozenset[str]:
    """The ids that the ledger had before."""
    return frozenset(connection.scalars(select(former_ledgers.c.id)))
