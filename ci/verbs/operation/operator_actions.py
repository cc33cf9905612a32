"""Operator actions: pause, resume, cancel, retry, quarantine, settle, unlock. Each is recorded with who and why."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.root import find_pinned_sites
from ci.changes.project import Project, choose_campaigns, list_folders, load_any, pass_project
from ci.cli.console import count_things, say
from ci.cli.exits import WrongUse
from ci.cli.options import read_runs, reasoned, tell_unknown_step
from reconciler.execution.launch.admission import waits_for_verdict
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.reading.observation import list_begun, list_sites, list_steps, read_identity
from reconciler.ledger.store.database import has_database, opened, reading
from reconciler.ledger.writing.lease import unlock
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.pause_orders import PauseOrders
from reconciler.ledger.writing.pauses import EVERYTHING, read_pauses
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.model.states import PauseKind
from reconciler.outside.errors import GuardRefused
from schemas.manifest.variant import is_expandable
from schemas.repository import SITES

PATIENCE = 3.0
"""The time in seconds in which the ledger must record a pause; after it, the order beside the ledger is enough."""

UNIT = "CAMPAIGN[/STEP[/RUNS]]"


@click.command()
@click.argument("scope", metavar="all|site:NAME|campaign:NAME")
@reasoned
@pass_project
def pause(project: Project, scope: str, reason: str) -> None:
    """Stop new jobs at once; jobs that run go on."""
    _check_scope(project, scope)
    order = PauseOrders(project.state).write(scope, reason, name_user())
    answers: list[bool | Exception] = []

    def record() -> None:
        try:
            with _acting(project) as actions:
                answers.append(actions.pause(scope, reason))
            order.unlink(missing_ok=True)
        except Exception as error:  # noqa: BLE001 -- every error is reported, and the order stays
            answers.append(error)

    thread = threading.Thread(target=record, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    match answers:
        case [bool(begun)]:
            say(f"{scope} is paused" if begun else f"{scope} was paused already; nothing was changed")
        case [Exception() as error]:
            say(f"{scope} is paused by the order {order}; the ledger could not be written: {error}")
        case _:
            say(f"{scope} is paused by the order {order}, which a reconciler reads first: the ledger is busy")


@click.command()
@click.argument("scope", metavar="all|site:NAME|campaign:NAME")
@reasoned
@pass_project
def resume(project: Project, scope: str, reason: str) -> None:
    """End a pause, whether a person, an alarm or a canary began it.

    A canary with `then: verdict` is opened by a comparison that passes, or by a signature, and not by this.
    """
    _check_scope(project, scope)
    _refuse_canary(project, scope)
    with _acting(project) as actions:
        ended = PauseOrders(project.state).withdraw(scope) + actions.resume(scope, reason)
    say(f"{scope} goes on" if ended else f"{scope} was not paused; nothing was changed")


@click.command()
@click.argument("unit", metavar=UNIT)
@reasoned
@pass_project
def retry(project: Project, unit: str, reason: str) -> None:
    """Try quarantined units again: of a campaign, of a step, or of runs of a step, as in 3:529-613."""
    count = _decide(OperatorActions.release, project, unit, reason)
    _tell(count, "will be tried again by the next reconcile", "nothing of this is quarantined")


@click.command()
@click.argument("unit", metavar=UNIT)
@reasoned
@pass_project
def quarantine(project: Project, unit: str, reason: str) -> None:
    """Stop units until `retry`; their running jobs go on.

    With runs, as in proc7/reco/3:529, also units that did not begin yet.
    """
    count = _decide(OperatorActions.quarantine, project, unit, reason)
    nothing = "nothing of this is under way; units that did not begin are stopped by their runs, as in proc7/reco/3:529"
    _tell(count, "will not be tried until `b2prod retry`", nothing)


@click.command()
@click.argument("unit", metavar=UNIT)
@reasoned
@pass_project
def cancel(project: Project, unit: str, reason: str) -> None:
    """End the jobs of units; they stay in quarantine until `retry`."""
    count = _decide(OperatorActions.cancel, project, unit, reason)
    _tell(count, "will be ended by the next turn of the reconciler", "nothing of this is under way")


@click.command()
@click.argument("unit", metavar=UNIT)
@click.option("--adopt", metavar="ID", help="The unit's job is the engine's job ID.")
@click.option("--absent", is_flag=True, help="The engine has no job of the unit; it may be tried again.")
@click.option("--accept-incomplete", is_flag=True, help="Publish what was verified, and leave it at that.")
@reasoned
@pass_project
def settle(
    project: Project, unit: str, adopt: str | None, absent: bool, accept_incomplete: bool, reason: str
) -> None:
    """Decide about a unit whose state the engine cannot tell, or that cannot be completed."""
    if (adopt is not None) + absent + accept_incomplete != 1:
        raise WrongUse("say one of --adopt ID, --absent and --accept-incomplete")
    if accept_incomplete:
        count = _decide(OperatorActions.accept_incomplete, project, unit, reason)
        _tell(count, "will be published by the next reconcile", "")
        return
    scope = _read_scope(project, unit)
    workspace = Workspace(project.state.attempts, project.state.batches)
    if adopt is not None:
        _check_job(project, workspace, scope, adopt)
    with _acting(project) as actions:
        if adopt is not None:
            say(f"{actions.adopt(scope, adopt, reason)} is followed as job {adopt} from now on")
            return
        names = actions.list_doubtful(scope)
        begun = [name for name in names if not workspace.bury(name)]
        for name in begun:
            say(f"{name} has begun, so it is not absent; it stays as it is")
        count = actions.declare_absent(scope, [name for name in names if name not in begun], reason)
        say(f"{count_things(count, 'attempt')} declared absent")


@click.command("unlock")
@click.argument("fence", type=int)
@pass_project
def unlock_lease(project: Project, fence: int) -> None:
    """End the lease of a reconciler that is dead; the error message that refused your command names FENCE."""
    holder = unlock(project.state, fence)
    say(f"the lease of {holder} has ended; whatever it still writes will be refused")


@contextlib.contextmanager
def _acting(project: Project) -> Iterator[OperatorActions]:
    with reading(project.state) as connection:
        read_identity(connection)
    with opened(project.state) as engine:
        yield OperatorActions(Writer(engine, None), name_user())


def _decide(
    action: Callable[[OperatorActions, Scope, str], int], project: Project, unit: str, reason: str
) -> int:
    """Does an action; the number of its units."""
    scope = _read_scope(project, unit)
    with _acting(project) as actions:
        return action(actions, scope, reason)


def _check_job(project: Project, workspace: Workspace, scope: Scope, reference: str) -> None:
    """Checks that the engine has the job that a unit is to adopt."""
    sites = find_pinned_sites(project)
    with opened(project.state) as engine:
        writer = Writer(engine, None)
        attempt = OperatorActions(writer, name_user()).find_doubtful(scope)
        handle = replace(workspace.make_handle(attempt), reference=reference)
        SiteEngines(sites, writer).check_reference(attempt, handle)


def _read_scope(project: Project, unit: str) -> Scope:
    """The units that a text names: declared units, or units of the ledger, because jobs may outlive a declaration.

    If a campaign's files exist and cannot be read, its steps are taken from the text.
    """
    name, _, rest = unit.partition("/")
    step, _, runs = rest.partition("/")
    scope = Scope(unit, name, step or None, frozenset(read_runs(runs)) if runs else None)
    repository, _ = load_any(project)
    declared = repository.campaigns.get(name)
    names: list[str] = []
    if declared is not None:
        steps = declared.campaign.steps
        names = [one.name for one in (declared.campaign.expand() if is_expandable(steps) else steps)]
    if declared is not None and (not step or step in names):
        return scope
    begun = _read_ledger(project, lambda connection: list_steps(connection, name))
    if declared is None and name in list_folders(project):
        say(f"{name} is there, and cannot be read: it is taken to have what {unit} says")
        return scope
    if declared is None and not begun:
        choose_campaigns(repository, [name])  # refuses an unknown name
    if step and step not in begun:
        raise WrongUse(tell_unknown_step(name, step, names or begun))
    gone = name if declared is None else f"{name}/{step}"
    say(f"{gone} is not declared any more; this is about what the ledger has of it")
    return scope


def _refuse_canary(project: Project, scope: str) -> None:
    """Checks that the only pause of a scope is not that of a canary that waits for its verdict.

    Raises:
        GuardRefused: it is.
    """
    name = scope.removeprefix("campaign:")
    kinds = _read_ledger(
        project, lambda connection: [one.kind for one in read_pauses(connection) if one.scope == scope]
    )
    if kinds != [PauseKind.CANARY]:
        return
    declared = load_any(project)[0].campaigns.get(name)
    if declared is not None and waits_for_verdict(declared.campaign):
        raise GuardRefused(
            f"{name} waits for the verdict on its canary, which nobody resumes: a comparison that passes opens it, or"
            f" for a warning a signature: `b2prod approve --canary {name} --reason …`"
        )


def _check_scope(project: Project, scope: str) -> None:
    """Checks that the scope exists, here or in the ledger, even if its files cannot be read."""
    if scope == EVERYTHING:
        return
    kind, _, name = scope.partition(":")
    known: set[str] = set()
    if kind == "campaign":
        known = {*list_folders(project), *_read_ledger(project, list_begun)}
    elif kind == "site":
        known = {*list_folders(project, SITES), *_read_ledger(project, list_sites)}
    paused = _read_ledger(project, lambda connection: [pause.scope for pause in read_pauses(connection)])
    if name not in known and scope not in paused:
        raise WrongUse(f"{scope} is nothing that can be paused; write all, site:NAME or campaign:NAME")


def _read_ledger(project: Project, read: Callable[[Connection], list[str]]) -> list[str]:
    if not has_database(project.state):
        return []
    with reading(project.state) as connection:
        return read(connection)


def _tell(count: int, what: str, nothing: str) -> None:
    say(f"{count_things(count, 'unit')} {what}" if count else f"{nothing}; nothing was changed")
