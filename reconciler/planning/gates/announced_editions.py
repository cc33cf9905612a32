"""Which editions of what a stage announces were announced, and whether readers have a newer one. Only reads."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from reconciler.datasets.announcing.announcement import list_announced
from reconciler.datasets.operations.stored import StoredOperation
from reconciler.datasets.publishing.standing import read_standings
from reconciler.ledger.reading.editions import StoredEdition, list_editions
from reconciler.model.operations import OperationState
from reconciler.planning.gates.evidence import PublishedDataset
from reconciler.planning.gates.published_editions import list_datasets
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import RunSet, parse_runs
from schemas.manifest.scheme import Stage
from schemas.repository import Repository


def read_announced(
    connection: Connection, repository: Repository, stage: Stage, runs: RunSet | None
) -> tuple[PublishedDataset, ...]:
    """What was announced of each dataset that a stage names; of the runs of a bucket, or of all if `runs` is None.

    Raises:
        SourceUnavailable: an operation in the ledger is damaged.
    """
    names = [name for text in stage.names for name in list_datasets(repository, text)]
    return tuple(_find(connection, name, runs) for name in names)


def _find(connection: Connection, name: DatasetName, runs: RunSet | None) -> PublishedDataset:
    """The newest announced edition; it does not suffice if readers were given a newer one without a word."""
    newest = next(_list_done(connection, name, runs), None)
    number = 0 if newest is None else newest[0].number
    silent = [
        one.edition
        for one in read_standings(connection, name.dataset).values()
        if one.is_published
        and (one.edition.edition or 0) > number
        and name.edition in (None, one.edition.edition)
        and (runs is None or not parse_runs(one.publications[0].runs).subtract(runs.intervals))
    ]
    lacking = None
    if silent:
        lacking = f"{max(silent, key=lambda one: one.edition or 0)} is published, and not announced"
    if newest is None:
        return PublishedDataset(str(name), lacking=lacking or f"{name} is not announced")
    edition, done = newest
    places = tuple(one.content["place"] for one in done)
    time = max(one.ended or "" for one in done)
    return PublishedDataset(str(name), edition.name, edition.digest, time, places, lacking)


def _list_done(
    connection: Connection, name: DatasetName, runs: RunSet | None
) -> Iterator[tuple[StoredEdition, list[StoredOperation]]]:
    """Yields the editions that were announced at some place, the newest first, each with its announcements."""
    for edition in reversed(list_editions(connection, name.dataset)):
        if name.edition not in (None, edition.number):
            continue
        found = list_announced(connection, edition).values()
        done = [one for one in found if one.state is OperationState.DONE]
        if done and (
            runs is None or not parse_runs(done[0].content["note"]["runs"]).subtract(runs.intervals)
        ):
            yield edition, done
