"""Succession: a ledger that was restored or rebuilt gets a new id.

So its new attempts get other names than earlier attempts, which it may not know.
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
"""Number of digits of the ledger's id in the names of attempts."""


def succeed(connection: Connection, reason: str, formers: Iterable[str] = ()) -> str:
    """Gives a ledger a new id and returns it; the old id, and `formers`, are stored as former ids."""
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
    """The former ids of the ledger."""
    return frozenset(connection.scalars(select(former_ledgers.c.id)))
