"""What is done: plan, apply."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from ci.approvals.gate import Gate, check_anchor
from ci.changes.campaign_faults import load_launchable
from ci.changes.export import Origin
from ci.changes.project import Settings, reads_commits, reads_exports
from ci.cli.console import print_data, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.reports.plan import format_markdown, format_plan
from ci.reports.progress import Watching, tell_outcome
from reconciler.execution.apply import apply_plan
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.store.database import reading
from reconciler.model.plan import Plan
from reconciler.model.states import PlanAction
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import GuardRefused
from reconciler.planning.views import StateView, read_state_view
from schemas.files.canonical import digest
from schemas.findings.finding import Finding, Place
from schemas.json_schema.validation import load_schema, validate_json
from schemas.repository import CAMPAIGNS


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the plan here, for `b2prod apply`.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How the plan is written to stdout.",
)
@click.option("--refresh", is_flag=True, help="Look at the storage too, not only at the ledger.")
@click.option(
    "--exit-code", is_flag=True, help="End with 2 when something is to be done, or is blocked or not known."
)
@reads_commits
@reads_exports
@click.pass_obj
def plan(
    settings: Settings,
    names: tuple[str, ...],
    output: Path | None,
    form: str,
    refresh: bool,
    exit_code: bool,
    base: str | None,
    head: str | None,
    export: Path | None,
) -> int:
    """Show which declared units are not produced, and why. Changes nothing.

    A campaign of which something is wrong, or cannot be read, is left out, which ends with 6 where others are planned. A
    plan of an export of the state is for reading: it says how old that is, and is not applied.
    """
    if refresh and export is not None:
        raise WrongUse("an export of the state does not reach the storage; leave --refresh out")
    project = settings.project(base, head, export)
    choice = load_launchable(project, names)
    chosen, repository = choice.require(), choice.repository
    with reading(project.state) as connection:
        state_view = read_state_view(
            connection, repository, chosen, project.state, refresh=refresh, spare=True
        )
        known = {*repository.campaigns, *choice.wrong}
        orphans = [name for name in list_campaigns(connection) if name not in known]
    if output is not None:
        try:
            output.write_text(store_plan(state_view.plan, project.origin))
        except OSError as error:
            raise WrongUse(f"the plan cannot be written to {output}: {error.strerror}") from error
    if form == "json":
        print_data(store_plan(state_view.plan, project.origin))
    elif form == "markdown":
        print_data(format_markdown(state_view.plan))
    else:
        follow = f"b2prod apply {shlex.quote(str(output))}" if output else _name_turn(names, refresh=refresh)
        print_data(format_plan(state_view.plan, state_view.drift, follow if project.origin is None else ""))
    if project.origin is not None:
        say(project.origin.describe())
    if orphans and not names:
        hint = "bring the folder back; a campaign ends with `state: stopped`, its data with a retirement"
        places = [Place(f"{CAMPAIGNS}/{name}/campaign.yaml") for name in orphans]
        message = "the folder is gone, but what the campaign produced exists; nothing of it was touched"
        raise FoundProblems([Finding(place, "BP607", message, hint) for place in places])
    for name, why in state_view.absent.items():
        say(f"{name} is left out: {why}")
    if choice.wrong or state_view.absent:
        return Exit.PARTLY
    return Exit.CHANGES if exit_code and _has_changes(state_view) else Exit.FINE


def _has_changes(state_view: StateView) -> bool:
    """Whether something is to be done, or is blocked or unknown; held campaigns do not count."""
    wanted = [view.plan for view in state_view.views if view.campaign.state != "held"]
    return not state_view.plan.is_empty or any(
        one.count(PlanAction.BLOCKED, PlanAction.UNKNOWN) for one in wanted
    )


def _name_turn(names: Sequence[str], *, refresh: bool) -> str:
    """The command that does what a plan says that was not stored."""
    words = ["b2prod", "reconcile", "--once", *(["--refresh"] if refresh else []), *names]
    return " ".join(words)


@click.command("apply")
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def apply_stored(settings: Settings, plan: Path) -> int:
    """Do exactly what a stored plan says; refuse if anything that the plan was made from has changed."""
    stored = _read_plan(plan)
    project = settings.project()
    names = [item["campaign"] for item in stored["campaigns"]]
    choice = load_launchable(project, names)
    if choice.wrong:
        raise FoundProblems([finding for found in choice.wrong.values() for finding in found])
    repository = choice.repository
    gate = Gate(project, repository, check_anchor(settings.trust))
    with Watching() as watching:
        outcome = apply_plan(project.state, repository, stored, watching.begin, TurnOptions(gate))
    return tell_outcome(outcome)


def store_plan(made: Plan, origin: Origin | None = None) -> str:
    """The plan's file; of one that was made from an export of the state, with its origin."""
    created = CLOCK.show()
    envelope: dict[str, Any] = {"digest": made.digest(), "created": created}
    if origin is not None:
        envelope["origin"] = origin.data()
    return json.dumps({**made.content(), **envelope}, indent=1) + "\n"


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text())
    except ValueError as error:
        raise WrongUse(f"{file} is not a plan: {error}") from error
    except RecursionError as error:
        raise WrongUse(f"{file} is not a plan: it is nested too deeply") from error
    problems = validate_json(stored, load_schema("plan"))
    if problems:
        raise WrongUse(f"{file} is not a plan: {problems[0]}")
    if "origin" in stored:
        raise GuardRefused(
            f"{file} was made from an export of the state, to be read; plan again with the ledger"
        )
    content = {key: value for key, value in stored.items() if key not in ("digest", "created")}
    if digest(content) != stored["digest"]:
        raise WrongUse(f"{file} was edited: its content does not match its digest; make a new plan")
    return {**content, "digest": stored["digest"]}


COMMANDS = (plan, apply_stored)
