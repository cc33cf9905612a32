"""What datasets there are, and which files they have: dataset list, files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import rich_click as click
from sqlalchemy import Connection

from ci.changes.campaign_faults import load_produced
from ci.changes.project import Project, load_any, pass_project
from ci.cli.console import count_things, print_data, print_json, print_rows, say
from ci.cli.exits import WrongUse
from ci.cli.options import read_runs, writes_json
from ci.reports.datasets import describe_file, describe_summary, format_file, list_cells, tell_campaign_state
from reconciler.datasets.contents import is_made, is_registered, stream_files
from reconciler.datasets.summaries import DatasetKind, summarize_datasets
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.store.database import reading
from reconciler.planning.declared_heads import declare_head
from schemas.manifest.dataset import DatasetName, name_dataset, parse_dataset
from schemas.repository import Repository
from schemas.yaml.wording import suggest

_LINES = 1000
"""Lines that are written at a time."""


@click.command("list")
@writes_json
@pass_project
def list_all(project: Project, as_json: bool) -> None:
    """List the datasets that have files: those that campaigns made, that were adopted, and the detector's.

    Of what a campaign made, the newest version of each run counts; what it takes over from others is shown by `dataset show`.
    """
    repository, _ = load_any(project)
    with reading(project.state) as connection:
        found = summarize_datasets(connection)
    states = {
        one.name: tell_campaign_state(repository, parse_dataset(one.name))
        for one in found
        if one.kind is DatasetKind.MADE
    }
    if as_json:
        print_json([describe_summary(one, states.get(one.name)) for one in found])
        return
    columns = ("dataset", "level", "kind", "runs", "files", "events", "GB", "campaign")
    cells = [list_cells(one, states.get(one.name)) for one in found]
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
def list_files(project: Project, name: str, which: str | None, paths: bool, as_json: bool) -> None:
    """List the files of a dataset, sorted by run; they are written while they are read, however many they are.

    Of a live campaign, an output counts if it is made as declared now, by this campaign or by another one from which it is
    taken over. Of any other campaign, the newest version of each run counts.
    """
    if paths and as_json:
        raise WrongUse("write --paths or --json, not both")
    parsed = read_name(name)
    runs = None if which is None else read_runs(which)
    repository = load_produced(project, [] if parsed.is_held else [parsed.campaign])
    with reading(project.state) as connection:
        refuse_unknown_dataset(connection, repository, parsed)
        declared = declare_head(connection, repository, parsed, project.state)
        found = stream_files(connection, parsed, runs, declared)
        if as_json:
            count = _write_lines(json.dumps(describe_file(one)) for one in found)
        elif paths:
            count = _write_lines(one.path for one in found)
        else:
            count = _write_lines(format_file(one, parsed) for one in found)
    if not count:
        say(f"{name} has no files{'' if which is None else f' of {which}'}")


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


def refuse_unknown_dataset(connection: Connection, repository: Repository, name: DatasetName) -> None:
    """Accepts the name of a dataset that has files, or that a campaign declares.

    Raises:
        WrongUse: it is neither; the message names one that was probably meant.
    """
    if name.edition is not None:
        raise WrongUse(f"{name} would be an edition, and what is shown is the head: {name.dataset}")
    if is_registered(connection, name) or is_made(connection, name):
        return
    declared = list(_list_declared(repository))
    if name.dataset not in declared:
        known = [*(one.name for one in summarize_datasets(connection)), *declared]
        raise WrongUse(f"there is no dataset {name.dataset}; {suggest(name.dataset, known, _ELSE, 'or ')}")


_ELSE = "`b2prod dataset list` lists all"


def _list_declared(repository: Repository) -> Iterable[str]:
    """The names of the datasets that the campaigns declare."""
    for name, declared in repository.campaigns.items():
        for step in declared.campaign.expand():
            yield from (name_dataset(name, step.name, output) for output in step.outputs)
