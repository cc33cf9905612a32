"""How much more a site takes in this turn; and where it takes no more, why."""

from __future__ import annotations

from collections import Counter

from reconciler.execution.sites.queues import Queues
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.delivery import Delivery
from reconciler.outside.errors import SourceUnavailable
from schemas.repository import Repository


class Capacity:
    """The room of all sites in one turn. `live` are their attempts in flight, as of the last look and since."""

    def __init__(
        self, site_engines: SiteEngines, queues: Queues, delivery: Delivery, repository: Repository
    ) -> None:
        self.live: Counter[str] = Counter()
        self._site_engines = site_engines
        self._queues = queues
        self._delivery = delivery
        self._repository = repository
        self._closed: dict[str, str] = {}

    def close(self, site: str, reason: str) -> None:
        """From now on the site takes nothing more in this turn."""
        self._closed.setdefault(site, reason)

    def count_room(self, site: str, waiting: int = 0) -> int:
        """How many attempts more a site takes now, beside those that wait for it already."""
        if self._site_engines.is_resting(site) or self._find_closed(site) is not None:
            return 0
        try:
            engine = self._site_engines.engine(site)
        except SourceUnavailable as error:  # that of others goes on
            self.close(site, str(error))
            return 0
        return engine.slots - self.live[site] - waiting

    def tell(self, site: str) -> str:
        """Why nothing more begins at a site."""
        if (reason := self._find_closed(site)) is not None:
            return reason
        if self._site_engines.is_resting(site):
            return f"{site} did not answer, or took no more, and is left alone for a while"
        return f"{site} has {self.live[site]:,} jobs in flight, and more are not begun there at once"

    def _find_closed(self, site: str) -> str | None:
        """Why a site is closed, also where its queue takes no more, or its storage took nothing in this turn."""
        if site in self._closed:
            return self._closed[site]
        if self._queues.is_full(site):
            return f"waiting: {self._queues.describe(site)} ({site})"
        campaigns = self._repository.campaigns
        for name, reason in self._delivery.closed.items():
            if name in campaigns and campaigns[name].campaign.site == site:
                return reason
        return None
