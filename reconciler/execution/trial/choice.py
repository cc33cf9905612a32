"""Chooses what a trial runs: the steps, the run, and the input files, which must be on this machine."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sqlalchemy import Connection

from reconciler.execution.launch.staging import find_away
from reconciler.ledger.reading.observation import find_files
from reconciler.ledger.store.database import State
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.estimate import Estimate, measure_input
from reconciler.planning.views import View
from reconciler.run_catalogue.catalogue import read_files
from reconciler.run_catalogue.run_selection import explain_absence
from renderer.applications import APPLICATIONS
from renderer.identity.units import StepUnits
from renderer.jobs.job_json import InputFile
from schemas.manifest.runs import format_run
from schemas.manifest.variant import find_declared
from schemas.policy.site import Site
from schemas.repository import Repository

LOOKED = 100
"""How many runs are looked at, to find one whose input is on this machine."""

_HERE = "local"
"""The engine of jobs of this machine."""


class NotDeclared(Exception):
    """The campaign has no such step, or does not take the run; the text says why."""


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What a trial runs: the steps in order, for one run. `files` has the input of those steps that read no tried step.

    `whole` has for each step what it reads in all runs. In `repository` the site of the campaign is this machine.
    """

    repository: Repository
    view: View
    run: int
    steps: tuple[StepUnits, ...]
    files: Mapping[str, tuple[InputFile, ...]]
    whole: tuple[Estimate, ...]


