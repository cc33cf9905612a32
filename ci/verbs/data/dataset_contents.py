"""What datasets there are, and which files they have: dataset list, files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import rich_click as click
from sqlalchemy import Connection

from ci.changes.campaign_faults import load_produced
from ci.changes.project import Project, load_any, load_campaigns, pass_project
from ci.cli.console import count_things, print_data, print_json, print_rows, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import read_runs, writes_json
from ci.reports.datasets import (
    describe_file,
    describe_summary,
    format_file,
    list_cells,
    tell_campaign_state,
    tell_gone,
)
from reconciler.datasets.contents import DatasetFile, is_made, is_registered
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import read_frozen
from reconciler.datasets.parts import stream_part_files
from reconciler.datasets.summaries import DatasetKind, DatasetSummary, summarize_datasets, tell_kind
from reconciler.ledger.reading.editions import StoredEdition, find_edition, list_editions
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.store.database import reading
from reconciler.planning.declared_heads import list_parts
from reconciler.run_catalogue.dataset_register import read_datasets
from schemas.manifest.dataset import DatasetName, name_dataset, parse_dataset
from schemas.repository import Repository
from schemas.yaml.wording import suggest

_LINES = 1000
"""Lines that are written at a time."""


@click.command("list")
@writes_json
@pass_project
def list_all(project: Project, as_json: bool) -> None:
    """List the datasets that have files or editions: those that campaigns made, that were adopted, and the detector's.

    Of what a campaign made, the newest version of each run counts; what it takes over from others is shown by `dataset show`,
    and so are its editions.
    """
    repository = load_campaigns(project)
    editions: dict[str, list[StoredEdition]] = {}
    with reading(project.state) as connection:
        found = summarize_datasets(connection, repository.list_produced())
        for edition in list_editions(connection):
            editions.setdefault(edition.dataset, []).append(edition)
        found += _summarize_empty(connection, editions.keys() - {one.name for one in found})
    found.sort(key=lambda one: one.name)
    states = {
        one.name: tell_campaign_state(repository, parse_dataset(one.name))
        for one in found
        if one.kind is DatasetKind.MADE
    }
    if as_json:
        print_json([describe_summary(one, states.get(one.name), editions.get(one.name, ())) for one in found])
        return
    columns = ("dataset", "level", "kind", "runs", "files", "events", "GB", "campaign", "editions")
    cells = [list_cells(one, states.get(one.name), editions.get(one.name, ())) for one in found]
    print_rows(columns, cells, numbers=("runs", "files", "events", "GB"))
    if uncounted := sum(bool(one.uncounted) for one in found):
        say(f"≥: in {count_things(uncounted, 'dataset')} the events of some runs were not counted")
    if any(one.kind is DatasetKind.UNASSIGNED for one in found):
        how = "`b2prod files import … --dataset CAMPAIGN/STEP/OUTPUT`"
        say(f"unassigned: nobody said whose files these are; {how} says it")


@click.command("files")
@click.argument("name", metavar="DATASET")
@click.option("--run", "--runs", "which", metavar="RUNS", help="Only these runs, as in 3:529-613,620.")
@click.option("--paths", is_flag=True, help="Write only paths, one a line.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: one object a line for each file.")
@pass_project
def list_files(project: Project, name: str, which: str | None, paths: bool, as_json: bool) -> int:
    """List the files of a dataset, sorted by run; they are written while they are read, however many they are.

    Of a live campaign, an output counts if it is made as declared now, by this campaign or by another one from which it is
    taken over. Of any other campaign, the newest version of each run counts. Of an edition, DATASET:N, the frozen files are
    listed, whatever was made again since. Of files that are gone it is said why; --paths leaves them out, and ends with 6.
    """
    if paths and as_json:
        raise WrongUse("write --paths or --json, not both")
    parsed = read_name(name)
    runs = None if which is None else read_runs(which)
    repository = load_heads(project, [parsed])
    gone: dict[str, list[int]] = {}
    found: Iterator[DatasetFile]
    with reading(project.state) as connection:
        edition = find_dataset(connection, repository, parsed)
        if edition is not None:
            frozen = stream_frozen(connection, read_frozen(connection, edition.digest), runs)
            found = chain.from_iterable(one.files for one in frozen)
        else:
            parts = list_parts(connection, repository, parsed, project.state)
            found = stream_part_files(connection, parts, runs)
        noted = _note_gone(found, gone)
        if as_json:
            count = _write_lines(json.dumps(describe_file(one)) for one in noted)
        elif paths:
            count = _write_lines(one.path for one in noted if one.gone is None)
        else:
            count = _write_lines(format_file(one, parsed) for one in noted)
    for line in tell_gone(gone):
        say(line)
    if not count and not gone:
        say(f"{name} has no files{'' if which is None else f' of {which}'}")
    return Exit.PARTLY if paths and gone else Exit.FINE


def _note_gone(found: Iterable[DatasetFile], gone: dict[str, list[int]]) -> Iterator[DatasetFile]:
    """Yields the files, and collects the runs of those that are gone, one for each file, by the reason."""
    for one in found:
        if one.gone is not None:
            gone.setdefault(one.gone.reason, []).append(one.run)
        yield one


def _write_lines(lines: Iterator[str]) -> int:
    """Writes lines as they come, and returns their number."""
    count = 0
    for part in divide(lines, _LINES):
        print_data("".join(f"{line}\n" for line in part))
        count += len(part)
    return count


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


def _summarize_empty(connection: Connection, names: Iterable[str]) -> Iterator[DatasetSummary]:
    """Summaries of datasets that have editions, and no files any more."""
    known = read_datasets(connection)
    for name in names:
        kind, level = DatasetKind.MADE, ""
        if name in known:
            kind, level = tell_kind(parse_dataset(name)), known[name].level
        yield DatasetSummary(name, level, kind, 0, 0, 0, 0, 0)


_ELSE = "`b2prod dataset list` lists all"


def _list_declared(repository: Repository) -> Iterable[str]:
    """The names of the datasets that the campaigns declare."""
    for name, declared in repository.campaigns.items():
        for step in declared.campaign.expand():
            yield from (name_dataset(name, step.name, output) for output in step.outputs)
    yield from repository.list_produced()
