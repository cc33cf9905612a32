"""Shows the progress of campaigns: status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import rich_click as click
from sqlalchemy import Connection, select

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.campaign_faults import choose_launchable, refuse_unknown
from ci.changes.project import STALE, Project, list_folders, load_any, pass_project
from ci.cli.console import count_things, print_data, print_json, say
from ci.cli.options import writes_json
from ci.cli.rows import print_lines, print_rows
from reconciler.conditions.following import read_bindings
from reconciler.datasets.operations.stored import list_unfinished
from reconciler.datasets.places import tell_strange
from reconciler.ledger.reading.observation import list_begun
from reconciler.ledger.reading.progress import list_under_way, read_progress
from reconciler.ledger.schema.tables import runs
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.model.states import PlanAction
from reconciler.monitoring.health import BLOCKED, HealthStatus, judge_campaign, judge_ending, tell_overdue
from reconciler.outside.clock import format_time
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.production import Produced, read_production
from reconciler.planning.views import View, judge_stages, view_gated_campaign
from reconciler.run_catalogue.run_selection import explain_absences
from reconciler.sources.records import SourceRecord, read_records
from schemas.manifest.runs import format_runs, run_key
from schemas.repository import CAMPAIGNS, Repository


@click.command()
@click.argument("names", nargs=-1)
@click.option("--left-out", is_flag=True, help="Also show which runs are not selected, and why.")
@writes_json
@pass_project
def status(project: Project, names: tuple[str, ...], left_out: bool, as_json: bool) -> None:
    """Show how far each campaign is, step by step, and how watched sources answer.

    Units that were taken over from other campaigns are done. Without names: the live campaigns, and all others while their
    jobs are under way. For a campaign that cannot be read or planned, this shows what the ledger has of it. The exit code is
    4 where that is so because a source cannot be read, or where a watched source fails.
    """
    repository, findings = load_any(project)
    rows: list[dict[str, Any]] = []
    absences: list[dict[str, Any]] = []
    unknown: dict[str, str] = {}
    health: list[HealthStatus] = []
    shown: set[str] = set()
    now, signs = datetime.now(UTC), find_sign_offs(project, repository)
    criteria = find_criteria(project, repository)
    with reading(project.state) as connection:
        for text in tell_strange(connection, project.state):
            say(text)
        paused = read_pauses(connection)
        recorded, running = list_begun(connection), list_under_way(connection)
        asked = () if names else tuple(read_records(connection).values())
        begun_operations = () if names else tuple(list_unfinished(connection))
        for name in names:
            refuse_unknown(project, name, recorded)
        for name in names or _list_shown(project, repository, recorded, running):
            declared = repository.campaigns.get(name)
            view, state, why = None, "not known", None
            if declared is None or not declared.campaign.is_live:
                state = _name_state(project, name) if declared is None else declared.campaign.state
                health += judge_ending(connection, name, now)
            elif wrong := choose_launchable(repository, findings, [name]).wrong.get(name):
                stale = all(one.code == STALE for one in wrong)
                state = "lock missing or stale" if stale else "cannot be planned"
                why = None if declared.lock is None else str(wrong[0])
            else:
                try:
                    view = view_gated_campaign(connection, repository, name, project.state, signs, criteria)
                except SourceUnavailable as error:
                    why = unknown[name] = str(error)
                except Exception as error:  # noqa: BLE001 -- an unexpected error of one campaign does not stop the others
                    why = unknown[name] = note_defect(error)
            if why is not None:
                health.append(HealthStatus(name, BLOCKED, f"left out: {why}"))
            if view is None:
                ended = declared is not None and not declared.campaign.is_live
                production = None
                if ended:
                    try:
                        production = read_production(connection, repository, name, project.state)
                    except Exception as error:  # noqa: BLE001 -- as above
                        unknown[name] = note_defect(error)
                if production is not None and production.unknown is not None:
                    say(f"what {name} took over from other campaigns is not known: {production.unknown}")
                rows += _count_recorded(connection, name, state, production)
                continue
            begun = Counter(map(" ".join, read_bindings(connection, name).values()))
            mixed = {"begun_with": dict(sorted(begun.items()))} if begun else {}
            rows += [{**row, **mixed} for row in _count_units(view)]
            health += judge_campaign(connection, view, paused, now)
            shown.add(name)
            if left_out:
                absences += _list_absences(connection, view)
        for scheme in repository.schemes.values():
            if scheme.campaigns & shown:
                roles = None if repository.policy is None else repository.policy.roles
                judged = judge_stages(connection, repository, scheme, project.state, signs, criteria)
                health += [one for one in tell_overdue(judged, roles, now) if one.campaign in shown]
    if as_json:
        told = [*(one.data() for one in begun_operations), *(one.data() for one in asked)]
        print_json([*rows, *absences, *(one.data() for one in health), *told])
    else:
        _print(rows, health, absences if left_out else None)
        for one in begun_operations:
            print_data(one.tell())
        _print_sources(asked)
    failing = [text for one in asked if one.failures for text in one.tell()]
    if unknown or failing:
        raise SourceUnavailable("; ".join((*unknown.values(), *failing)))


def _print(
    rows: Sequence[dict[str, Any]], health: Sequence[HealthStatus], absences: Sequence[dict[str, Any]] | None
) -> None:
    words = [action.word for action in PlanAction if action is not PlanAction.REUSE]
    shown = [word for word in words if any(row.get(word) for row in rows)]
    counts = ("units", "done", *shown)
    columns = ("campaign", "step", "state", *counts)
    print_rows(columns, [[row.get(column) for column in columns] for row in rows], numbers=counts)
    if health:
        print_rows(("campaign", "condition", "why"), [(one.campaign, one.kind, one.reason) for one in health])
    for row in rows:
        for maker, units in row.get("taken_over", {}).items():
            print_data(
                f"{row['campaign']}/{row['step']}: {count_things(units, 'unit')} taken over from {maker}\n"
            )
    for name, begun in {row["campaign"]: row.get("begun_with", {}) for row in rows}.items():
        if len(begun) > 1:
            parts = ", ".join(f"{runs} with {digest[:12]}" for digest, runs in begun.items())
            print_data(f"{name} is a mixture: of the runs of its running tag began {parts}\n")
    if absences is not None:
        cells = [(row["campaign"], f"{row['left_out']:,}", row["runs"], row["why"]) for row in absences]
        columns = ("campaign", "left out", "runs", "why")
        print_rows(columns, cells, numbers=("left out",), title="Not selected")


def _name_state(project: Project, name: str) -> str:
    """The state of a campaign that was begun and is not among those that could be read."""
    there = list_folders(project)
    return "cannot be read" if name in there or not there else "not declared any more"


def _print_sources(asked: Sequence[SourceRecord]) -> None:
    cells = []
    for one in asked:
        state = one.note or ("fine" if one.answered else "is asked")
        if one.failures:
            state = f"failed {one.failures} times in a row: {one.reason}"
        cells.append((one.name, one.answered or "never", format_time(one.after), state))
    if cells:
        print_lines([("watched source", "last answered", "asked again", "state"), *cells])


def _list_shown(
    project: Project, repository: Repository, begun: Sequence[str], running: Sequence[str]
) -> list[str]:
    """The live campaigns, the begun ones whose files exist and cannot be read, and all with jobs under way."""
    live = [name for name, declared in repository.campaigns.items() if declared.campaign.is_live]
    there = list_folders(project, CAMPAIGNS)
    unread = [name for name in begun if name not in repository.campaigns and (name in there or not there)]
    return sorted({*live, *unread, *running})


def _count_recorded(
    connection: Connection, name: str, state: str, production: Produced | None
) -> list[dict[str, Any]]:
    """The ledger's content on a campaign that is not planned, and if it is given, what was produced of what it declares."""
    row = {"campaign": name, "state": state}
    progress = {one.step: one for one in read_progress(connection, name)}
    declared = production.steps if production is not None else ()
    rows: list[dict[str, Any]] = []
    for step in (*declared, *sorted(progress.keys() - {*declared})):
        here: dict[str, Any] = {**row, "step": step}
        if production is not None and step in declared:
            selected = {} if production.selected is None else {"units": len(production.selected)}
            here |= {
                **selected,
                "done": len(production.list_produced(step)),
                **_tell_makers(production, step),
            }
        elif step in progress:
            here["done"] = progress[step].done
        if (one := progress.get(step)) is not None:
            here |= {PlanAction.IN_FLIGHT.word: one.in_flight, PlanAction.QUARANTINED.word: one.quarantined}
        rows.append(here)
    return rows or [row]


