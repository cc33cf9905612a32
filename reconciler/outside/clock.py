"""The reconciler's clocks: the time of day for records, a steady clock for pauses, and a function that waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep, time

from schemas.files import times


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since 1970, steady seconds since some moment, and a function that waits.

    The clock of the database decides who holds a lease, not this one.
    """

    time: Callable[[], float] = time
    steady: Callable[[], float] = monotonic
    sleep: Callable[[float], None] = sleep

    def show(self) -> str:
        """The time, UTC, to the second, as `2019-02-07T12:00:00Z`."""
        return format_time(self.time())


def format_time(seconds: float) -> str:
    """A time in seconds since 1970, as text in the ledger's format."""
    return times.format_time(datetime.fromtimestamp(seconds, UTC))


CLOCK = Clock()
"""The clock of this machine."""

FUTURE = 3600.0
"""A time that is less than so many seconds in the future counts as fresh, not as long ago."""


class Ages:
    """Computes how old the times in a ledger are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._met: dict[str, float] = {}

    def tell(self, time: str) -> float:
        """Seconds since a time of the ledger.

        A time in the future comes from a clock that was ahead: its age counts from the moment when this process first read
        it, so that nobody waits until that time. A time that is `FUTURE` or more ahead counts as equally long ago.
        """
        age = self._clock.time() - times.read_time(time).timestamp()
        if age >= 0.0 or age <= -FUTURE:
            return abs(age)
        now = self._clock.steady()
        return now - self._met.setdefault(time, now)
