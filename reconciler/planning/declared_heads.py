"""Heads of datasets: what live campaigns declare of them, and what exists of them now and counts."""

from __future__ import annotations

from sqlalchemy import Connection

from reconciler.datasets.contents import DeclaredHead
from reconciler.datasets.editions import Edition, collect_made, collect_registered
from reconciler.datasets.parts import DatasetPart
from reconciler.ledger.reading.heads import read_heads
from reconciler.ledger.store.database import State
from reconciler.run_catalogue.dataset_register import read_datasets
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
    from reconciler.planning.views import view_campaign  # noqa: PLC0415 -- a list of datasets plans nothing, and loads faster

    view = view_campaign(connection, repository, name.campaign, state)
    storage = str(state.storage(repository.sites[view.campaign.site].storage))
    for units in view.units:
        if units.step.name == name.step and name.output in units.fingerprints:
            column = zip(units.runs, units.fingerprints[name.output], strict=True)
            taken_over = storage if view.campaign.reuse else None
            return DeclaredHead(dict(column), frozenset(units.waiting), taken_over)
    return None


def list_parts(
    connection: Connection, repository: Repository, name: DatasetName, state: State
) -> tuple[DatasetPart, ...]:
    """A dataset, and what campaigns produce for it if it is one of the detector; what counts first comes first.

    Raises:
        SourceUnavailable: something that one of these campaigns depends on cannot be read.
    """
    parts = [DatasetPart(name, declare_head(connection, repository, name, state))]
    elsewhere: set[int] = set()
    for producer in repository.find_producers(name.dataset) if name.is_detectors else ():
        head = declare_head(connection, repository, producer, state)
        parts.append(DatasetPart(producer, head, frozenset(elsewhere)))
        elsewhere.update(*((head.fingerprints, head.waiting) if head is not None else ()))
    return tuple(parts)


def read_head(connection: Connection, repository: Repository, name: DatasetName, state: State) -> Edition:
    """The head of a dataset as an edition, which has no run if nothing exists.

    Of a live campaign, which must have a current lock, an output counts if it is made as declared now, by this campaign or by
    another one from which it is taken over. Of any other campaign the newest version of each run counts.

    Raises:
        SourceUnavailable: something that a live campaign depends on cannot be read.
    """
    if name.is_held or name.dataset in read_datasets(connection):
        return collect_registered(connection, name.dataset)
    declared = repository.campaigns.get(name.campaign)
    if declared is None or not declared.campaign.is_live:
        heads = read_heads(connection, name.campaign)
        newest = {one.run: one.fingerprint for one in heads if one[:2] == (name.step, name.output)}
        return collect_made(connection, name, newest)
    if (head := declare_head(connection, repository, name, state)) is None:
        return Edition(name.dataset, made=True, runs={})
    return collect_made(connection, name, head.fingerprints, head.storage)
