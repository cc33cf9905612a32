"""Queues of sites: how many attempts a site with a full queue is offered, and when.

A full queue is not a failure of a job. The site gets nothing for some time, and longer times while it takes nothing.
Then it is offered one job, and after each accepted batch twice as many. The pause is stored in the ledger, so that a
service and a turn by hand behave the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.ledger.writing.pauses import B2PROD, Pause, PauseWriter, find_full
from reconciler.model.engine import Deferred
from reconciler.model.states import PauseKind
from schemas.files.times import read_time

SHORTEST, LONGEST = 10.0, 300.0
"""Shortest and longest time in seconds for which a full queue gets nothing; a site may ask for more time."""


class Queues:
    """The queues of all sites, in one turn."""

    def __init__(self, site_engines: SiteEngines, pauses: PauseWriter, clock: Callable[[], float]) -> None:
        self._site_engines, self._pauses, self._clock = site_engines, pauses, clock
        self._offers: dict[str, int] = {}
        self._limited: set[str] = set()

    def is_full(self, site: str) -> bool:
        """Whether nothing is submitted to a site for now; false if a person ended its pause, or the waiting time is over."""
        return self._site_engines.is_postponed(site) and self._find(site) is not None

    def describe(self, site: str) -> str | None:
        """Why a site takes no more jobs; None if it does."""
        found = self._find(site)
        return found.reason if found else None

    def find_width(self, site: str, most: int) -> int:
        """How many attempts the next batch for a site may have; at most `most`."""
        if site not in self._offers:
            self._offers[site] = 1 if self._find(site) else most
        return min(most, self._offers[site])

    def record_taken(self, site: str) -> None:
        """Records that a site took a batch."""
        if self._find(site):
            self._pauses.resume(f"site:{site}", "it takes jobs again", B2PROD, PauseKind.FULL)
        if site not in self._limited:
            self._offers[site] = 2 * self._offers[site]

    def record_deferred(self, site: str, answers: Sequence[Deferred]) -> None:
        """Records that a site deferred attempts of a batch: the next batch is smaller, or the site is left alone for a while."""
        self._limited.add(site)
        if len(answers) > 1 and all(one.fewer and one.pause is None for one in answers):
            self._offers[site] = len(answers) // 2
            return
        asked = max((one.pause or 0.0 for one in answers), default=0.0)
        self.record_full(site, answers[0].reason, asked)

    def record_full(self, site: str, reason: str, asked: float = 0.0) -> None:
        """Records that a site takes nothing now. It gets nothing for at least `asked` seconds, within the limit of `postpone`."""
        self._limited.add(site)
        self._offers[site] = 1
        found = self._find(site)
        since = 0.0
        if found is None:
            self._pauses.pause(f"site:{site}", PauseKind.FULL, f"the site's queue is full: {reason}", B2PROD)
        else:
            since = self._clock() - read_time(found.since).timestamp()
        self._site_engines.postpone(site, max(asked, min(LONGEST, max(SHORTEST, since))))

    def _find(self, site: str) -> Pause | None:
        return find_full(self._pauses.list_pauses(), site)
