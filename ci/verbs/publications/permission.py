"""Whether the schemes that publish a dataset let an edition of it be published."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.project import Project
from reconciler.datasets.editions import choose_runs, read_edition
from reconciler.ledger.reading.editions import StoredEdition
from reconciler.outside.errors import GuardRefused
from reconciler.planning.declared_heads import read_head
from reconciler.planning.gates.judging import StageStatus
from reconciler.planning.gates.published_editions import list_datasets
from reconciler.planning.views import judge_stages
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.scheme import PUBLISH, RunBucket, Scheme, Stage
from schemas.repository import Repository


def find_permission(
    connection: Connection, project: Project, repository: Repository, edition: StoredEdition
) -> str | None:
    """The digest of what was signed for a publication; None if no scheme publishes the dataset, or nobody must sign it.

    Raises:
        GuardRefused: a stage that publishes it may not do so now, or another edition counts.
    """
    name = parse_dataset(edition.name)
    found = None
    for scheme in repository.schemes.values():
        stages = [one for one in scheme.stages if one.does == PUBLISH and _is_about(repository, one, name)]
        if not stages:
            continue
        runs = read_edition(connection, edition.digest).runs
        judged = list(_judge(connection, project, repository, scheme, stages))
        fitting = [
            one
            for one in judged
            if (bucket := _find_bucket(scheme, one)) is None or all(run in bucket.runs for run in runs)
        ]
        if not fitting:
            raise GuardRefused(
                f"no bucket of the scheme {scheme.name} has all runs of {name}; freeze one bucket with --runs"
            )
        for status in fitting:
            if not status.is_ready:
                raise GuardRefused(f"{name} may not be published yet: {status.tell()}")
            if not _is_pinned(status.stage, name):
                _refuse_other(connection, project, repository, edition, _find_bucket(scheme, status))
            if status.matter is not None:
                found = status.matter.digest
    return found


def _is_about(repository: Repository, stage: Stage, name: DatasetName) -> bool:
    named = [one for text in stage.names for one in list_datasets(repository, text)]
    return any(one.dataset == name.dataset and one.edition in (None, name.edition) for one in named)


def _is_pinned(stage: Stage, name: DatasetName) -> bool:
    return str(name) in stage.names


def _judge(
    connection: Connection, project: Project, repository: Repository, scheme: Scheme, stages: list[Stage]
) -> Iterator[StageStatus]:
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    for status in judge_stages(connection, repository, scheme, project.state, signs, criteria):
        if status.stage in stages:
            yield status


def _find_bucket(scheme: Scheme, status: StageStatus) -> RunBucket | None:
    return next((one for one in scheme.buckets if one.name == status.bucket), None)


def _refuse_other(
    connection: Connection,
    project: Project,
    repository: Repository,
    edition: StoredEdition,
    bucket: RunBucket | None,
) -> None:
    """Refuses an edition of other outputs than those that were seen, compared and signed: those that count now."""
    name = parse_dataset(edition.name)
    head = read_head(connection, repository, parse_dataset(name.dataset), project.state)
    if bucket is not None:
        head = choose_runs(head, [run for run in head.runs if run in bucket.runs])
    if head.digest != edition.digest:
        frozen = read_edition(connection, edition.digest)
        what = "other outputs than those that count now"
        if len(frozen.runs) < len(head.runs):
            what = f"{len(frozen.runs):,} of {len(head.runs):,} runs that count now"
        again = f"`b2prod dataset freeze {name.dataset}` freezes what counts"
        raise GuardRefused(f"{name} has {what}; {again}")
