"""Runs a trial: one job after the other, as the local engine runs them, in a folder that belongs to the trial alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.launch.preparation import WorkPreparation
from reconciler.execution.tracking.workspace import Failed, Verified, Workspace
from reconciler.execution.trial.choice import TrialPlan
from reconciler.ledger.store.database import State
from reconciler.model.engine import Accepted, Batch, JobHandle, Refused, Sighting
from reconciler.model.states import AttemptState, FailureClass
from reconciler.model.work_items import Attempt, WorkItem
from reconciler.outside.clock import CLOCK
from reconciler.planning.estimate import Estimate
from reconciler.planning.extrapolation import Taken, TriedStep, extrapolate
from renderer.applications import APPLICATIONS
from renderer.identity.units import StepUnits
from renderer.jobs.job_json import InputFile, Job, divide_input

GRACE = 5.0
"""Seconds in which a job that was told to end may end by itself."""

_POLL = 0.05

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class TrialFailure:
    """Why a step failed, and the end of its log; `first` is the number of the first line of that end."""

    step: str
    application: str
    reason: str
    failure: FailureClass
    log: str
    first: int


@dataclass(frozen=True, slots=True)
class Trial:
    """The steps that were tried, what each would cost for all runs, and the failure that ended the trial, if one did."""

    steps: tuple[TriedStep, ...]
    costs: tuple[Estimate, ...]
    failure: TrialFailure | None = None


def run_trial(
    plan: TrialPlan,
    most: int,
    scratch: Path,
    seconds: float | None = None,
    begin: Callable[[str], None] = lambda _step: None,
) -> Trial:
    """Runs the steps of a trial for the first `most` events of its run, until one fails.

    `scratch` is an empty folder; each job gets a folder in it. A job that takes longer than `seconds` is ended, and has failed.
    `begin` is called with the name of each step.

    Raises:
        SourceUnavailable: the scratch folder cannot be written, or the global tags contradict one another.
    """
    runner = _Runner(plan, scratch, seconds)
    tried: list[TriedStep] = []
    failure = None
    for units in plan.steps:
        begin(units.step.name)
        try:
            tried.append(runner.run_step(units, most))
        except _JobFailed as ended:
            failure = ended.failure
            break
    return Trial(tuple(tried), extrapolate(tried, plan.whole[: len(tried)]), failure)


class _JobFailed(Exception):
    def __init__(self, failure: TrialFailure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class _Runner:
    def __init__(self, plan: TrialPlan, scratch: Path, seconds: float | None) -> None:
        self._plan, self._seconds = plan, seconds
        self._site = plan.repository.sites[plan.view.campaign.site]
        self._engine = LocalEngine(self._site)
        self._workspace = Workspace(scratch, scratch)
        self._preparation = WorkPreparation(State(scratch), plan.repository)
        self._made: dict[tuple[str, str], list[InputFile]] = {}

    def run_step(self, units: StepUnits, most: int) -> TriedStep:
        """Runs the jobs of a step, in order, until they have read `most` events.

        Raises:
            _JobFailed: a job failed.
        """
        step, counts = units.step, APPLICATIONS[units.step.application].counts_events
        source = step.input
        files = self._plan.files.get(step.name) or self._made[source.step or "", source.output]
        jobs = divide_input(step, tuple(files))
        view = self._plan.view
        item = WorkItem(view.campaign, units, self._plan.run, tuple(units.fingerprints), view.lock.commit)
        # a job of one event tells what the start of its program takes
        start = self._run_job(item, jobs[0], 1, ".start").taken if counts and most > 1 else None
        ran: list[_Ran] = []
        left = most
        for job in jobs:
            one = self._run_job(item, job, left)
            ran.append(one)
            left -= left if one.taken.read is None else one.taken.read
            if left <= 0:
                break
        for output in units.fingerprints:
            self._made[step.name, output] = [one.files[output] for one in ran]
        taken = _add_up([one.taken for one in ran])
        return TriedStep(step, taken, start)

    def _run_job(self, item: WorkItem, job: Job, most: int, ending: str = "") -> _Ran:
        """Runs a job in a folder whose name ends with `ending`.

        Raises:
            _JobFailed: it failed.
        """
        step = item.step
        name = f"{step.path}-{job.key}{ending}"
        attempt = Attempt(
            id=0,
            intent=0,
            job=0,
            key=job.key,
            number=1,
            name=name,
            nonce=token_hex(16),
            site=self._site.name,
            address=item.address,
            state=AttemptState.INTENT,
            begun=CLOCK.show(),
            batch=name,
            place=0,
            release=item.release,
            commit=item.commit,
        )
        self._workspace.prepare(attempt, self._preparation.render(replace(item, jobs=(job,)), most))
        trouble = self._wait_for(self._workspace.make_handle(attempt))
        ended = trouble or self._workspace.collect(attempt, item.name_outputs(job))
        if not isinstance(ended, Verified):
            failed = ended or Failed(FailureClass.UNCLASSIFIED, "its job ended and left no result")
            log, first = self._workspace.read_log(name)
            told = (failed.reason, failed.failure, log, first)
            raise _JobFailed(TrialFailure(step.name, step.application, *told))
        read = ended.events_read
        if read is None and job.events is not None and APPLICATIONS[step.application].counts_events:
            read = min(most, job.events)
        taken = Taken(
            jobs=1,
            read=read,
            cpu_seconds=ended.usage.cpu_seconds,
            kept={one.output: one.events for one in ended.products},
            written={one.output: one.size for one in ended.products},
            wall_seconds=ended.usage.wall_seconds,
            peak_memory=ended.usage.peak_memory,
        )
        folder = self._workspace.path(name)
        files = {
            one.output: InputFile(one.path, str(folder / one.path), one.size, one.checksum, one.events)
            for one in ended.products
        }
        return _Ran(taken, files)

    def _wait_for(self, handle: JobHandle) -> Failed | None:
        """Starts a job and waits until it has ended; returns why it could not start, or why it was ended."""
        (answer,) = self._engine.submit(Batch(handle.batch, handle.folder, (handle,)))
        if isinstance(answer, Refused):
            return Failed(answer.failure, answer.reason)
        assert isinstance(answer, Accepted)
        handle = replace(handle, reference=answer.reference)
        until = None if self._seconds is None else CLOCK.steady() + self._seconds
        try:
            while self._runs(handle):
                if until is not None and CLOCK.steady() > until:
                    why = f"its job took longer than {self._seconds:g} seconds, and was ended"
                    return Failed(FailureClass.UNCLASSIFIED, why)
                CLOCK.sleep(_POLL)
        finally:
            self._end(handle)
        return None

    def _runs(self, handle: JobHandle) -> bool:
        return self._engine.query([handle])[handle.name].sighting is Sighting.RUNNING

    def _end(self, handle: JobHandle) -> None:
        """Ends a job, if it still runs: nothing of a trial goes on after it."""
        until = CLOCK.steady() + GRACE
        self._engine.cancel([handle])
        while self._runs(handle):
            if CLOCK.steady() > until:
                with suppress(OSError):  # it ended just now
                    os.killpg(int(handle.reference or ""), signal.SIGKILL)
            CLOCK.sleep(_POLL)


@dataclass(frozen=True, slots=True)
class _Ran:
    """A job that ended well, and the file of each output."""

    taken: Taken
    files: Mapping[str, InputFile]


def _add_up(parts: Sequence[Taken]) -> Taken:
    """What jobs of one step took together."""
    kept = {output: _sum([one.kept[output] for one in parts]) for output in parts[0].kept}
    written = {output: sum(one.written[output] for one in parts) for output in parts[0].written}
    read, seconds = _sum([one.read for one in parts]), _sum([one.cpu_seconds for one in parts])
    wall = _sum([one.wall_seconds for one in parts])
    memory = max((one.peak_memory for one in parts if one.peak_memory is not None), default=None)
    return Taken(len(parts), read, seconds, kept, written, wall, memory)


def _sum(values: Sequence[_Number | None]) -> _Number | None:
    """The sum; None if a value is not known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if len(known) == len(values) else None