def plan_trial(
    connection: Connection,
    repository: Repository,
    view: View,
    state: State,
    run: int | None = None,
    steps: Iterable[str] = (),
    *,
    reads_published: bool = False,
) -> TrialPlan:
    """What a trial of a campaign runs. Without `run`, it is the first run whose input is on this machine.

    If `steps` are given, only these are tried, and the steps that they read before them. With `reads_published`, steps whose
    output of the run is published are not tried.

    Raises:
        NotDeclared: the campaign has no such step, or does not take the run.
        SourceUnavailable: an input, or a program that a step needs, is not on this machine.
    """
    site = repository.sites[view.campaign.site]
    here = replace(site, engine=_HERE, engine_settings={})
    storage = str(state.storage(site.storage))
    search = _Search(connection, view, storage, tuple(steps), reads_published=reads_published)
    found = search.find(search.list_candidates() if run is None else (run,))
    _check_programs(found.steps, here)
    return TrialPlan(
        repository=replace(repository, sites={**repository.sites, site.name: here}),
        view=view,
        run=found.run,
        steps=found.steps,
        files=found.files,
        whole=tuple(measure_input(connection, one, set(one.runs)) for one in found.steps),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    run: int
    steps: tuple[StepUnits, ...]
    files: Mapping[str, tuple[InputFile, ...]]


class _Search:
    """Looks for the input of steps; `names` are the steps that are tried, all if there are none.

    `storage` is where published outputs are read: those of other campaigns, and with `reads_published` the campaign's own.
    """

    def __init__(
        self,
        connection: Connection,
        view: View,
        storage: str,
        names: tuple[str, ...],
        *,
        reads_published: bool,
    ) -> None:
        self._connection, self._view, self._storage = connection, view, storage
        self._reads_published = reads_published
        self._units = {units.step.name: units for units in view.units}
        for name in names:
            if not any(name in (one, find_declared(one)) for one in self._units):
                raise NotDeclared(f"{view.campaign.name} has no step {name}; it has {', '.join(self._units)}")
        self._wanted = [
            units for one, units in self._units.items() if not names or {one, find_declared(one)} & {*names}
        ]
        self._away: dict[str, frozenset[int]] = {}

    def list_candidates(self) -> list[int]:
        """The first runs of the campaign that have an input.

        Raises:
            SourceUnavailable: there are none.
        """
        runs = self._wanted[0].runs
        if not runs:
            why = next(iter(self._wanted[0].waiting.values()), "it selects no run")
            raise SourceUnavailable(f"no run of {self._view.campaign.name} can be tried: {why}")
        root = self._wanted[0]
        while root.step.input.step is not None:
            root = self._units[root.step.input.step]
        away = self._find_away(root.registered) if root.registered is not None else frozenset()
        return [*islice((run for run in runs if run not in away), LOOKED)] or [runs[0]]

    def find(self, runs: Sequence[int]) -> _Found:
        """The first of the runs whose input is on this machine.

        Raises:
            NotDeclared: the campaign does not take the run.
            SourceUnavailable: there is no such run; the message is about the first one.
        """
        missing: SourceUnavailable | None = None
        for run in runs:
            try:
                return self._look(run)
            except SourceUnavailable as error:
                missing = missing or error
        assert missing is not None
        others = f", nor is that of the next {len(runs) - 1} runs" if len(runs) > 1 else ""
        raise SourceUnavailable(f"{missing}{others}")

    def _look(self, run: int) -> _Found:
        needed: dict[str, StepUnits] = {}
        files: dict[str, tuple[InputFile, ...]] = {}

        def need(units: StepUnits) -> None:
            step = units.step
            if step.name in needed:
                return
            self._check_unit(units, run)
            if (registered := units.find_registered(run)) is not None:
                files[step.name] = self._find_registered(registered, run)
            elif step.input.step is None:
                files[step.name] = self._find_made(units, run)
            elif self._reads_published and (published := self._find_published(units, run)):
                files[step.name] = published
            else:
                need(self._units[step.input.step])
            needed[step.name] = units

        for units in self._wanted:
            need(units)
        return _Found(run, tuple(needed.values()), files)

    def _check_unit(self, units: StepUnits, run: int) -> None:
        name = self._view.campaign.name
        place = bisect_left(units.runs, run)
        hindrance = units.waiting.get(run) or units.refused.get(run)
        if hindrance is not None:
            unit = f"{name}/{units.step.name}/{format_run(run)}"
            raise SourceUnavailable(f"{unit} cannot be tried: {hindrance}")
        if place == len(units.runs) or units.runs[place] != run:
            why = explain_absence(self._connection, self._view.campaign, self._view.lock, run)
            raise NotDeclared(f"{name} does not take {format_run(run)}: {why}")

    def _find_made(self, units: StepUnits, run: int) -> tuple[InputFile, ...]:
        """What another campaign made."""
        files = self._find_published(units, run)
        if not files:
            what = f"the input of {units.step.name} for {format_run(run)}"
            raise SourceUnavailable(f"{what} is not made yet: {units.step.input.source}")
        return files

    def _find_registered(self, dataset: str, run: int) -> tuple[InputFile, ...]:
        files = read_files(self._connection, dataset, run)
        if not files:
            what = f"an export of the state does not say where the files of {format_run(run)} lie"
            raise SourceUnavailable(f"{what}: it can be tried where the ledger itself is read")
        if run in self._find_away(dataset):
            raise SourceUnavailable(
                f"{dataset} of {format_run(run)} is not on disk: stage it, or name another run with --run"
            )
        return _check_here(files)

    def _find_published(self, units: StepUnits, run: int) -> tuple[InputFile, ...]:
        upstream = bytes.fromhex(units.inputs[bisect_left(units.runs, run)])
        campaign = self._view.campaign.name
        return _check_here(find_files(self._connection, upstream, self._storage, campaign))

    def _find_away(self, dataset: str) -> frozenset[int]:
        if dataset not in self._away:
            self._away[dataset] = find_away(self._connection, dataset)
        return self._away[dataset]


def _check_here(files: tuple[InputFile, ...]) -> tuple[InputFile, ...]:
    for file in files:
        if not os.path.isfile(file.path):
            raise SourceUnavailable(f"{file.path} is not on this machine")
    return files


def _check_programs(steps: Iterable[StepUnits], site: Site) -> None:
    for units in steps:
        name = units.step.application
        program = (*site.launchers.get(name, ()), APPLICATIONS[name].program)[0]
        if program is not None and shutil.which(program) is None:
            remedy = f"set up {name} here, or try it where `launchers` of the site {site.name} are"
            raise SourceUnavailable(
                f"{program} is not on this machine, and {units.step.name} needs it: {remedy}"
            )
