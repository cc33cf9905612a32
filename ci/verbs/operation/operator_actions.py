"""Operator actions: pause, resume, cancel, retry, quarantine, settle, unlock. Each is recorded with who and why."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.gate import check_anchor
from ci.approvals.root import read_pinned_sites
from ci.changes.project import Project, Settings, choose_campaigns, list_folders, load_any
from ci.cli.console import count_things, say
from ci.cli.exits import Exit, WrongUse
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.adoption import check_reference
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.reading.observation import list_begun, list_sites, list_steps, read_identity
from reconciler.ledger.store.database import has_database, opened, reading
from reconciler.ledger.writing.lease import unlock
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.pause_orders import PauseOrders
from reconciler.ledger.writing.pauses import EVERYTHING, read_pauses
from reconciler.ledger.writing.transaction import Writer, name_user
from schemas.manifest.runs import parse_runs
from schemas.manifest.variant import is_expandable
from schemas.policy.site import Site
from schemas.repository import SITES, Declared

PATIENCE = 3.0
"""Seconds that the ledger has to take a pause, before the order beside it has to do."""

UNIT = "CAMPAIGN[/STEP[/RUNS]]"

reasoned = click.option("--reason", required=True, help="Why; kept in the ledger with your name.")


@click.command()
@click.argument("scope", metavar="all|site:NAME|campaign:NAME")
@reasoned
@click.pass_obj
def pause(settings: Settings, scope: str, reason: str) -> int:
    """Stop new jobs at once; jobs that run go on."""
    project = settings.project()
    _check_scope(project, scope)
    order = PauseOrders(project.state).write(scope, reason, name_user())
    answers: list[bool | Exception] = []

    def record() -> None:
        try:
            with _acting(project) as actions:
                answers.append(actions.pause(scope, reason))
            order.unlink(missing_ok=True)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is told, and the order stays
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
    return Exit.FINE


@click.command()
@click.argument("scope", metavar="all|site:NAME|campaign:NAME")
@reasoned
@click.pass_obj
def resume(settings: Settings, scope: str, reason: str) -> int:
    """End a pause, whether a person, an alarm or a canary began it."""
    project = settings.project()
    _check_scope(project, scope)
    with _acting(project) as actions:
        ended = PauseOrders(project.state).withdraw(scope) + actions.resume(scope, reason)
    say(f"{scope} goes on" if ended else f"{scope} was not paused; nothing was changed")
    return Exit.FINE


@click.command()
@click.argument("unit", metavar=UNIT)
@reasoned
@click.pass_obj
def retry(settings: Settings, unit: str, reason: str) -> int:
    """Try quarantined units again: of a campaign, of a step, or of runs of a step, as in 3:529-613."""
    project, scope = _read_scope(settings, unit)
    with _acting(project) as actions:
        count = actions.release(scope, reason)
    return _tell(count, "will be tried again by the next reconcile", "nothing of this is quarantined")


@click.command()
@click.argument("unit", metavar=UNIT)
@reasoned
@click.pass_obj
def quarantine(settings: Settings, unit: str, reason: str) -> int:
    """Stop units until `retry`; their running jobs go on.

    With runs, as in proc7/reco/3:529, also units that did not begin yet.
    """
    project, scope = _read_scope(settings, unit)
    with _acting(project) as actions:
        count = actions.quarantine(scope, reason)
    nothing = "nothing of this is under way; units that did not begin are stopped by their runs, as in proc7/reco/3:529"
    return _tell(count, "will not be tried until `b2prod retry`", nothing)


@click.command()
@click.argument("unit", metavar=UNIT)
@reasoned
@click.pass_obj
def cancel(settings: Settings, unit: str, reason: str) -> int:
    """End the jobs of units; they stay in quarantine until `retry`."""
    project, scope = _read_scope(settings, unit)
    with _acting(project) as actions:
        count = actions.cancel(scope, reason)
    return _tell(count, "will be ended by the next turn of the reconciler", "nothing of this is under way")


@click.command()
@click.argument("unit", metavar=UNIT)
@click.option("--adopt", metavar="ID", help="The unit's job is the engine's job ID.")
@click.option("--absent", is_flag=True, help="The engine has no job of the unit; it may be tried again.")
@click.option("--accept-incomplete", is_flag=True, help="Publish what was verified, and leave it at that.")
@reasoned
@click.pass_obj
def settle(
    settings: Settings, unit: str, adopt: str | None, absent: bool, accept_incomplete: bool, reason: str
) -> int:
    """Decide about a unit whose state the engine cannot tell, or that cannot be completed."""
    if (adopt is not None) + absent + accept_incomplete != 1:
        raise WrongUse("say one of --adopt ID, --absent and --accept-incomplete")
    project, scope = _read_scope(settings, unit)
    if adopt is not None:
        sites = read_pinned_sites(project.state, check_anchor(settings.trust))
        _check_job(project, sites, scope, adopt)
    with _acting(project) as actions:
        if adopt is not None:
            say(f"{actions.adopt(scope, adopt, reason)} is followed as job {adopt} from now on")
            return Exit.FINE
        if accept_incomplete:
            count = actions.accept_incomplete(scope, reason)
            return _tell(count, "will be published by the next reconcile", "")
        workspace = Workspace(project.state.attempts, project.state.batches)
        names = actions.list_doubtful(scope)
        begun = [name for name in names if not workspace.bury(name)]
        for name in begun:
            say(f"{name} has begun, so it is not absent; it stays as it is")
        count = actions.declare_absent(scope, [name for name in names if name not in begun], reason)
        say(f"{count_things(count, 'attempt')} declared absent")
    return Exit.FINE


@click.command("unlock")
@click.argument("fence", type=int)
@click.pass_obj
def unlock_lease(settings: Settings, fence: int) -> int:
    """End the lease of a reconciler that is dead; the error message that refused your command names FENCE."""
    holder = unlock(settings.project().state, fence)
    say(f"the lease of {holder} has ended; whatever it still writes will be refused")
    return Exit.FINE


@contextlib.contextmanager
def _acting(project: Project) -> Iterator[OperatorActions]:
    with reading(project.state) as connection:
        read_identity(connection)
    with opened(project.state) as engine:
        yield OperatorActions(Writer(engine, None), name_user())


def _check_job(project: Project, sites: Mapping[str, Site], scope: Scope, reference: str) -> None:
    """Ensures that the engine has the job that a unit is to be followed as."""
    with opened(project.state) as engine:
        writer = Writer(engine, None)
        attempt = OperatorActions(writer, name_user()).find_doubtful(scope)
        workspace = Workspace(project.state.attempts, project.state.batches)
        check_reference(SiteEngines(sites, writer), attempt, workspace, reference)


def _read_scope(settings: Settings, unit: str) -> tuple[Project, Scope]:
    """Units that are declared, or of which the ledger has anything: their jobs outlive a declaration.

    Where a campaign's files are there and cannot be read, its steps are what the command says.
    """
    name, _, rest = unit.partition("/")
    step, _, runs = rest.partition("/")
    try:
        keys = frozenset(parse_runs(runs)) if runs else None
    except ValueError as error:
        raise WrongUse(str(error)) from error
    project = settings.project()
    repository, _ = load_any(project)
    scope = Scope(unit, name, step or None, keys)
    declared = repository.campaigns.get(name)
    names = _list_declared(declared) if declared else []
    if declared is not None and (not step or step in names):
        return project, scope
    begun = _list_steps(project, name)
    if declared is None and name in list_folders(project):
        say(f"{name} is there, and cannot be read: it is taken to have what {unit} says")
        return project, scope
    if declared is None and not begun:
        choose_campaigns(repository, [name])  # refuses a name that nobody knows
    if step and step not in begun:
        known = ", ".join(names or begun)
        raise WrongUse(f"{name} has no step {step}; it has {known}")
    gone = name if declared is None else f"{name}/{step}"
    say(f"{gone} is not declared any more; this is about what the ledger has of it")
    return project, scope


def _list_declared(declared: Declared) -> list[str]:
    steps = declared.campaign.steps
    return [one.name for one in (declared.campaign.expand() if is_expandable(steps) else steps)]


def _list_steps(project: Project, campaign: str) -> list[str]:
    """The steps of a campaign that the ledger knows."""
    return _read_ledger(project, lambda connection: list_steps(connection, campaign))


def _check_scope(project: Project, scope: str) -> None:
    """Ensures that a scope is one: what has its name here or in the ledger, whether it can be read or not."""
    if scope == EVERYTHING:
        return
    kind, _, name = scope.partition(":")
    known: set[str] = set()
    if kind == "campaign":
        known = {*list_folders(project), *_read_ledger(project, list_begun)}
    elif kind == "site":
        known = {*list_folders(project, SITES), *_read_ledger(project, list_sites)}
    if name not in known and scope not in _read_ledger(project, _list_paused):
        raise WrongUse(f"{scope} is nothing that can be paused; write all, site:NAME or campaign:NAME")


def _list_paused(connection: Connection) -> list[str]:
    return [pause.scope for pause in read_pauses(connection)]


def _read_ledger(project: Project, read: Callable[[Connection], list[str]]) -> list[str]:
    if not has_database(project.state):
        return []
    with reading(project.state) as connection:
        return read(connection)


def _tell(count: int, what: str, nothing: str) -> int:
    say(f"{count_things(count, 'unit')} {what}" if count else f"{nothing}; nothing was changed")
    return Exit.FINE


COMMANDS = (pause, resume, cancel, retry, quarantine, settle, unlock_lease)
