"""How long ago something was, by clocks that may have been wrong when it was written, or be wrong now."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.clock import Clock

FUTURE = 3600.0
"""Seconds that a clock may be ahead and be believed."""


class Ages:
    """Ages of what a ledger has times of."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._met: dict[str, float] = {}

    def tell(self, time: str) -> float:
        """Seconds since a time.

        One in the future was written by a clock that was ahead: its age is counted from when it was met here, so that nobody
        waits until clocks have come there. One that is far in the future is long ago.
        """
        moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        age = self._clock.time() - moment.timestamp()
        if age >= 0.0 or age <= -FUTURE:
            return abs(age)
        now = self._clock.steady()
        return now - self._met.setdefault(time, now)
