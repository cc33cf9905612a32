"""Claimed work: units that wait in the plan because another campaign is to make the same. They begin if that one does not.

A campaign may be paused, lack an approval, or belong to a site that is down. Then nobody must wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from sqlalchemy import Connection

from reconciler.ledger.reading.observation import find_begun
from reconciler.model.work_items import WorkItem


class ClaimedWork:
    """The claimed units of one turn, and which campaign began what they would make."""

    def __init__(self, storages: Mapping[str, str]) -> None:
        """`storages` maps sites to their storages."""
        self._storages = storages
        self._items: list[WorkItem] = []
        self._wanted: set[bytes] = set()
        self._makers: dict[tuple[str, bytes], str] = {}  # by storage and fingerprint

    def keep(self, items: Iterable[WorkItem]) -> list[WorkItem]:
        """Keeps the claimed items for later; returns the others."""
        others = []
        for item in items:
            if item.claimed:
                self._items.append(item)
                self._wanted.update(item.fingerprints.values())
            else:
                others.append(item)
        return others

    def begin(self, item: WorkItem) -> bool:
        """Notes that a prepared item begins; returns whether it may: no other campaign began the same in this turn.

        A campaign that reuses nothing always may.
        """
        name = item.campaign.name
        keys = [(item.storage, value) for value in item.fingerprints.values() if value in self._wanted]
        if item.campaign.reuse and any(self._makers.get(key, name) != name for key in keys):
            return False
        for key in keys:
            self._makers.setdefault(key, name)
        return True

    def release(self, connection: Connection) -> list[WorkItem]:
        """The claimed items whose outputs nobody makes or made, as the ledger says now; they are not kept any longer."""
        left = []
        for site, items in groupby(self._items, lambda item: item.campaign.site):
            some = list(items)
            wanted = {value for item in some for value in item.fingerprints.values()}
            begun = find_begun(connection, self._storages[site], wanted)
            left += [item for item in some if begun.isdisjoint(item.fingerprints.values())]
        self._items.clear()
        self._makers.clear()  # who noted these outputs did not begin
        return left
