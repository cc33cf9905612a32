"""Makes plans: plan."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.campaign_faults import load_launchable
from ci.changes.project import Project, passes_project
from ci.cli.console import print_data, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.cli.options import FILE
from ci.reports.plan import format_markdown, format_plan
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pauses import find_pause, read_pauses
from reconciler.model.plan import Plan
from reconciler.model.states import MAKING, PlanAction
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.operations.reading import add_operations
from reconciler.planning.views import StateView, read_state_view
from schemas.findings.finding import Finding, Place
from schemas.repository import CAMPAIGNS

if TYPE_CHECKING:
    from ci.changes.export import Origin  # see `ci.changes.project`


@click.command()
@click.argument("names", nargs=-1)
@click.option("-o", "--output", type=FILE, help="Also write the plan here, for `b2prod apply`.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="How the plan is written to stdout.",
)
@click.option("--refresh", is_flag=True, help="Look at the storage too, not only at the ledger.")
@click.option("--exit-code", is_flag=True, help="End with 2 if a unit is to be made, blocked or unknown.")
@passes_project(commits=True)
def plan(
    project: Project, names: tuple[str, ...], output: Path | None, form: str, refresh: bool, exit_code: bool
) -> int:
    """Show which declared units are not produced, and why. Changes nothing.

    If something of a campaign is wrong or cannot be read, the campaign is left out; where others are planned, this ends with
    6. A plan from an export of the state is only for reading: it says how old the export is, and cannot be applied.
    """
    if refresh and project.origin is not None:
        raise WrongUse("an export of the state does not reach the storage; leave --refresh out")
    choice = load_launchable(project, names)
    chosen, repository = choice.require(), choice.repository
    with reading(project.state) as connection:
        state = project.state
        signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
        state_view = read_state_view(
            connection,
            repository,
            chosen,
            state,
            refresh=refresh,
            spare=True,
            read_sign_offs=signs,
            find_validation=criteria,
        )
        if not names:
            from ci.approvals.root import find_pinned_retention  # noqa: PLC0415 -- cryptography loads slowly

            retained = replace(repository, retention=find_pinned_retention(project))
            try:
                state_view = add_operations(connection, retained, state, state_view, CLOCK.show())
            except SourceUnavailable as error:
                absent = {**state_view.absent, "operations on datasets": str(error)}
                state_view = replace(state_view, absent=absent)
        known = {*repository.campaigns, *choice.wrong}
        paused = read_pauses(connection)
        orphans = [name for name in list_campaigns(connection) if name not in known]
    stored = store_plan(state_view.plan, project.origin)
    if output is not None:
        try:
            output.write_text(stored)
        except OSError as error:
            raise WrongUse(f"the plan cannot be written to {output}: {error.strerror}") from error
    if form == "json":
        print_data(stored)
    elif form == "markdown":
        print_data(format_markdown(state_view.plan))
    else:
        turn = shlex.join(["b2prod", "reconcile", "--once", *(["--refresh"] if refresh else []), *names])
        follow = f"b2prod apply {shlex.quote(str(output))}" if output else turn
        print_data(format_plan(state_view.plan, state_view.drift, follow if project.origin is None else ""))
    if project.origin is not None:
        say(project.origin.describe())
    for view in state_view.views:
        pause = find_pause(paused, view.campaign.name, view.campaign.site)
        if pause is not None and view.plan.count(*MAKING):
            since = f"{pause.scope} is paused since {pause.since} by {pause.who}"
            say(f"{view.campaign.name}: its new units do not begin yet, {since}: {pause.reason}")
    if orphans and not names:
        hint = "bring the folder back; a campaign ends with `state: stopped`, its data with a retirement"
        message = "the folder is gone, but what the campaign produced exists; nothing of it was touched"
        places = [Place(f"{CAMPAIGNS}/{name}/campaign.yaml") for name in orphans]
        raise FoundProblems([Finding(place, "BP607", message, hint) for place in places])
    for name, why in state_view.absent.items():
        say(f"{name} is left out: {why}")
    if choice.wrong or state_view.absent:
        return Exit.PARTLY
    return Exit.CHANGES if exit_code and _has_changes(state_view) else Exit.FINE


def _has_changes(state_view: StateView) -> bool:
    """Whether a unit is planned, blocked or unknown; held campaigns do not count."""
    stuck = (PlanAction.BLOCKED, PlanAction.UNKNOWN)
    wanted = (view.plan for view in state_view.views if view.campaign.state != "held")
    return not state_view.plan.is_empty or any(one.count(*stuck) for one in wanted)


def store_plan(made: Plan, origin: Origin | None = None) -> str:
    """The text of a plan's file; with `origin` if the plan was made from an export of the state."""
    envelope: dict[str, Any] = {"digest": made.digest(), "created": CLOCK.show()}
    if origin is not None:
        envelope["origin"] = origin.data()
    return json.dumps({**made.content(), **envelope}, indent=1) + "\n"
