"""Freezes editions of datasets: dataset freeze."""

from __future__ import annotations

import rich_click as click
from sqlalchemy import Connection

from ci.changes.project import Project, choose_locked, load_sound, pass_project
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import WrongUse
from ci.cli.options import read_runs
from reconciler.datasets.contents import stream_runs
from reconciler.datasets.editions import choose_runs, keep_editions
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.outside.errors import GuardRefused
from reconciler.planning.declared_heads import read_head
from schemas.manifest.dataset import DATASET_FORM, DatasetName, parse_dataset
from schemas.manifest.runs import RunSet
from schemas.repository import Repository


@click.command()
@click.argument("name", metavar="DATASET")
@click.option("--runs", "which", metavar="RUNS", help="Only these runs, as in 3:529-613; else all.")
@click.option("--reason", help="Why; kept in the ledger with your name.")
@pass_project
def freeze(project: Project, name: str, which: str | None, reason: str | None) -> None:
    """Freeze what a dataset has now as its next edition: an immutable list of runs and files, with a digest.

    Of a live campaign an output counts if it is made as declared now; of any other the newest version of each run; of
    adopted datasets and of the detector's the registered files. If this equals the newest edition, no new one is made.
    Campaigns read an edition by `input: {dataset: DATASET:N}`.
    """
    parsed = _read_name(name)
    repository = load_sound(project, [parsed.campaign])
    declared = repository.campaigns.get(parsed.campaign)
    if declared is not None and declared.campaign.is_live:
        choose_locked(repository, [parsed.campaign])
    with reading(project.state) as connection:
        read_identity(connection)  # without a ledger there is nothing to freeze
        edition = read_head(connection, repository, parsed, project.state)
        chosen = None if which is None else read_runs(which)
        _refuse_produced(connection, repository, parsed, chosen)
    if chosen is not None:
        edition = choose_runs(edition, chosen)
    if not edition.runs:
        of = "" if which is None else f" of {which}"
        raise GuardRefused(f"nothing{of} exists of {name}; an edition has at least one run")
    with opened(project.state) as engine:
        frozen = EditionWriter(Writer(engine, None), name_user()).freeze(name, edition.content, reason)
        with engine.begin() as connection:
            keep_editions(connection, project.state.editions)
    if not frozen.is_new:
        say(f"{frozen.name} has exactly this; no new edition was made")
    print_data(f"{frozen.name}  {count_things(len(edition.runs), 'run')}  {frozen.digest}\n")


def _refuse_produced(
    connection: Connection, repository: Repository, name: DatasetName, runs: RunSet | None
) -> None:
    """Accepts a dataset of the detector only if no campaign produced these runs of it: an edition has files or units, not both."""
    for producer in repository.find_producers(name.dataset) if name.is_detectors else ():
        if next(stream_runs(connection, producer, runs), None) is not None:
            hint = f"freeze {producer}, and choose the other runs of {name} with --runs"
            raise GuardRefused(f"{producer} is produced for {name}: {hint}")


def _read_name(text: str) -> DatasetName:
    """The name of a dataset with its output.

    Raises:
        WrongUse: it is not such a name.
    """
    try:
        name = parse_dataset(text)
    except ValueError as error:
        raise WrongUse(str(error)) from error
    if name.edition is not None:
        raise WrongUse(f"{text} is frozen already; {name.dataset} is what can be frozen")
    if not (name.output or name.is_held):
        raise WrongUse(f"{text} is a step; write {DATASET_FORM}")
    return name
