"""The end of a job's log, with the line of the error, and the other files of a job: logs."""

from __future__ import annotations

import contextlib

import rich_click as click

from ci.changes.project import Project, pass_project
from ci.cli.console import print_data, print_json, say
from ci.cli.exits import WrongUse
from ci.cli.options import read_run, writes_json
from ci.reports.log_end import print_log
from reconciler.execution.tracking.job_file_keeper import KEPT
from reconciler.execution.tracking.workspace import LOG, Workspace
from reconciler.ledger.reading.unit_history import UnitAttempt, list_attempts
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.store.kept_files import LARGEST, KeptFiles
from reconciler.model.states import AttemptState
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain, read_plain
from renderer.jobs.logs import find_signature


@click.command()
@click.argument("unit", metavar="CAMPAIGN/STEP/RUN")
@click.option("--lines", type=click.IntRange(0, 100_000), default=20, help="How many lines of the end.")
@click.option(
    "--attempt",
    metavar="NAME",
    help="This attempt; else the latest failed one, else the latest. `b2prod explain UNIT` lists them.",
)
@click.option(
    "--file",
    "file",
    type=click.Choice(KEPT),
    default=LOG,
    help="Show all of another file of the job instead.",
)
@writes_json
@pass_project
def logs(project: Project, unit: str, lines: int, attempt: str | None, file: str, as_json: bool) -> None:
    """Show the end of the log of a unit's latest attempt, and the line that says why it failed.

    Of an attempt that ended well, log, job JSON and steering script are kept for the days that its site says.
    """
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
    facts = {"attempt": chosen.name, "state": chosen.state, "reason": chosen.reason}
    text, first = _read_file(state, chosen, file)
    if file != LOG:
        if as_json:
            print_json({**facts, "file": file, "text": text})
        else:
            print_data(text)
        return
    found = find_signature(text, chosen.application, first=first)
    if as_json:
        written = text.splitlines()
        start = max(0, len(written) - lines)
        culprit = found and {"signature": found.signature, "number": found.number, "line": found.line}
        print_json({**facts, "culprit": culprit, "first": first, "lines": written[start:]})
        return
    said = f": {chosen.reason}" if chosen.reason else ""
    say(f"{chosen.name} is {chosen.state}{said}")
    print_log(text, first, found, lines, failed=chosen.state == AttemptState.FAILED)


def _read_file(state: State, attempt: UnitAttempt, name: str) -> tuple[str, int]:
    """A file of an attempt, from its folder or from what was kept, and the number of its first line. Of a log, the end.

    Raises:
        SourceUnavailable: it is in neither place.
    """
    workspace, store = Workspace(state.attempts, state.batches), KeptFiles(state.kept)
    folder, digest = workspace.path(attempt.name), attempt.kept.get(name)
    if name == LOG:
        text, first = workspace.read_log(attempt.name)
        if text:
            return text, first
    else:
        with contextlib.suppress(OSError, NotPlain):
            return read_plain(folder / name, LARGEST).decode("utf-8", "replace"), 1
    if digest is not None and store.path(digest).exists():
        return store.read(digest).decode("utf-8", "replace"), 1
    if digest is not None:
        why = (
            f"had a {name} that was kept, and is there no more: its site says by `keep_job_days` for how long"
        )
    elif attempt.state == AttemptState.VERIFIED:
        why = f"was published, and its folder cleared; no {name} of it was kept"
    else:
        why = f"left no {name} yet"
    raise SourceUnavailable(f"{attempt.name} ({attempt.state}) {why}: {folder}")