def _tell_makers(production: Produced, step: str) -> dict[str, Any]:
    """From which units how many units of a step were taken over."""
    runs: dict[str, set[int]] = {}
    for head in production.taken_over:
        if head.step == step and head.maker is not None:
            runs.setdefault(head.maker, set()).add(head.run)
    return {"taken_over": {maker: len(found) for maker, found in sorted(runs.items())}} if runs else {}


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
        exists = (PlanAction.OBSOLETE.word, PlanAction.REUSE.word)
        done = total - sum(count for word, count in counts.items() if word not in exists)
        yield {
            "campaign": view.campaign.name,
            "step": units.step.name,
            "state": view.campaign.state,
            "units": total,
            "done": done,
            **counts,
            **({"taken_over": makers} if (makers := _list_makers(view, units.step.name)) else {}),
        }


def _list_makers(view: View, step: str) -> dict[str, int]:
    """From which units how many units of a step are taken over."""
    units = next(item for item in view.units if item.step.name == step)
    place = {run: index for index, run in enumerate(units.runs)}
    found: Counter[str] = Counter()
    for group in view.plan.groups:
        if group.step == step and group.action is PlanAction.REUSE:
            for run in group.runs:
                values = {units.fingerprints[output][place[run]] for output in group.outputs}
                found.update({view.observed.elsewhere[value] for value in values})
    return dict(sorted(found.items()))
