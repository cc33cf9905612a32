"""What live campaigns declare of their datasets: which output of each run counts."""

from __future__ import annotations

from sqlalchemy import Connection

from reconciler.datasets.contents import DeclaredHead
from reconciler.ledger.store.database import State
from reconciler.planning.views import view_campaign
from schemas.manifest.dataset import DatasetName
from schemas.repository import Repository


def declare_head(
    connection: Connection, repository: Repository, name: DatasetName, state: State
) -> DeclaredHead | None:
    """What a dataset's campaign declares; None if it is not live, has no lock, or does not make the dataset any more.

    Raises:
        SourceUnavailable: something that the campaign depends on cannot be read.
    """
    declared = repository.campaigns.get(name.campaign)
    if declared is None or not declared.campaign.is_live or declared.lock is None:
        return None
    view = view_campaign(connection, repository, name.campaign, state)
    storage = str(state.storage(repository.sites[view.campaign.site].storage))
    for units in view.units:
        if units.step.name == name.step and name.output in units.fingerprints:
            column = zip(units.runs, units.fingerprints[name.output], strict=True)
            return DeclaredHead(dict(column), len(units.waiting), storage if view.campaign.reuse else None)
    return None
