"""The end of a job's log, with the line of the error: logs."""

from __future__ import annotations

import rich_click as click

from ci.changes.project import Project, pass_project
from ci.cli.console import print_json, say
from ci.cli.exits import WrongUse
from ci.cli.options import read_run, writes_json
from ci.reports.log_end import print_log
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.reading.unit_history import list_attempts
from reconciler.ledger.store.database import reading
from reconciler.model.states import AttemptState
from reconciler.outside.errors import SourceUnavailable
from renderer.jobs.logs import find_signature


@click.command()
@click.argument("unit", metavar="CAMPAIGN/STEP/RUN")
@click.option("--lines", type=click.IntRange(0, 100_000), default=20, help="How many lines of the end.")
@click.option(
    "--attempt",
    metavar="NAME",
    help="This attempt; else the latest failed one, else the latest. `b2prod explain UNIT` lists them.",
)
@writes_json
@pass_project
def logs(project: Project, unit: str, lines: int, attempt: str | None, as_json: bool) -> None:
    """Show the end of the log of a unit's latest attempt, and the line that says why it failed."""
    parts = unit.split("/")
    if len(parts) != 3:
        raise WrongUse(f"{unit!r} is not a unit; write it as in proc7/reco/3:529")
    campaign, step, run = parts
    state = project.state
    with reading(state) as connection:
        tried = list_attempts(connection, campaign, step, read_run(run))
    if not tried:
        raise WrongUse(f"of {unit} nothing was tried; `b2prod explain {unit}` says why")
    known = {one.name: one for one in tried}
    if attempt is not None and attempt not in known:
        raise WrongUse(f"{unit} has no attempt {attempt}; it has {', '.join([*known][-10:])}")
    failed = [one for one in tried if one.state == AttemptState.FAILED]
    chosen = known[attempt] if attempt is not None else (failed or tried)[-1]
    workspace = Workspace(state.attempts, state.batches)
    text, first = workspace.read_log(chosen.name)
    if not text:
        published = chosen.state == AttemptState.VERIFIED
        why = "was published, and its folder cleared" if published else "left no log yet"
        raise SourceUnavailable(f"{chosen.name} ({chosen.state}) {why}: {workspace.path(chosen.name)}")
    found = find_signature(text, chosen.application, first=first)
    if as_json:
        written = text.splitlines()
        start = max(0, len(written) - lines)
        culprit = found and {"signature": found.signature, "number": found.number, "line": found.line}
        facts = {"attempt": chosen.name, "state": chosen.state, "reason": chosen.reason}
        print_json({**facts, "culprit": culprit, "first": first, "lines": written[start:]})
        return
    said = f": {chosen.reason}" if chosen.reason else ""
    say(f"{chosen.name} is {chosen.state}{said}")
    print_log(text, first, found, lines, failed=chosen.state == AttemptState.FAILED)
