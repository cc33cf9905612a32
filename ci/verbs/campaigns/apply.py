"""Applies stored plans: apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from ci.approvals.gate import Gate
from ci.changes.campaign_faults import load_launchable
from ci.changes.project import Project, pass_project
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.options import EXISTING_FILE
from ci.reports.progress import Watching, tell_outcome
from reconciler.execution.apply import apply_plan
from reconciler.execution.turn_options import TurnOptions
from reconciler.outside.errors import GuardRefused
from schemas.files.canonical import digest
from schemas.json_schema.validation import load_schema, validate_json


@click.command("apply")
@click.argument("plan", type=EXISTING_FILE)
@pass_project
def apply_stored(project: Project, plan: Path) -> int:
    """Do exactly what a stored plan says; refuse if anything that the plan was made from has changed."""
    stored = _read_plan(plan)
    names = [item["campaign"] for item in stored["campaigns"]]
    choice = load_launchable(project, names)
    if choice.wrong:
        raise FoundProblems([finding for found in choice.wrong.values() for finding in found])
    repository = choice.repository
    gate = Gate(project, repository)
    with Watching() as watching:
        outcome = apply_plan(
            project.state, repository, stored, watching.begin, TurnOptions(gate, watch=watching.watch)
        )
    return tell_outcome(outcome)


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{file} is not a plan: {error}") from error
    problems = validate_json(stored, load_schema("plan"))
    if problems:
        raise WrongUse(f"{file} is not a plan: {problems[0]}")
    if "origin" in stored:
        raise GuardRefused(f"{file} was made from an export of the state; plan again with the ledger")
    content = {key: value for key, value in stored.items() if key not in ("digest", "created")}
    if digest(content) != stored["digest"]:
        raise WrongUse(f"{file} was edited: its content does not match its digest; make a new plan")
    return {**content, "digest": stored["digest"]}
