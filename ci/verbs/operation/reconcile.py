"""The loop after a merge: settle earlier work, plan, apply exactly that plan; once or continuously."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import rich_click as click

from ci.approvals.gate import Gate, tell_time
from ci.approvals.root import check_anchor, remember
from ci.changes.campaign_faults import load_launchable
from ci.changes.follow import Followed, fetch_head, mark_applied, read_applied, read_followed
from ci.changes.project import Project, pass_project
from ci.changes.turn_memory import TurnMemory
from ci.cli.console import count_things, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import FILE, FiniteRange
from ci.reports.monitoring import Monitor
from ci.reports.progress import Watching, describe_live, describe_troubles, judge_turn, tell_outcome
from ci.verbs.data.global_tags import TOKEN as CONDITIONS_TOKEN
from ci.verbs.data.runs import TOKEN as RUNDB_TOKEN
from reconciler.conditions.following import list_followed
from reconciler.datasets.catalogues.registration import register_outputs
from reconciler.execution.apply import reconcile
from reconciler.execution.outcome import Outcome
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.reading.latest_time import bound_time
from reconciler.ledger.store.database import State, has_database, opened, reading
from reconciler.ledger.writing.lease import SECONDS
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.defects import tell_defect
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.outside.service_manager import ServiceManager
from reconciler.outside.signals import ending_softly
from reconciler.planning.views import StateView
from reconciler.sources.watch import SourceTokens, SourceWatch
from renderer.steering import TemplateBroken
from schemas.policy.site import Site
from schemas.repository import Repository

BUSY = 2.0
"""Seconds between two turns while jobs of this machine run."""

A_WHILE = 30.0
"""The seconds after which the service manager gets another sign that the service waits."""

A_TURN = 50
"""The number of outputs that a turn registers at each site; `b2prod register` registers all."""


@click.command("reconcile")
@click.argument("names", nargs=-1)
@click.option("--once", is_flag=True, help="One turn: settle, plan, apply.")
@click.option("--watch", is_flag=True, help="Turn after turn, until SIGTERM or Ctrl-C.")
@click.option("--wait", "patient", is_flag=True, help="With --once: wait for jobs of batch systems too.")
@click.option("--refresh", is_flag=True, help="Look at the storage too, not only at the ledger.")
@click.option(
    "--interval",
    type=FiniteRange(0.1, 86_400.0),
    default=60.0,
    metavar="SECONDS",
    help="With --watch: the time from one turn to the next.",
)
@click.option(
    "--lease",
    type=FiniteRange(1.0, 3600.0),
    default=SECONDS,
    metavar="SECONDS",
    help="If this process is silent for so long, another one may take over.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="With --watch: serve metrics for Prometheus there; the host is 127.0.0.1 if you give none.",
)
@click.option("--log", type=FILE, help="With --watch: append every event to this file, as a line of JSON.")
@click.option(
    "--notify",
    type=FILE,
    envvar="B2PROD_NOTIFY",
    help="With --watch: a file outside the repository; it says whom to tell if something needs a person.",
)
@click.option(
    "--follow",
    metavar="REMOTE/BRANCH",
    help="Fetch this branch, as origin/main, before each turn, and read its head instead of the work tree.",
)
@click.option("--oldest", type=click.IntRange(1), metavar="DAYS", help="With --follow: refuse an older head.")
@pass_project
def reconcile_verb(
    project: Project,
    names: tuple[str, ...],
    once: bool,
    watch: bool,
    patient: bool,
    refresh: bool,
    interval: float,
    lease: float,
    metrics: str | None,
    log: Path | None,
    notify: Path | None,
    follow: str | None,
    oldest: int | None,
) -> int:
    """Produce what is declared: finish earlier work, make a plan, and apply exactly this plan.

    A turn waits for jobs of this machine. It leaves jobs of batch systems and of the grid to run, and the next turn collects
    them. With --watch it also asks the sources of runs, files and running tags that the sites name, each at its interval.
    A campaign with something wrong is left out, and the others go on. The last line sums up. Where something stands in
    the way, the turn ends with 6; where that is a pause or a missing approval, with 5. With --follow nothing is checked out,
    and a head is refused if it does not come after the one that was last launched from.
    """
    if oldest and not follow:
        raise WrongUse("--oldest goes with --follow")
    followed = read_followed(follow, timedelta(days=oldest) if oldest else None) if follow else None
    if once == watch:
        raise WrongUse("say --once for one turn, or --watch to go on for ever")
    if watch and patient:
        raise WrongUse("--wait goes with --once; --watch comes back to every job anyway")
    if once and (metrics or log):
        raise WrongUse("--metrics and --log go with --watch")
    anchor = check_anchor(project.trust)
    if watch:
        with (
            _telling(project.state),
            Monitor(project, _read_address(metrics), log, notify) as monitor,
            ending_softly() as stopped,
        ):
            _watch(project, names, interval, lease, monitor, followed, stopped)
        return Exit.FINE
    project, away, closed = _read_head(project, followed)
    remember(project, anchor, tell_time())  # even if findings prevent any launch
    choice = load_launchable(project, names)
    chosen, repository = choice.require(), choice.repository
    gate = Gate(project, repository)
    permitted, refused = gate.sort(chosen)
    operates = not names  # retirements do not wait for a campaign that nobody signed
    if refused and not permitted and away is None and not (operates and repository.retirements):
        raise GuardRefused("\n".join(refused.values()))
    with _telling(project.state), Watching() as watching:
        options = TurnOptions(
            gate, patient=patient, lease=lease, closed=closed, operates=operates, watch=watching.watch
        )
        outcome = reconcile(project.state, repository, permitted, watching.begin, options, refresh=refresh)
    for text in refused.values():
        say(f"left out: {text}")
    troubles = _register(project, repository, gate.find_sites(repository), permitted)
    for text in troubles:
        say(text)
    tell_outcome(outcome, len(refused) + len(choice.wrong))
    code = judge_turn(outcome, len(choice.wrong)) or (Exit.REFUSED if refused else Exit.FINE)
    if away is not None:
        say(str(away))
        return Exit.REFUSED if isinstance(away, GuardRefused) else Exit.UNAVAILABLE
    _mark_head(project)
    return code or (Exit.PARTLY if troubles else Exit.FINE)


@contextlib.contextmanager
def _telling(state: State) -> Iterator[None]:
    """Says which jobs go on, if a signal ends the command."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"told to end; {describe_live(state)}")
        raise


