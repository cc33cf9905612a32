"""Which of the runs that a campaign takes an edition lacks, and why, as plans know it. Only reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from reconciler.ledger.store.database import State
from reconciler.model.sign_offs import ReadSignOffs
from reconciler.model.states import MAKING, PlanAction
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.judging import FindValidation
from reconciler.planning.planner import NEW
from reconciler.planning.production import read_production, read_stopped
from reconciler.planning.views import View, view_gated_campaign
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import format_runs
from schemas.repository import Repository

LATER = "made after the edition was frozen"
"""The reason of runs that the dataset has now."""


@dataclass(frozen=True, slots=True)
class MissingRuns:
    """The runs of an edition's campaign that the edition lacks: reason → sorted run keys.

    `selected` is the number of runs that the campaign takes, or None if it is not known, for the reason `unknown`.
    """

    selected: int | None
    reasons: tuple[tuple[str, tuple[int, ...]], ...] = ()
    unknown: str | None = None

    def describe(self) -> dict[str, Any]:
        """The missing runs as JSON data."""
        if self.selected is None:
            return {"unknown": self.unknown}
        listed = [
            {"reason": reason, "count": len(runs), "runs": format_runs(runs)} for reason, runs in self.reasons
        ]
        return {"selected": self.selected, "missing": listed}


def find_missing(
    connection: Connection,
    repository: Repository,
    state: State,
    name: DatasetName,
    there: Collection[int],
    read_sign_offs: ReadSignOffs,
    find_validation: FindValidation | None,
) -> MissingRuns:
    """The runs that an edition lacks, with reasons in the order of their first run. `there` are the run keys that it has."""
    declared = repository.campaigns.get(name.campaign)
    if declared is None:
        who = "no campaign" if name.is_held else f"{name.campaign}, which is not declared here,"
        return MissingRuns(None, unknown=f"{who} says which runs it should have")
    if declared.campaign.step(name.step.partition("@")[0]) is None:
        return MissingRuns(None, unknown=f"{name.campaign} has no step {name.step}")
    try:
        if declared.campaign.is_live:
            view = view_gated_campaign(
                connection, repository, name.campaign, state, read_sign_offs, find_validation
            )
            return _group(dict(_list_planned(view, name)), there)
        return _group(_list_stopped(connection, repository, state, name), there)
    except (SourceUnavailable, ValueError) as error:  # a live campaign without a lock selects nothing yet
        return MissingRuns(None, unknown=str(error))


def _group(wanted: dict[int, str], there: Collection[int]) -> MissingRuns:
    """The wanted runs that are not there, by reason."""
    reasons: dict[str, list[int]] = {}
    for run in sorted(wanted.keys() - there):
        reasons.setdefault(wanted[run], []).append(run)
    return MissingRuns(len(wanted), tuple((reason, tuple(runs)) for reason, runs in reasons.items()))


def _list_planned(view: View, name: DatasetName) -> Iterator[tuple[int, str]]:
    """Yields the selected runs, each with what the plan says of it."""
    for units in view.units:
        if units.step.name == name.step:
            yield from ((run, LATER) for run in (*units.runs, *units.waiting))
    for group in view.plan.groups:
        mine = group.step == name.step and name.output in group.outputs
        if mine and group.action in MAKING:
            yield from ((run, _tell_failure(view, name.step, run)) for run in group.runs)
        elif mine and group.action not in (PlanAction.REUSE, PlanAction.OBSOLETE):
            yield from ((run, f"{group.action.word}: {group.reason}") for run in group.runs)


def _tell_failure(view: View, step: str, run: int) -> str:
    """That a unit is not produced, with its last failure if it was begun."""
    begun = view.observed.intents.get((step, run))
    return NEW if begun is None or begun.failure is None else f"{NEW}: {begun.failure}"


def _list_stopped(
    connection: Connection, repository: Repository, state: State, name: DatasetName
) -> dict[int, str]:
    """The runs that a campaign took in before it ended, each with why it has no more of it."""
    production = read_production(connection, repository, name.campaign, state)
    if production is None or production.selected is None:
        raise SourceUnavailable(f"which runs {name.campaign} took is not known: it has no lock")
    ended = f"{NEW}, and {name.campaign} is stopped"
    wanted = dict.fromkeys(production.selected, ended)
    try:
        stopped = read_stopped(connection, repository, name.campaign, state)
        told = dict(_list_planned(stopped, name))
    except SourceUnavailable:
        told = {}
    kept = (PlanAction.QUARANTINED.word, PlanAction.BLOCKED.word)
    wanted |= {run: why for run, why in told.items() if run in wanted and why.startswith(kept)}
    made = production.made.get((name.step, name.output), frozenset())
    return wanted | {run: LATER for run in made if run in wanted}
