"""Alarms: so much goes wrong at once that it is rather the look that is wrong. Nothing is believed of it until a person says so.

An alarm is a pause that names what it asks about. Whoever ends it answers for just that, for a day; where all of it turns
out to be as it was, the alarm ends by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from reconciler.ledger.writing.pauses import ALARM, BRAKES, PauseWriter
from reconciler.outside.clock import Clock, format_time
from schemas.policy.site import Admission

ALL = 3
"""How many of a kind there must be for all of them to be too many."""

ANSWERED = timedelta(days=1)
"""How long an answer holds."""


def is_mass(count: int, total: int, brakes: Admission) -> bool:
    """Whether `count` of `total` are so many that the look is doubted: a share and a number, or all there are."""
    if count >= brakes.at_least and 100 * count > brakes.percent * total:
        return True
    return count >= ALL and count >= total


@dataclass(frozen=True, slots=True)
class Alarm:
    """What seems to have happened at once, to which of how many things; `what` goes on after `12 of 30 `.

    `subject` are their names, `open` those of all of which it is not certain that they are as they were. Things of another
    `kind` have other names.
    """

    scope: str
    kind: str
    what: str
    subject: Collection[str]
    open: Collection[str]
    total: int

    def name(self, names: Collection[str]) -> frozenset[str]:
        """The names with the kind before them."""
        return frozenset(f"{self.kind} {one}" for one in names)


class Alarms:
    """Raises and ends the alarms of one ledger."""

    def __init__(self, pauses: PauseWriter, clock: Clock) -> None:
        self._pauses = pauses
        self._clock = clock

    def doubt(self, event: Alarm, brakes: Admission) -> bool:
        """Whether what seems to have happened is not to be believed now."""
        going = self._pauses.read_subject(event.scope)
        seen = event.name(event.subject)
        if going is not None:
            mine = all(one.startswith(f"{event.kind} ") for one in going)
            if mine and not going & event.name(event.open):
                self._pauses.resume(event.scope, "all of it is as it was", BRAKES, ALARM)
                return False
            if not seen <= going:
                self._pauses.ask_more(event.scope, going | seen)
            return True
        if not seen:
            return False
        since = format_time(self._clock.time() - ANSWERED.total_seconds())
        asked = seen - self._pauses.read_answered(event.scope, since)
        if not is_mass(len(asked), event.total, brakes):
            return False
        self._pauses.pause(event.scope, ALARM, _describe(event, len(asked)), BRAKES, seen)
        return True


def _describe(event: Alarm, count: int) -> str:
    return (
        f"{count:,} of {event.total:,} {event.what} at once; nothing is done about it until somebody looked:"
        f" `b2prod resume {event.scope}` says that it is so, or that it is mended"
    )