def _read_head(project: Project, followed: Followed | None) -> tuple[Project, Away | None, str | None]:
    """The project at the head of the followed branch.

    If the head cannot be used, it is the project as last launched, with the error and the reason why nothing new begins.

    Raises:
        GuardRefused: the head is refused, and nothing was launched yet.
        SourceUnavailable: the head cannot be fetched, and nothing was launched yet.
    """
    if followed is None:
        return project, None, None
    try:
        now = datetime.now(UTC)
        if followed.oldest is not None and has_database(project.state):
            with reading(project.state) as connection:  # an old head stays old if the clock goes back
                now = bound_time(connection, now)
        return replace(project, commit=fetch_head(project.root, followed, now)), None, None
    except (GuardRefused, SourceUnavailable) as error:
        with contextlib.suppress(SourceUnavailable):  # git itself cannot be read, as was said
            if (applied := read_applied(project.root)) is not None:
                return replace(project, commit=applied), error, f"only what was begun goes on: {error}"
        raise


Away = GuardRefused | SourceUnavailable
"""Why a turn cannot use the newest commit."""


def _mark_head(project: Project) -> None:
    if project.commit is not None:
        mark_applied(project.root, project.commit.id)


def _read_address(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise WrongUse(f"{text!r} is not a port; write 9464, or HOST:9464")
    return host or "127.0.0.1", int(port)


def _watch(
    project: Project,
    names: Sequence[str],
    interval: float,
    lease: float,
    monitor: Monitor,
    followed: Followed | None,
    stopped: threading.Event,
) -> None:
    """Makes turns until it is told to end; if one goes wrong, it says so, and goes on with the next."""
    manager = ServiceManager()
    manager.ready()
    tokens = SourceTokens(os.environ.get(RUNDB_TOKEN) or None, os.environ.get(CONDITIONS_TOKEN) or None)
    sources, memory = SourceWatch(project.state, tokens), TurnMemory()
    said: list[str] = []
    while not stopped.is_set():
        pause = interval
        monitor.begin()
        whole, sound = False, True
        state_views: list[StateView] = []
        try:
            here, _, closed = _read_head(project, followed)
            bound = min(interval, lease / 3)
            options = TurnOptions(
                bound=bound,
                lease=lease,
                closed=closed,
                step=manager.step,
                canaries=memory.canaries,
                operates=not names,
            )
            outcome, trouble = _turn(here, names, options, state_views.append, sources, memory)
            if closed is not None:
                trouble.append(closed)
            else:
                try:
                    _mark_head(here)
                except SourceUnavailable as error:
                    trouble.append(str(error))
        except (GuardRefused, OSError, SourceUnavailable, TemplateBroken, WrongUse) as error:
            trouble = [f"this turn did nothing: {error}"]
        except Exception as error:  # noqa: BLE001 -- an unexpected error ends one turn, and not the service
            sound = False
            trouble = [f"this turn ended early by a defect: {type(error).__name__}: {error}"]
            if trouble[0] not in said:
                say(tell_defect(error))
        else:
            whole = closed is None
            if outcome.attached:
                pause = min(interval, BUSY)
            if outcome.produced or outcome.failed or outcome.submitted:
                tell_outcome(outcome)
            else:
                trouble = [*trouble, *describe_troubles(outcome)]
        trouble = [*sources.troubles, *trouble]
        for text in trouble:
            if text not in said:
                say(text)
        said = trouble
        monitor.end(state_views[-1] if state_views else None, trouble, whole=whole)
        _rest(pause, stopped, manager.step if sound else None)
    manager.stopping()


def _rest(seconds: float, stopped: threading.Event, step: Callable[[], None] | None) -> None:
    """Waits for the next turn or for the end; calls `step` for the service manager meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stopped.is_set():
        if step is not None:
            step()
        stopped.wait(min(left, A_WHILE))


def _turn(
    project: Project,
    names: Sequence[str],
    turn_options: TurnOptions,
    see: Callable[[StateView], None],
    sources: SourceWatch,
    memory: TurnMemory,
) -> tuple[Outcome, list[str]]:
    """Makes a turn with the campaigns that are in order; what came of it, and what is wrong with the others.

    It begins with what watched sources answered. What `memory` has of the turns before is not read again.
    """
    choice = memory.load(project, names)
    repository = choice.repository
    gate = Gate(project, repository, proofs=memory.proofs)
    for text in sources.step(gate.find_sites(repository), list_followed(repository), turn_options.lease):
        say(text)
    permitted, refused = gate.sort(choice.chosen)
    options = replace(turn_options, permits=gate)
    outcome = reconcile(project.state, repository, permitted, see, options, memory=memory.plans)
    told = [*choice.describe(), *(f"{name} is left out: {text}" for name, text in refused.items())]
    return outcome, [*told, *_register(project, repository, gate.find_sites(repository), permitted)]


def _register(
    project: Project, repository: Repository, sites: Mapping[str, Site], chosen: Sequence[str]
) -> list[str]:
    """Registers some of the outputs in the catalogues of their sites; what stood in the way."""
    if not any(site.catalogue for site in sites.values()):
        return []
    with opened(project.state) as engine:
        done = register_outputs(project.state, repository, sites, Writer(engine, None), chosen, limit=A_TURN)
    if done.outputs:
        say(f"{count_things(done.outputs, 'output')} registered")
    stopped = [f"{name} is paused: {text}" for name, text in done.conflicts.items()]
    return [*stopped, *(f"{site}: {text}" for site, text in done.unavailable.items()), *done.changed]
