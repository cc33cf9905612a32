"""Shows the progress of campaigns: status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import rich_click as click
from sqlalchemy import Connection, select

from ci.changes.campaign_faults import choose_launchable, refuse_unknown
from ci.changes.project import STALE, Project, list_folders, load_any, pass_project
from ci.cli.console import print_data, print_json, print_rows, say
from ci.cli.options import writes_json
from reconciler.conditions.following import read_bindings
from reconciler.datasets.places import tell_strange
from reconciler.ledger.reading.observation import list_begun
from reconciler.ledger.reading.progress import read_progress
from reconciler.ledger.schema.tables import runs
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.model.states import PlanAction
from reconciler.monitoring.health import BLOCKED, HealthStatus, judge_campaign
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.views import View, view_campaign
from reconciler.run_catalogue.run_selection import explain_absences
from schemas.manifest.runs import format_runs, run_key
from schemas.repository import CAMPAIGNS, Repository


@click.command()
@click.argument("names", nargs=-1)
@click.option("--left-out", is_flag=True, help="Also show which runs are not selected, and why.")
@writes_json
@pass_project
def status(project: Project, names: tuple[str, ...], left_out: bool, as_json: bool) -> None:
    """Show how far each campaign is, step by step.

    For a campaign that cannot be read or planned, this shows what the ledger has of it.
    """
    repository, findings = load_any(project)
    rows: list[dict[str, Any]] = []
    absences: list[dict[str, Any]] = []
    unknown: dict[str, str] = {}
    health: list[HealthStatus] = []
    now = datetime.now(UTC)
    with reading(project.state) as connection:
        for text in tell_strange(connection, project.state):
            say(text)
        paused = read_pauses(connection)
        recorded = list_begun(connection)
        for name in names:
            refuse_unknown(project, name, recorded)
        for name in names or _list_shown(project, repository, recorded):
            declared = repository.campaigns.get(name)
            view, state, why = None, "not known", None
            if declared is None or not declared.campaign.is_live:
                state = "cannot be read" if declared is None else declared.campaign.state
            elif wrong := choose_launchable(repository, findings, [name]).wrong.get(name):
                stale = all(one.code == STALE for one in wrong)
                state = "lock missing or stale" if stale else "cannot be planned"
                why = None if declared.lock is None else str(wrong[0])
            else:
                try:
                    view = view_campaign(connection, repository, name, project.state)
                except SourceUnavailable as error:
                    why = unknown[name] = str(error)
                except Exception as error:  # noqa: BLE001 -- an unexpected error of one campaign does not stop the others
                    why = unknown[name] = note_defect(error)
            if why is not None:
                health.append(HealthStatus(name, BLOCKED, f"left out: {why}"))
            if view is None:
                rows += _count_recorded(connection, name, state)
                continue
            begun = Counter(map(" ".join, read_bindings(connection, name).values()))
            mixed = {"begun_with": dict(sorted(begun.items()))} if begun else {}
            rows += [{**row, **mixed} for row in _count_units(view)]
            health += judge_campaign(connection, view, paused, now)
            if left_out:
                absences += _list_absences(connection, view)
    if as_json:
        print_json([*rows, *absences, *(one.data() for one in health)])
    else:
        _print(rows, health, absences if left_out else None)
    if unknown:
        raise SourceUnavailable("; ".join(unknown.values()))


def _print(
    rows: Sequence[dict[str, Any]], health: Sequence[HealthStatus], absences: Sequence[dict[str, Any]] | None
) -> None:
    shown = [action.word for action in PlanAction if any(row.get(action.word) for row in rows)]
    counts = ("units", "done", *shown)
    columns = ("campaign", "step", "state", *counts)
    print_rows(columns, [[row.get(column) for column in columns] for row in rows], numbers=counts)
    if health:
        print_rows(("campaign", "condition", "why"), [(one.campaign, one.kind, one.reason) for one in health])
    for name, begun in {row["campaign"]: row.get("begun_with", {}) for row in rows}.items():
        if len(begun) > 1:
            parts = ", ".join(f"{runs} with {digest[:12]}" for digest, runs in begun.items())
            print_data(f"{name} is a mixture: of the runs of its running tag began {parts}\n")
    if absences is not None:
        cells = [(row["campaign"], f"{row['left_out']:,}", row["runs"], row["why"]) for row in absences]
        columns = ("campaign", "left out", "runs", "why")
        print_rows(columns, cells, numbers=("left out",), title="Not selected")


def _list_shown(project: Project, repository: Repository, begun: Sequence[str]) -> list[str]:
    """The live campaigns, and the begun campaigns whose files exist and cannot be read."""
    live = [name for name, declared in repository.campaigns.items() if declared.campaign.is_live]
    there = list_folders(project, CAMPAIGNS)
    unread = [name for name in begun if name not in repository.campaigns and (name in there or not there)]
    return sorted({*live, *unread})


def _count_recorded(connection: Connection, name: str, state: str) -> list[dict[str, Any]]:
    """The ledger's content on a campaign that is not planned."""
    row = {"campaign": name, "state": state}
    return [
        {
            **row,
            "step": one.step,
            "done": one.done,
            PlanAction.IN_FLIGHT.word: one.in_flight,
            PlanAction.QUARANTINED.word: one.quarantined,
        }
        for one in read_progress(connection, name)
    ] or [row]


def _list_absences(connection: Connection, view: View) -> Iterable[dict[str, Any]]:
    taken = {key for units in view.units for key in (*units.runs, *units.waiting)}
    experiments = {selector.experiment for selector in view.campaign.selectors}
    rows = connection.execute(select(runs).where(runs.c.experiment.in_(experiments)).order_by(runs.c.run))
    others = [row for row in rows if run_key(row.experiment, row.run) not in taken]
    for why, keys in explain_absences(view.campaign, view.lock, others).items():
        shown = format_runs(sorted(keys), most=5)
        yield {"campaign": view.campaign.name, "left_out": len(keys), "runs": shown, "why": why}


def _count_units(view: View) -> Iterable[dict[str, Any]]:
    for units in view.units:
        total = len(units.runs) + len(units.waiting)
        counts = dict.fromkeys((action.word for action in PlanAction), 0)
        for group in view.plan.groups:
            if group.step == units.step.name:
                counts[group.action.word] += len(group.runs)
        done = total - sum(count for word, count in counts.items() if word != "obsolete")
        yield {
            "campaign": view.campaign.name,
            "step": units.step.name,
            "state": view.campaign.state,
            "units": total,
            "done": done,
            **counts,
        }
