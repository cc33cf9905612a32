"""Which dataset or edition a name means, and what counts of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection

from ci.changes.campaign_faults import load_produced
from ci.changes.project import Project, load_any
from ci.cli.exits import WrongUse
from reconciler.datasets.contents import is_made, is_registered
from reconciler.datasets.summaries import summarize_datasets
from reconciler.ledger.reading.editions import StoredEdition, find_edition, list_editions
from schemas.manifest.dataset import DatasetName, name_dataset, parse_dataset
from schemas.repository import Repository
from schemas.yaml.wording import suggest


def read_name(text: str) -> DatasetName:
    """The name of a dataset.

    Raises:
        WrongUse: it is not such a name.
    """
    try:
        return parse_dataset(text)
    except ValueError as error:
        raise WrongUse(str(error)) from error


def load_heads(project: Project, names: Iterable[DatasetName]) -> Repository:
    """Everything declared, to tell what counts of these datasets; editions need no manifest.

    Of campaigns with findings the ledger alone tells.
    """
    everything = load_any(project)[0]
    heads = [name for name in names if name.edition is None]
    produced = everything.list_produced()
    producers = {one.campaign for name in heads for one in produced.get(name.dataset, ())}
    campaigns = {name.campaign for name in heads if not name.is_held}
    repository = load_produced(project, sorted(campaigns | producers))
    # What it produces belongs to the dataset of the detector all the same; without a lock, the ledger says what there is.
    left_out = {
        name: replace(everything.campaigns[name], lock=None)
        for name in producers - repository.campaigns.keys()
    }
    return replace(repository, campaigns={**repository.campaigns, **left_out})


def find_dataset(connection: Connection, repository: Repository, name: DatasetName) -> StoredEdition | None:
    """The edition that a name means, or None for the head of a dataset that has files or editions, or that is declared.

    Raises:
        WrongUse: there is no such dataset or edition; the message names what was probably meant.
    """
    there = is_registered(connection, name) or is_made(connection, name)
    if not (there or list_editions(connection, name.dataset)):
        declared = list(_list_declared(repository))
        if name.dataset not in declared:
            known = [*(one.name for one in summarize_datasets(connection)), *declared]
            known += {one.dataset for one in list_editions(connection)}
            raise WrongUse(
                f"there is no dataset {name.dataset}; {suggest(name.dataset, known, _ELSE, 'or ')}"
            )
    if name.edition is None:
        return None
    try:
        return find_edition(connection, name)
    except LookupError as error:
        raise WrongUse(str(error)) from error


_ELSE = "`b2prod dataset list` lists all"


def _list_declared(repository: Repository) -> Iterable[str]:
    """The names of the datasets that the campaigns declare."""
    for name, declared in repository.campaigns.items():
        for step in declared.campaign.expand():
            yield from (name_dataset(name, step.name, output) for output in step.outputs)
    yield from repository.list_produced()
