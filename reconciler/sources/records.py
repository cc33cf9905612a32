"""What the ledger knows of watched sources, and when each is asked again."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from reconciler.ledger.schema.source_tables import sources
from reconciler.outside.clock import Clock, format_time

LONGEST = 240
"""The most minutes for which a source that fails is left alone, unless its own interval is longer."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """How a source answers. Times are texts of the ledger; `after` is when it is asked again, in seconds since 1970."""

    name: str
    asked: str
    answered: str | None
    failed: str | None
    failures: int
    after: int
    reason: str | None
    note: str | None

    def is_due(self, now: float, every: int) -> bool:
        """Whether it is to be asked at the time `now` (seconds since 1970); `every` is its interval in minutes.

        A time that is further away than any wait comes from a clock that was wrong.
        """
        return not 0 < self.after - now <= 60 * max(every, LONGEST)

    def data(self) -> dict[str, Any]:
        """The record as JSON data."""
        named = {"source": self.name, "asked": self.asked, "answered": self.answered, "failed": self.failed}
        after = format_time(self.after)
        return {**named, "failures": self.failures, "after": after, "reason": self.reason, "note": self.note}

    def tell(self) -> list[str]:
        """What is wrong with it now, in words that stay the same until it is asked again."""
        found = [] if self.note is None else [f"{self.name}: {self.note}"]
        if self.failures:
            found.append(f"{self.name} fails, and is asked again by itself: {self.reason}")
        return found


_COLUMNS = tuple(SourceRecord.__slots__)


def read_records(connection: Connection) -> dict[str, SourceRecord]:
    """Name → record of every source that was ever asked and is still declared, by name."""
    query = select(*(sources.c[name] for name in _COLUMNS)).order_by(sources.c.name)
    return {row.name: SourceRecord(*row) for row in connection.execute(query)}


def pause_after(failures: int, every: int) -> int:
    """Minutes until a source is asked again: its interval, doubled for each further failure in a row, up to `LONGEST`."""
    return min(every << min(failures - 1, 12), max(every, LONGEST))


def record_question(connection: Connection, name: str, every: int, clock: Clock) -> None:
    """Records that a source is being asked, so that it is not asked again before its interval is over."""
    values = {"asked": clock.show(), "after": _compute(clock, every)}
    if connection.execute(update(sources).where(sources.c.name == name).values(values)).rowcount == 0:
        connection.execute(insert(sources).values(name=name, failures=0, **values))


def record_answer(connection: Connection, name: str, note: str | None, clock: Clock) -> None:
    """Records that a source answered, with what was wrong in its answer."""
    values = {"answered": clock.show(), "failures": 0, "note": note and note[:500]}
    connection.execute(update(sources).where(sources.c.name == name).values(values))


def ask_sooner(connection: Connection, name: str, minutes: int, clock: Clock) -> None:
    """Has a source asked again after so many minutes, if its turn would come later."""
    after = _compute(clock, minutes)
    here = (sources.c.name == name, sources.c.after > after)
    connection.execute(update(sources).where(*here).values(after=after))


def record_failure(connection: Connection, name: str, reason: str, every: int, clock: Clock) -> None:
    """Records that a source failed; it is asked again, later after each failure in a row."""
    here = sources.c.name == name
    failures = (connection.execute(select(sources.c.failures).where(here)).scalar() or 0) + 1
    after = _compute(clock, pause_after(failures, every))
    told = {"failed": clock.show(), "failures": failures, "after": after, "reason": reason[:500]}
    connection.execute(update(sources).where(here).values(told))


def read_listed(connection: Connection, name: str) -> set[str]:
    """The paths in a list of files at its last import."""
    stored = connection.execute(select(sources.c.listed).where(sources.c.name == name)).scalar()
    return set() if stored is None else set(zlib.decompress(stored).decode().split("\n"))


def record_listed(connection: Connection, name: str, paths: Collection[str]) -> None:
    """Remembers the paths in a list of files, to compare them with its next version."""
    content = zlib.compress("\n".join(sorted(paths)).encode())
    connection.execute(update(sources).where(sources.c.name == name).values(listed=content))


def forget(connection: Connection, kept: Collection[str]) -> None:
    """Removes the records of all sources but these: the others are no longer declared."""
    connection.execute(delete(sources).where(sources.c.name.not_in(kept)))


def _compute(clock: Clock, minutes: int) -> int:
    return int(clock.time()) + 60 * minutes
