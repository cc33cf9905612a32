"""Trials of proposed campaigns: a small sample is run while the change is reviewed, and shown to its reviewers.

What a change brings must not run before anybody looked at it. So only those steps are tried whose program is ours or the
site's own, and whose site the base has; a script, and what deviates from the standard, is not. A trial that cannot be made
never fails a review: the review says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from ci.cli.console import count_things
from ci.cli.markdown import code, escape, table
from ci.reports.trial import COSTS, OUTPUTS, list_costs, list_doubts, list_outputs, sum_costs
from reconciler.execution.trial.choice import NotDeclared, TrialPlan, plan_trial
from reconciler.execution.trial.running import Trial, TrialFailure, run_trial
from reconciler.ledger.store.database import State
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.views import View
from renderer.jobs.logs import find_signature
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import format_run
from schemas.manifest.step import Step
from schemas.repository import Repository

SECONDS = 300.0
"""How long one job of a trial may take."""


@dataclass(frozen=True, slots=True)
class Tried:
    """The trial of a proposed campaign on the first `most` events of a run. `trial` is None if none was made, and `why` says why.

    `left_out` has for each step that was not tried the reason.
    """

    most: int
    run: int | None = None
    trial: Trial | None = None
    why: str = ""
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial that is to be made; `plan` is None if none can be made, and `why` says why."""

    plan: TrialPlan | None
    why: str = ""
    left_out: tuple[tuple[str, str], ...] = ()


def plan_proposed(
    connection: Connection, base: Repository, repository: Repository, view: View, state: State
) -> PlannedTrial:
    """What of a proposed campaign is tried; `base` is the repository before the change."""
    campaign = view.campaign
    left_out = tuple(_leave_out(campaign))
    names = [step.name for step in campaign.expand() if step.name not in dict(left_out)]
    if campaign.site not in base.sites:
        return PlannedTrial(None, f"the base has no site {campaign.site}")
    if not names:
        return PlannedTrial(None, "", left_out)
    try:
        # commands come from the base
        trusted = replace(repository, sites=base.sites)
        return PlannedTrial(plan_trial(connection, trusted, view, state, steps=names), left_out=left_out)
    except (SourceUnavailable, NotDeclared) as error:
        return PlannedTrial(None, str(error))
    except Exception as error:  # noqa: BLE001 -- a defect of a trial must not hide the review
        return PlannedTrial(None, note_defect(error))


def run_proposed(planned: PlannedTrial, most: int) -> Tried:
    """The trial that was planned."""
    if planned.plan is None:
        return Tried(most, why=planned.why, left_out=planned.left_out)
    try:
        with tempfile.TemporaryDirectory(prefix="b2prod-try-", ignore_cleanup_errors=True) as folder:
            trial = run_trial(planned.plan, most, Path(folder), SECONDS)
    except (SourceUnavailable, OSError) as error:
        return Tried(most, why=str(error))
    except Exception as error:  # noqa: BLE001 -- as above
        return Tried(most, why=note_defect(error))
    return Tried(most, planned.plan.run, trial, left_out=planned.left_out)


def _leave_out(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """The steps that are not tried, with the reason; the steps that read them are not tried either."""
    left: set[str] = set()
    for step in campaign.expand():
        why = _hinder(step)
        if step.input.step in left:
            why = f"it reads {step.input.step}"
        if why:
            left.add(step.name)
            yield step.name, why


def _hinder(step: Step) -> str:
    if step.script is not None:
        return "it runs a script, which nobody has approved yet"
    if step.deviations:
        return "it deviates from the standard, which nobody has approved yet"
    return ""


def format_tried(tried: Tried) -> list[str]:
    """A trial as Markdown."""
    lines: list[str] = []
    trial = tried.trial
    if trial is not None and tried.run is not None:
        where = f"The first {count_things(tried.most, 'event')} of {format_run(tried.run)}, in scratch"
        lines += [f"{escape(where)}.", ""]
        if trial.steps:
            rows = [(code(step), code(output), *cells) for step, output, *cells in list_outputs(trial.steps)]
            lines += [*table(OUTPUTS, rows, OUTPUTS[2:]), ""]
            total = sum_costs(trial.costs)
            lines += [f"All runs would cost{f' {total}' if total else ''}:", ""]
            costs = [(code(step), *cells) for step, *cells in list_costs(trial.costs)]
            lines += [*table(COSTS, costs, COSTS[1:]), ""]
        lines += [f"- {escape(doubt)}" for doubt in list_doubts(trial, tried.most)]
        if trial.failure is not None:
            lines += _format_failure(trial.failure)
    elif tried.why:
        lines.append(f"Not tried: {escape(tried.why)}.")
    lines += [f"- {code(step)} is not tried: {escape(why)}" for step, why in tried.left_out]
    return lines


def _format_failure(failure: TrialFailure) -> list[str]:
    found = find_signature(failure.log, failure.application, first=failure.first)
    lines = [f"- **{code(failure.step)} failed** ({failure.failure}): {escape(failure.reason)}"]
    return (
        lines if found is None else [*lines, f"- {escape(found.place)} of its log: {code(found.signature)}"]
    )
