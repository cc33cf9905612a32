"""The latest time that a ledger has seen. If a clock is set back, what has expired stays expired."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from reconciler.ledger.schema.decision_tables import latest_time
from reconciler.ledger.store.database import insert_new
from schemas.files.times import format_time, read_time


def read_latest(connection: Connection) -> datetime | None:
    """The latest time (UTC, rounded up to seconds) at which something was written or approvals were judged.

    None if no time was recorded.
    """
    moment = connection.execute(select(latest_time.c.moment)).scalar()
    return None if moment is None else read_time(moment)


def bound_time(connection: Connection, now: datetime) -> datetime:
    """The time by which to judge: now, or the latest recorded time if that is later."""
    latest = read_latest(connection)
    return now if latest is None else max(now, latest)


def record_latest(connection: Connection, moment: datetime) -> None:
    """Records a time. The latest time never goes back, also if several processes write."""
    # rounded up: what expired within this second must stay expired when the clock returns to its beginning
    text = format_time(moment.replace(microsecond=0) + timedelta(seconds=moment.microsecond > 0))
    if connection.execute(select(latest_time.c.moment)).scalar() is None:
        connection.execute(insert_new(connection, latest_time).values(id=1, moment=text))
    connection.execute(update(latest_time).where(latest_time.c.moment < text).values(moment=text))


def set_latest(connection: Connection, moment: datetime) -> None:
    """Sets the latest time, also back to an earlier one, for an operator who says that a clock was wrong."""
    connection.execute(delete(latest_time))
    record_latest(connection, moment)
