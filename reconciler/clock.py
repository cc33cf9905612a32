"""Time as a reconciler sees it: of day for its records, steady for its pauses, and how it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep, time


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since 1970, steady seconds since some moment, and a way to let seconds pass.

    Who holds a lease is not judged by this clock, but by the database's.
    """

    time: Callable[[], float] = time
    steady: Callable[[], float] = monotonic
    sleep: Callable[[float], None] = sleep

    def show(self) -> str:
        """The time, UTC, to the second, as `2019-02-07T12:00:00Z`."""
        return format_time(self.time())


def format_time(seconds: float) -> str:
    """A time since 1970 as the ledger has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CLOCK = Clock()
"""The machine's."""
