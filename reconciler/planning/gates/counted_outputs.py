"""What counts of a dataset now: its digest over some runs, and of which runs it is not what an edition has. Only reads."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, and_, not_, select

from reconciler.datasets.contents import choose_few
from reconciler.datasets.editions import Edition
from reconciler.datasets.output_digests import (
    REGISTERED,
    MadeColumns,
    OutputRow,
    Version,
    digest_columns,
    digest_rows,
    read_rows,
)
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import inputs, outputs, recipes
from reconciler.model.states import OutputState
from reconciler.planning.gates.step_runs import PlannedCampaign
from renderer.identity.digest_columns import write
from renderer.identity.units import StepUnits
from schemas.manifest.dataset import DatasetName, name_dataset
from schemas.manifest.runs import RunSet, run_key

_PRODUCED = outputs.c.state == OutputState.PRODUCED


class CountedOutputs(Protocol):
    """What counts of a dataset at one moment."""

    def digest(self, runs: RunSet) -> str | None:
        """The digest of what counts of some runs; None if of one of them nothing does."""
        ...

    def list_changed(self, edition: Edition) -> set[int]:
        """The run keys of which another output counts than the one that an edition has."""
        ...


@dataclass(frozen=True, slots=True)
class CountedRows:
    """What counts of a dataset, as rows by run key: of registered files, or of a campaign that is not planned."""

    dataset: str
    rows: Mapping[int, OutputRow]
    known: dict[RunSet, str | None] = field(default_factory=dict, repr=False)

    def digest(self, runs: RunSet) -> str | None:
        """As `CountedOutputs` has it."""
        if runs not in self.known:
            self.known[runs] = digest_rows(self.dataset, self.rows, [*runs])
        return self.known[runs]

    def list_changed(self, edition: Edition) -> set[int]:
        """As `CountedOutputs` has it."""
        if not edition.made:
            return {
                run
                for run, one in edition.runs.items()
                if run in self.rows and self.rows[run].input != one.input
            }
        return {
            run
            for run, one in edition.runs.items()
            if run in self.rows and self.rows[run].version != (one.version, one.dataset or edition.dataset)
        }


@dataclass(frozen=True, slots=True)
class CountedUnits:
    """What counts of what a planned campaign makes: its own outputs, and those of others at `storage`, if it is not None.

    Of a run that is not among the `doubtful`, the campaign's own first version counts; of these alone the ledger is asked. They are
    sorted.
    """

    connection: Connection
    name: DatasetName
    units: StepUnits
    storage: str | None
    doubtful: Sequence[int]
    known: dict[RunSet, str | None] = field(default_factory=dict, repr=False)
    versions: dict[int, Version | None] = field(default_factory=dict, repr=False)

    def digest(self, runs: RunSet) -> str | None:
        """As `CountedOutputs` has it."""
        if runs not in self.known:
            self.known[runs] = self._digest(runs)
        return self.known[runs]

    def _digest(self, runs: RunSet) -> str | None:
        units, spans = self.units, []
        for first, last in runs.intervals:
            begin, end = bisect_left(units.runs, first), bisect_right(units.runs, last)
            if end - begin != last - first + 1:
                return None
            spans.append((begin, end))
        own, versions = (1, self.name.dataset), {}
        for run, version in self._find_versions(runs.choose(self.doubtful)).items():
            if version is None:
                return None
            if version != own:
                versions[run] = version
        recipe = units.fingerprints[self.name.output].recipe
        payload_sets = None if units.payload_sets is None else _write(units.payload_sets, spans)
        return digest_columns(
            [MadeColumns(recipe, runs, _write(units.inputs, spans), payload_sets)], versions
        )

    def list_changed(self, edition: Edition) -> set[int]:
        """As `CountedOutputs` has it."""
        there = [run for run in sorted(edition.runs) if self._find_place(run) is not None]
        doubtful = {*self.doubtful}
        versions = self._find_versions([run for run in there if run in doubtful])
        found = set()
        for run in there:
            one, now = edition.runs[run], versions.get(run, (1, self.name.dataset))
            if now is not None and now != (one.version, one.dataset or edition.dataset):
                found.add(run)
        return found

    def _find_place(self, run: int) -> int | None:
        place = bisect_left(self.units.runs, run)
        return place if place < len(self.units.runs) and self.units.runs[place] == run else None

    def _find_versions(self, runs: Collection[int]) -> dict[int, Version | None]:
        """Which outputs count of some runs, each looked up once; None where there is none.

        The campaign's own output counts, else the first one that was made so.
        """
        column = self.units.fingerprints[self.name.output]
        wanted = {
            run: column[place]
            for run in runs
            if run not in self.versions and (place := self._find_place(run)) is not None
        }
        self.versions.update(dict.fromkeys(wanted))
        at = (outputs.c.experiment, outputs.c.run, outputs.c.fingerprint, outputs.c.version)
        own = select(*at).where(belongs_to(self.name), choose_few(outputs, wanted), _PRODUCED)
        for experiment, number, value, version in self.connection.execute(own) if wanted else ():
            run = run_key(experiment, number)
            if wanted.get(run) == value:
                self.versions[run] = (version, self.name.dataset)
        missing: dict[bytes, list[int]] = {}
        for run, value in wanted.items():
            if self.versions[run] is None and self.storage is not None:
                missing.setdefault(value, []).append(run)
        named = (outputs.c[name] for name in ("fingerprint", "version", "campaign", "step", "output"))
        others = select(*named).where(_PRODUCED, outputs.c.storage == self.storage).order_by(outputs.c.id)
        for part in divide(sorted(missing)):
            for value, version, *of in self.connection.execute(others.where(outputs.c.fingerprint.in_(part))):
                for run in missing[value]:
                    if self.versions[run] is None:
                        self.versions[run] = (version, name_dataset(*of))
        return {run: self.versions[run] for run in runs if run in self.versions}


def count_planned(
    connection: Connection, name: DatasetName, planned: PlannedCampaign, storage: str | None
) -> CountedOutputs:
    """What counts of a dataset of a planned campaign; what others made at `storage` counts too, if it is not None."""
    units = next(
        (one for one in planned.units if one.step.name == name.step and name.output in one.fingerprints),
        None,
    )
    if units is None:
        return CountedRows(name.dataset, {})
    own = (outputs.c.step == name.step, outputs.c.output == name.output, outputs.c.version == 1)
    made = (outputs.c.campaign == name.campaign, _PRODUCED)
    recipe = select(recipes.c.id).where(recipes.c.digest == units.fingerprints[name.output].recipe)
    # an index leads to the recipe; what a step of another name made so counts too
    query = select(outputs.c.experiment, outputs.c.run).where(*made, outputs.c.recipe.in_(recipe))
    doubtful = {run_key(*one) for one in connection.execute(query.where(not_(and_(*own))))}
    doubtful.update(*(group.runs for group in planned.plan.groups if group.step == name.step))
    return CountedUnits(connection, name, units, storage, sorted(doubtful))


def count_stopped(connection: Connection, name: DatasetName) -> CountedOutputs:
    """What counts of a dataset of a campaign that is not planned: of each run its newest version."""
    newest = dict(read_rows(connection, name.dataset, belongs_to(name), _PRODUCED))
    return CountedRows(name.dataset, newest)


def count_registered(connection: Connection, name: DatasetName) -> CountedOutputs:
    """What counts of a dataset with registered files."""
    query = select(inputs.c.experiment, inputs.c.run, inputs.c.digest).where(inputs.c.dataset == name.dataset)
    own = (1, name.dataset)
    return CountedRows(
        name.dataset,
        {
            run_key(experiment, run): OutputRow(REGISTERED, given, None, own)
            for experiment, run, given in connection.execute(query)
        },
    )


def _write(values: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    """The values of some spans of indices, in pieces."""
    for begin, end in spans:
        yield "".join(write(values[begin:end]))
