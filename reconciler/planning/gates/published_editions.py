"""Which editions of what a stage publishes are published, and whether they are what counts now. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler.datasets.publishing.standing import EditionStanding, read_standings
from reconciler.planning.gates.dataset_outputs import DatasetOutputs
from reconciler.planning.gates.evidence import PublishedDataset
from reconciler.planning.gates.scheme_steps import SchemeSteps
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunSet, parse_runs
from schemas.manifest.scheme import Stage
from schemas.manifest.variant import find_declared
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class PublicationReader:
    """Reads publications for stages at one moment."""

    connection: Connection
    repository: Repository
    steps: SchemeSteps
    outputs: DatasetOutputs

    def read(self, stage: Stage, runs: RunSet | None) -> tuple[PublishedDataset, ...]:
        """What is published of each dataset that a stage names; of the runs of a bucket, or of all if `runs` is None.

        Raises:
            SourceUnavailable: what counts of a dataset cannot be read.
        """
        names = [name for text in stage.names for name in list_datasets(self.repository, text)]
        return tuple(self._find(name, runs) for name in names)

    def _find(self, name: DatasetName, runs: RunSet | None) -> PublishedDataset:
        """The newest published edition that suffices, else the newest one, with the reason."""
        found = [
            one
            for one in read_standings(self.connection, name.dataset).values()
            if one.is_published and name.edition in (None, one.edition.edition)
        ]
        found.sort(key=lambda one: one.edition.edition or 0, reverse=True)
        newest = None
        for one in found:
            covered = parse_runs(one.publications[0].runs)
            if not covered or (runs is not None and covered.subtract(runs.intervals)):
                continue
            lacking = None if name.edition is not None else self._find_lacking(name, one, covered, runs)
            told = _describe(name, one, lacking)
            if lacking is None:
                return told
            newest = newest or told
        return newest or PublishedDataset(str(name), lacking=f"{name} is not published")

    def _find_lacking(
        self, name: DatasetName, standing: EditionStanding, covered: RunSet, runs: RunSet | None
    ) -> str | None:
        """Why a published edition of a dataset does not suffice: other outputs count now, or it lacks runs that the scheme wants."""
        if self.outputs.count(name).digest(covered) != standing.publications[0].outputs:
            return f"{standing.edition} has other outputs than those that count now"
        lacking = self.steps.find_lacking(name, [covered], runs)
        return (
            None if lacking is None else f"{standing.edition} has {lacking[0]} of {lacking[1]} runs of {name}"
        )


def list_datasets(repository: Repository, text: str) -> Iterator[DatasetName]:
    """The datasets that a name in a scheme means: the one of its output, or those of all outputs of a step and its variants."""
    name = parse_dataset(text)
    declared = repository.campaigns.get(name.campaign)
    if name.output or declared is None:
        yield name
        return
    for step in declared.campaign.expand():
        if name.step in (step.name, find_declared(step.name)):
            yield from (DatasetName(name.campaign, step.name, output) for output in step.outputs)


def _describe(name: DatasetName, standing: EditionStanding, lacking: str | None) -> PublishedDataset:
    done = [one for one in standing.publications if one.since is not None]
    times = [one.since for one in done if one.since is not None]
    places = tuple(one.place for one in done)
    return PublishedDataset(str(name), str(standing.edition), done[0].digest, max(times), places, lacking)
