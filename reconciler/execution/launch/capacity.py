"""Capacity: how many more attempts a site takes in this turn, and why it takes no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile

from reconciler.execution.sites.queues import Queues
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.publication import Publisher
from reconciler.model.bundles import find_least
from reconciler.model.work_items import WorkItem
from reconciler.outside.errors import SourceUnavailable
from schemas.repository import Repository


@dataclass(eq=False, slots=True)
class Capacity:
    """The free slots of all sites in one turn. `live` counts the attempts in flight by site, since the last poll."""

    site_engines: SiteEngines
    queues: Queues
    publisher: Publisher
    repository: Repository
    live: Counter[str] = field(default_factory=Counter)
    _closed: dict[str, str] = field(default_factory=dict)

    def close(self, site: str, reason: str) -> None:
        """Stops submissions to a site for the rest of the turn."""
        self._closed.setdefault(site, reason)

    def count_room(self, site: str) -> int:
        """How many more attempts a site takes now. It may be negative."""
        if self.site_engines.is_resting(site) or self._find_closed(site) is not None:
            return 0
        try:
            engine = self.site_engines.engine(site)
        except SourceUnavailable as error:  # other sites continue
            self.close(site, str(error))
            return 0
        return engine.slots - self.live[site]

    def count_next(self, site: str, queue: Sequence[WorkItem], ready: Sequence[WorkItem]) -> int:
        """How many attempts may begin now, of the jobs in a site's queue and of the units that are `ready` to join it.

        Where more of a step wait than there is room for, none begins before there is room for a whole bundle, nor with `runs`
        more than whole ones: else each attempt that ends would be followed by a bundle as small as the room that it left.
        """
        room, first = self.count_room(site), next(chain(queue, ready), None)
        if room <= 0 or first is None:
            return 0
        bundle = first.step.bundle if self.site_engines.takes_bundles(site) else None
        if bundle is None:
            return room
        slots = self.site_engines.engine(site).slots
        alike = takewhile(first.joins, chain(queue, ready))
        waiting = sum(1 for _ in islice(alike, max(room, slots // 10) + 1))
        least = find_least(slots, bundle, waiting)
        if waiting <= room or (bundle.runs is None and room >= least):
            return room
        return room - room % least

    def tell(self, site: str) -> str:
        """Why nothing more begins at a site."""
        if (reason := self._find_closed(site)) is not None:
            return reason
        if self.site_engines.is_resting(site):
            return f"{site} did not answer, or took no more, and is left alone for a while"
        return f"{site} has {self.live[site]:,} jobs in flight, and more are not begun there at once"

    def _find_closed(self, site: str) -> str | None:
        """Why a site is closed: it was closed in this turn, its queue is full, or its storage accepted nothing; else None."""
        if site in self._closed:
            return self._closed[site]
        if self.queues.is_full(site):
            return f"waiting: {self.queues.describe(site)} ({site})"
        campaigns = self.repository.campaigns
        for name, reason in self.publisher.closed.items():
            if name in campaigns and campaigns[name].campaign.site == site:
                return reason
        return None
