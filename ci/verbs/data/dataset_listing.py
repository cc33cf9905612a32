"""Which datasets there are: dataset list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import rich_click as click
from sqlalchemy import Connection

from ci.changes.project import Project, load_campaigns, pass_project
from ci.cli.console import count_things, print_json, say
from ci.cli.options import writes_json
from ci.cli.rows import print_rows
from ci.reports.datasets import (
    describe_summary,
    list_cells,
    tell_campaign_state,
)
from reconciler.datasets.publishing.standing import read_standings
from reconciler.datasets.summaries import DatasetKind, DatasetSummary, summarize_datasets, tell_kind
from reconciler.ledger.reading.editions import StoredEdition, list_editions
from reconciler.ledger.store.database import reading
from reconciler.run_catalogue.dataset_register import read_datasets
from schemas.manifest.dataset import parse_dataset


@click.command("list")
@writes_json
@pass_project
def list_all(project: Project, as_json: bool) -> None:
    """List the datasets that have files or editions: those that campaigns made, that were adopted, and the detector's.

    Of what a campaign made, the newest version of each run counts; what it takes over from others is shown by `dataset show`,
    and so are its editions; which of them are published is told here.
    """
    repository = load_campaigns(project)
    editions: dict[str, list[StoredEdition]] = {}
    with reading(project.state) as connection:
        found = summarize_datasets(connection, repository.list_produced())
        for edition in list_editions(connection):
            editions.setdefault(edition.dataset, []).append(edition)
        published = [one.edition for one in read_standings(connection).values() if one.is_published]
        found += _summarize_empty(connection, editions.keys() - {one.name for one in found})
    found.sort(key=lambda one: one.name)
    states = {
        one.name: tell_campaign_state(repository, parse_dataset(one.name))
        for one in found
        if one.kind is DatasetKind.MADE
    }
    numbers = {
        one.name: sorted(name.edition or 0 for name in published if name.dataset == one.name) for one in found
    }
    if as_json:
        described = [
            describe_summary(one, states.get(one.name), editions.get(one.name, ()), numbers[one.name])
            for one in found
        ]
        print_json(described)
        return
    columns: tuple[str, ...] = (
        "dataset",
        "level",
        "kind",
        "runs",
        "files",
        "events",
        "GB",
        "campaign",
        "editions",
    )
    cells = [list_cells(one, states.get(one.name), editions.get(one.name, ())) for one in found]
    if published:
        columns = (*columns, "published")
        cells = [
            (*cell, " ".join(f":{number}" for number in numbers[one.name]))
            for one, cell in zip(found, cells, strict=True)
        ]
    print_rows(columns, cells, numbers=("runs", "files", "events", "GB"))
    if uncounted := sum(bool(one.uncounted) for one in found):
        say(f"≥: in {count_things(uncounted, 'dataset')} the events of some runs were not counted")
    if any(one.kind is DatasetKind.UNASSIGNED for one in found):
        how = "`b2prod files import … --dataset CAMPAIGN/STEP/OUTPUT`"
        say(f"unassigned: nobody said whose files these are; {how} says it")


def _summarize_empty(connection: Connection, names: Iterable[str]) -> Iterator[DatasetSummary]:
    """Summaries of datasets that have editions, and no files any more."""
    known = read_datasets(connection)
    for name in names:
        kind, level = DatasetKind.MADE, ""
        if name in known:
            kind, level = tell_kind(parse_dataset(name)), known[name].level
        yield DatasetSummary(name, level, kind, 0, 0, 0, 0, 0)
