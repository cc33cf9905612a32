"""Alarms: if very many things seem wrong at once, the observation is more likely to be wrong than the things.

An alarm is a pause that names these things. Nothing is done about them until a person ends the alarm. That decision
counts for these things only, for one day. The alarm ends by itself when all of them are in order again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.ledger.writing.pauses import B2PROD, PauseWriter
from reconciler.model.states import PauseKind
from reconciler.outside.clock import Clock, format_time
from schemas.policy.site import Admission

ALL = 3
"""Smallest number of things for which it is an alarm that all of them are wrong."""

ANSWERED = timedelta(days=1)
"""How long a person's decision counts."""


def is_mass(count: int, total: int, admission: Admission) -> bool:
    """Whether `count` of `total` is an alarm: more than a share and at least a number, or all and at least `ALL`."""
    if count >= admission.at_least and 100 * count > admission.percent * total:
        return True
    return count >= ALL and count >= total


@dataclass(frozen=True, slots=True)
class Alarm:
    """What seems to have happened at the same time to many things of one `kind`; `what` continues the text `12 of 30 `.

    `subject` has the names of the things to which it happened, `open` the names of all things that are not known to be in
    order; `total` is the number of all things.
    """

    scope: str
    kind: str
    what: str
    subject: Collection[str]
    open: Collection[str]
    total: int

    def name(self, names: Collection[str]) -> frozenset[str]:
        """The names, each with the kind before it."""
        return frozenset(f"{self.kind} {one}" for one in names)


@dataclass(frozen=True, slots=True)
class Alarms:
    """Raises and ends the alarms of one ledger; `site_engines` gives the limits of sites."""

    pauses: PauseWriter
    site_engines: SiteEngines
    clock: Clock

    def doubt(self, event: Alarm, site: str) -> bool:
        """Whether an event at a site must not be acted upon now. Raises the alarm, adds to it, or ends it."""
        going = self.pauses.read_subject(event.scope)
        seen = event.name(event.subject)
        if going is not None:
            mine = all(one.startswith(f"{event.kind} ") for one in going)
            if mine and not going & event.name(event.open):
                self.pauses.resume(event.scope, "all of it is as it was", B2PROD, PauseKind.ALARM)
                return False
            if not seen <= going:
                self.pauses.ask_more(event.scope, going | seen)
            return True
        if not seen:
            return False
        since = format_time(self.clock.time() - ANSWERED.total_seconds())
        asked = seen - self.pauses.read_answered(event.scope, since)
        if not is_mass(len(asked), event.total, self.site_engines.find_admission(site)):
            return False
        what = f"{len(asked):,} of {event.total:,} {event.what} at once; nothing is done about it until a person has looked"
        answer = f"`b2prod resume {event.scope}` says that it is true, or that it is repaired"
        self.pauses.pause(event.scope, PauseKind.ALARM, f"{what}: {answer}", B2PROD, seen)
        return True
