"""Which outputs count of the datasets that schemes look at, each dataset read once at one moment. Only reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from reconciler.datasets.contents import is_registered
from reconciler.ledger.store.database import State
from reconciler.planning.gates.counted_outputs import (
    CountedOutputs,
    CountedRows,
    count_planned,
    count_registered,
    count_stopped,
)
from reconciler.planning.gates.step_runs import PlannedCampaign
from schemas.manifest.dataset import DatasetName
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class DatasetOutputs:
    """Reads what counts of the datasets of a repository. `find_planned` is as in `open_gates`."""

    connection: Connection
    repository: Repository
    state: State
    find_planned: Callable[[str], PlannedCampaign]
    known: dict[str, CountedOutputs] = field(default_factory=dict)

    def count(self, name: DatasetName) -> CountedOutputs:
        """What counts of a dataset, whose name has no edition.

        Raises:
            SourceUnavailable: its campaign cannot be read.
        """
        if name.dataset not in self.known:
            self.known[name.dataset] = self._count(name)
        return self.known[name.dataset]

    def _count(self, name: DatasetName) -> CountedOutputs:
        if name.is_held or is_registered(self.connection, name):
            return count_registered(self.connection, name)
        declared = self.repository.campaigns.get(name.campaign)
        if declared is None or not declared.campaign.is_live:
            return count_stopped(self.connection, name)
        if declared.lock is None:
            return CountedRows(name.dataset, {})
        place = self.state.storage(self.repository.sites[declared.campaign.site].storage)
        storage = str(place) if declared.campaign.reuse else None
        return count_planned(self.connection, name, self.find_planned(name.campaign), storage)
