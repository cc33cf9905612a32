"""The latest time that a ledger has seen: clocks go back, and what expired does not come back with them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from reconciler.ledger.schema.decision_tables import latest_time
from reconciler.ledger.store.database import insert_new
from schemas.files.times import format_time, read_time


def read_latest(connection: Connection) -> datetime | None:
    """The latest time at which anything was written, or by which approvals were judged, UTC, to the second above.

    None: none was recorded.
    """
    moment = connection.execute(select(latest_time.c.moment)).scalar()
    return None if moment is None else read_time(moment)


def bound_time(connection: Connection, now: datetime) -> datetime:
    """The time to judge by: now, or the latest time that was recorded, if a clock went back behind it."""
    latest = read_latest(connection)
    return now if latest is None else max(now, latest)


def record_latest(connection: Connection, moment: datetime) -> None:
    """Remembers a time that was seen; the latest only moves on, whoever else writes."""
    # a second that began counts as over: what expired within it must not come back at its beginning
    text = format_time(moment.replace(microsecond=0) + timedelta(seconds=moment.microsecond > 0))
    if connection.execute(select(latest_time.c.moment)).scalar() is None:
        connection.execute(insert_new(connection, latest_time).values(id=1, moment=text))
    connection.execute(update(latest_time).where(latest_time.c.moment < text).values(moment=text))


def set_latest(connection: Connection, moment: datetime) -> None:
    """Sets the latest time, also back to an earlier one: an operator says that a clock was wrong."""
    connection.execute(delete(latest_time))
    record_latest(connection, moment)
