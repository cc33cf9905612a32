"""Tries a campaign on some events, without a trace: try."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich_click as click

from ci.changes.project import Project, load_sound, pass_project
from ci.cli.console import count_things, print_data, print_json, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.cli.options import FOLDER, read_run, refuse_unknown_name, writes_json
from ci.cli.rows import print_rows
from ci.reports.log_end import print_log
from ci.reports.trial import (
    COSTS,
    OUTPUTS,
    TIMES,
    describe_trial,
    list_costs,
    list_doubts,
    list_outputs,
    list_times,
    sum_costs,
)
from reconciler.execution.trial.choice import NotDeclared, TrialPlan, plan_trial
from reconciler.execution.trial.running import Trial, TrialFailure, run_trial
from reconciler.ledger.store.database import reading
from reconciler.planning.resolution import resolve
from reconciler.planning.views import view_campaign
from renderer.jobs.logs import find_signature
from schemas.manifest.runs import format_run

LINES = 20
"""How many lines of the end of a failed job's log are shown."""


@click.command("try")
@click.argument("name")
@click.option(
    "--run", metavar="EXP:RUN", help="The run, as in 3:529; else the first one whose input is here."
)
@click.option("--events", type=click.IntRange(1), default=100, help="How many events of the run are read.")
@click.option(
    "--step",
    "steps",
    metavar="STEP",
    multiple=True,
    help="Only this step; it reads what was published of the run, else the steps before it are tried too.",
)
@click.option(
    "--keep", type=FOLDER, metavar="DIR", help="Keep the jobs' folders here: outputs, steering, logs."
)
@writes_json
@pass_project
def try_campaign(
    project: Project,
    name: str,
    run: str | None,
    events: int,
    steps: tuple[str, ...],
    keep: Path | None,
    as_json: bool,
) -> int:
    """Try a campaign on the first events of one run, on this machine, and show what all its runs would cost.

    Its steps run in order, in a scratch folder. Nothing is published, and nothing is written to the ledger, the run catalogue
    or the storage. The campaign needs no lock and no approval. If a job fails, the end of its log is shown, and this ends with 6.
    """
    wanted = None if run is None else read_run(run)
    with _making_scratch(keep) as scratch:
        plan = _plan(project, name, wanted, steps)
        where = f"{name}, run {format_run(plan.run)}"
        say(f"{where}: the first {count_things(events, 'event')}, in scratch")
        trial = run_trial(plan, events, scratch, begin=lambda step: say(f"{step} …"))
        if as_json:
            failure = None if trial.failure is None else _describe_failure(trial.failure)
            about = {"campaign": name, "run": format_run(plan.run), "most_events": events}
            print_json({**about, **describe_trial(trial, events), "failure": failure})
        else:
            _print(trial, events)
    if keep is not None:
        say(f"the folders of the jobs are kept in {keep}")
    return Exit.FINE if trial.failure is None else Exit.PARTLY


@contextlib.contextmanager
def _making_scratch(keep: Path | None) -> Iterator[Path]:
    """The folder of the trial; without `keep`, it is removed at the end."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="b2prod-try-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    if keep.exists() and any(keep.iterdir()):
        raise WrongUse(f"{keep} is not empty; name a new folder with --keep")
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUse(f"{keep} cannot be made: {error.strerror}") from error
    yield keep.absolute()


def _plan(project: Project, name: str, run: int | None, steps: tuple[str, ...]) -> TrialPlan:
    """What is tried, as the campaign would be locked today."""
    repository = load_sound(project, [name], judge_locks=False)
    refuse_unknown_name("campaign", name, repository.campaigns)
    declared = repository.campaigns[name]
    with reading(project.state) as connection:
        lock, findings = resolve(connection, repository, declared)
        if findings:
            raise FoundProblems(findings)
        campaigns = {**repository.campaigns, name: replace(declared, lock=lock)}
        repository = replace(repository, campaigns=campaigns)
        view = view_campaign(connection, repository, name, project.state)
        try:
            return plan_trial(
                connection, repository, view, project.state, run, steps, reads_published=bool(steps)
            )
        except NotDeclared as error:
            raise WrongUse(str(error)) from error


def _print(trial: Trial, events: int) -> None:
    if trial.steps:
        print_rows(OUTPUTS, list_outputs(trial.steps), numbers=OUTPUTS[2:])
        print_data("\n")
        print_rows(TIMES, list_times(trial.steps), numbers=TIMES[1:])
        total = sum_costs(trial.costs)
        print_data(f"\nall runs{f': {total}' if total else ''}\n")
        print_rows(COSTS, list_costs(trial.costs), numbers=COSTS[1:])
    for doubt in list_doubts(trial, events):
        say(doubt)
    if (failure := trial.failure) is not None:
        say(f"{failure.step} failed ({failure.failure}): {failure.reason}")
        found = find_signature(failure.log, failure.application, first=failure.first)
        print_log(failure.log, failure.first, found, LINES, failed=True)


def _describe_failure(failure: TrialFailure) -> dict[str, Any]:
    found = find_signature(failure.log, failure.application, first=failure.first)
    return {
        "step": failure.step,
        "class": failure.failure,
        "reason": failure.reason,
        "culprit": found and {"signature": found.signature, "number": found.number, "line": found.line},
        "lines": failure.log.splitlines()[-LINES:],
    }
