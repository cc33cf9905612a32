"""Applies a stored plan if it is still true, and runs one turn of the reconciler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from reconciler.datasets.editions import keep_editions
from reconciler.datasets.places import ForeignPlace
from reconciler.datasets.verification.rounds import find_lost, list_published
from reconciler.execution.launch.preparation import list_work
from reconciler.execution.operating.operator import Operator
from reconciler.execution.outcome import Outcome
from reconciler.execution.plan_memory import PlanMemory
from reconciler.execution.tracking.alarms import Alarm
from reconciler.execution.turn import Launcher, Report
from reconciler.execution.turn_options import PLAIN, TurnOptions
from reconciler.ledger.reading.observation import read_identity, read_plan
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.lease import Fenced, Lease, holding
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import PlanAction
from reconciler.model.work_items import Address
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.gates.judging import GATE, StageState
from reconciler.planning.operations.reading import add_operations
from reconciler.planning.views import StateView, read_state_view
from schemas.manifest.runs import parse_runs
from schemas.repository import Repository

Announce = Callable[[StateView], Report | None]
"""Called with the state view that is about to be applied. Returns the function that is told of each unit that ends, or None."""


def apply_plan(
    state: State,
    repository: Repository,
    stored: Mapping[str, Any],
    announce: Announce,
    turn_options: TurnOptions = PLAIN,
) -> Outcome:
    """Applies a stored plan (`stored` is its JSON data) if a plan that is made now has the same digest; returns the outcome.

    An interrupted plan may be applied again, if nothing else has changed since.

    Raises:
        GuardRefused: the plan is stale or incomplete, an approval is missing, or another apply is running.
        SourceUnavailable: something that must be read cannot be read.
    """
    names = [item["campaign"] for item in stored["campaigns"]]
    lost, permits = _read_lost(stored), turn_options.permits
    repository = replace(repository, retention=permits.find_retention(repository))
    criteria = partial(permits.find_validation, repository)
    with reading(state) as connection:
        read_identity(connection)  # without a run catalogue there is nothing to apply
    with holding(state, turn_options.lease) as lease:
        with reading(state) as connection:
            _confirm_lost(connection, lost)
            state_view = read_state_view(
                connection,
                repository,
                names,
                state,
                refresh=stored["refreshed"],
                lost=lost,
                read_sign_offs=permits.open_sign_offs(),
                find_validation=criteria,
            )
            state_view = _add_stored_operations(
                connection, repository, state, state_view, stored, turn_options
            )
            begun = read_plan(connection, stored["digest"])
        fresh = state_view.plan.digest() == stored["digest"]
        resumed = begun is not None and begun.ended is None and begun.serial == state_view.plan.serial
        if not fresh:
            _refuse_moved(stored, state_view, resumed=resumed)
        if unknown := state_view.plan.unknown:
            raise GuardRefused(f"{unknown} units could not be judged; plan again when they can")
        with opened(state) as engine:
            launcher = _make_launcher(state, repository, engine, lease, turn_options)
            permits.verify(names, state_view.plan)
            launcher.places.check_state()
            _refuse_storages(*_check_storages(state, launcher, repository, names))
            launcher.ledger.begin_plan(stored["digest"], stored)
            launcher.settle()
            if not fresh:
                with reading(state) as connection:
                    state_view = read_state_view(
                        connection,
                        repository,
                        names,
                        state,
                        lost=lost,
                        read_sign_offs=permits.open_sign_offs(),
                        find_validation=criteria,
                    )
                    state_view = _add_stored_operations(
                        connection, repository, state, state_view, stored, turn_options
                    )
            return _launch(launcher, state_view, announce, _list_units(stored))


def reconcile(
    state: State,
    repository: Repository,
    names: Sequence[str],
    announce: Announce,
    turn_options: TurnOptions = PLAIN,
    *,
    refresh: bool = False,
    memory: PlanMemory | None = None,
) -> Outcome:
    """Runs one turn: finishes what an earlier turn left, makes a plan, stores it, applies exactly that plan; returns the outcome.

    A campaign that cannot be read completely is left out, and the outcome names it. `memory` is that of the turns before, if
    there were any; with `refresh` it is not used.

    Raises:
        GuardRefused: an approval is missing, a place belongs to another ledger, or another apply is running.
        SourceUnavailable: something that must be read cannot be read.
    """
    with reading(state) as connection:
        read_identity(connection)  # without a run catalogue there is nothing to reconcile with
    # the memory knows a repository by identity: what of the policy is pinned stands beside it
    pinned = replace(repository, retention=turn_options.permits.find_retention(repository))
    with holding(state, turn_options.lease) as lease, opened(state) as engine:
        launcher = _make_launcher(state, pinned, engine, lease, turn_options)
        launcher.places.check_state()
        launcher.settle()
        away, barred = _check_storages(state, launcher, repository, names)
        left = [name for name in names if name not in away and name not in barred]
        if names and not left:
            _refuse_storages(away, barred)
        signs = turn_options.permits.open_sign_offs()
        criteria = partial(turn_options.permits.find_validation, repository)
        with reading(state) as connection:
            if refresh or memory is None:
                state_view = read_state_view(
                    connection,
                    repository,
                    left,
                    state,
                    refresh=refresh,
                    spare=True,
                    read_sign_offs=signs,
                    find_validation=criteria,
                )
            else:
                state_view = memory.read(connection, repository, left, state, signs, criteria)
            if turn_options.operates and turn_options.closed is None:
                now = turn_options.clock.show()
                try:
                    state_view = add_operations(connection, pinned, state, state_view, now)
                except SourceUnavailable as error:  # jobs do not wait for what is to be done with datasets
                    launcher.outcome.leave_out("operations on datasets", str(error))
        launcher.outcome.absent.update({**state_view.absent, **away})
        launcher.outcome.barred.update(barred)
        _doubt_lost(launcher, state_view)
        digest = state_view.plan.digest()
        # a claimed unit begins in this turn if the unit that was to make the same does not: it may be in flight already
        claimed = any(group.claimed for one in state_view.plan.campaigns for group in one.groups)
        if claimed or not state_view.plan.is_empty:
            launcher.ledger.begin_plan(digest, {**state_view.plan.content(), "digest": digest})
        outcome = _launch(launcher, state_view, announce)
        outcome.troubles = (*outcome.troubles, *_keep_editions(state))
        return outcome


def _make_launcher(
    state: State, repository: Repository, engine: Engine, lease: Lease, turn_options: TurnOptions
) -> Launcher:
    sites = turn_options.permits.find_sites(repository)
    writer = Writer(engine, lease, turn_options.clock, turn_options.step)
    return Launcher(state, repository, sites, writer, turn_options)


def _launch(
    launcher: Launcher, state_view: StateView, announce: Announce, planned: frozenset[Address] | None = None
) -> Outcome:
    """Launches the units of the plan; if `planned` is given, only the units in it."""
    names = [view.campaign.name for view in state_view.views]
    verify, closed = launcher.options.permits.verify, launcher.options.closed

    def permit(chosen: Sequence[str]) -> Mapping[str, str]:
        for name in chosen:
            _check_gates(launcher, state_view, name)
        return verify(chosen, state_view.plan)

    def approve() -> Mapping[str, str]:
        try:
            return permit(names)
        except GuardRefused as refusal:
            # a stored plan is applied completely or not at all
            if planned is not None or isinstance(refusal, Fenced):
                raise
        for name in tuple(names):
            try:
                permit([name])
            except GuardRefused as refusal:
                if isinstance(refusal, Fenced) or (len(names) == 1 and not launcher.outcome.submitted):
                    raise
                launcher.outcome.leave_out(name, str(refusal), barred=True)
                names.remove(name)
        return permit(names)

    approve()
    for view in state_view.views:
        if view.campaign.state == "active" and closed is None and view.campaign.name in names:
            launcher.ledger.admit(view.campaign.name, view.entrants)
    launcher.outcome.count_plan(state_view.views)
    launcher.listen(announce(state_view))
    items = [item for item in list_work(state_view.views) if planned is None or item.address in planned]
    if closed is not None:
        begun = launcher.ledger.list_open(names)
        launcher.outcome.held[closed] += sum(item.address not in begun for item in items)
        items = [item for item in items if item.address in begun]
    launcher.launch(launcher.admit(state_view.views, items), approve)
    operator = Operator(
        launcher.repository,
        launcher.writer,
        launcher.options.permits,
        launcher.places,
        launcher.options.watch,
    )
    operator.operate(state_view.plan.operations, launcher.outcome)
    launcher.ledger.end_plan()
    launcher.places.mark_storages()
    return launcher.outcome


def _add_stored_operations(
    connection: Connection,
    repository: Repository,
    state: State,
    state_view: StateView,
    stored: Mapping[str, Any],
    turn_options: TurnOptions,
) -> StateView:
    """A state view with the operations of a stored plan, as they are now; others that are due by now are not done."""
    listed = {(one["kind"], one["subject"]) for one in stored.get("operations", [])}
    now = turn_options.clock.show()
    return add_operations(connection, repository, state, state_view, now, listed) if listed else state_view


def _check_gates(launcher: Launcher, state_view: StateView, name: str) -> None:
    """Raises `GuardRefused` if a signature that opened a gate before a campaign's steps counts no longer: it was revoked, or has ended.

    Other evidence is not read again before the next plan.
    """
    read_sign_offs = launcher.options.permits.open_sign_offs()
    for scheme in launcher.repository.schemes.values():
        before = scheme.list_before_campaign(name)
        for one in state_view.stages:
            if one.scheme != scheme.name or one.stage.name not in before:
                continue
            if one.state is not StageState.PASSED or one.matter is None:
                continue
            try:
                signed = read_sign_offs(one.matter).complete
            except SourceUnavailable as error:
                raise GuardRefused(f"the signatures of {one.name_gate()} cannot be read: {error}") from error
            if not signed:
                raise GuardRefused(f"{one.name_gate()} is not signed any more; plan again")


def _keep_editions(state: State) -> Iterator[str]:
    """Writes editions that are not in the state folder; yields why this cannot be done."""
    try:
        with reading(state) as connection:
            keep_editions(connection, state.editions)
    except SourceUnavailable as error:
        yield str(error)


def _doubt_lost(launcher: Launcher, state_view: StateView) -> None:
    """Raises an alarm for a campaign that lost very many published outputs at once: the storage may be wrong.

    It is not called for a stored plan, because a person has already seen that plan.
    """
    entries = [entry.split(" ") for entry in state_view.plan.lost]
    for view in state_view.views if state_view.plan.refreshed else ():
        name = view.campaign.name
        known = launcher.tallies.number_outputs(name)
        lost = [str(known.get(value, value)) for campaign, value, _ in entries if campaign == name]
        total, what = len(view.observed.produced) + len(lost), "published outputs are gone or changed"
        event = Alarm(f"campaign:{name}", "output", what, lost, lost, total)
        launcher.alarms.doubt(event, view.campaign.site)


def _check_storages(
    state: State, launcher: Launcher, repository: Repository, names: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Two mappings of campaign to reason: `away` (the storage cannot be reached) and `barred` (it belongs to another ledger)."""
    away: dict[str, str] = {}
    barred: dict[str, str] = {}
    for name in names:
        site = launcher.sites.get(repository.campaigns[name].campaign.site)
        if site is None:
            continue
        try:
            launcher.places.check_storage(str(state.storage(site.storage)))
        except SourceUnavailable as error:
            away[name] = str(error)
        except ForeignPlace as error:
            barred[name] = str(error)
    return away, barred


def _refuse_storages(away: Mapping[str, str], barred: Mapping[str, str]) -> None:
    """Raises an error if a storage is barred or away. Each reason is told once."""
    if barred:
        raise ForeignPlace("\n".join(dict.fromkeys(barred.values())))
    if away:
        raise SourceUnavailable("\n".join(dict.fromkeys(away.values())))


def _confirm_lost(connection: Connection, lost: Mapping[str, Mapping[bytes, str]]) -> None:
    """Checks again that each output that a stored plan calls lost is lost: the storage decides, not the plan."""
    for name, stated in lost.items():
        found = {value: flaw.trouble.value for value, flaw in find_lost(connection, name, stated)}
        kept = {value for value, _ in list_published(connection, name) if value in stated}
        if moved := [value for value in kept if found.get(value) != stated[value]]:
            what = f"{len(moved)} outputs of {name} that it calls lost are not, or not in that way"
            raise GuardRefused(f"the plan is stale: {what}; plan again")


def _read_lost(stored: Mapping[str, Any]) -> dict[str, dict[bytes, str]]:
    """The lost outputs with which a stored plan was computed: campaign → fingerprint → `gone` or `changed`."""
    found: dict[str, dict[bytes, str]] = {}
    for entry in stored["lost"]:
        name, value, trouble = entry.split(" ")
        found.setdefault(name, {})[bytes.fromhex(value)] = trouble
    return found


def _list_units(stored: Mapping[str, Any]) -> frozenset[Address]:
    """The units that a stored plan submits or restates; units that were in flight at that time are not included."""
    made = (PlanAction.SUBMIT.word, PlanAction.RESTATE.word)
    return frozenset(
        (item["campaign"], group["step"], run)
        for item in stored["campaigns"]
        for group in item["groups"]
        if group["action"] in made
        for run in parse_runs(group["runs"])
    )


def _list_gates(stored: Mapping[str, Any]) -> list[str]:
    """Why units of a campaign's plan wait for gates."""
    waits = (group["reason"] for group in stored["groups"] if group["action"] == PlanAction.WAITING.word)
    return sorted(reason for reason in waits if reason.startswith(GATE))


def _refuse_moved(stored: Mapping[str, Any], state_view: StateView, *, resumed: bool) -> None:
    """Raises `GuardRefused` with what changed since the plan was made. If a plan is `resumed`, its own writes do not count."""
    now = state_view.plan.content()
    moved = []
    if stored["ledger"]["id"] != now["ledger"]["id"]:
        moved.append("it was made with another ledger")
    if stored["ledger"]["serial"] != now["ledger"]["serial"] and not resumed:
        moved.append(f"the ledger moved ({stored['ledger']['serial']} -> {now['ledger']['serial']})")
    if stored["ledger"]["catalogue_serial"] != now["ledger"]["catalogue_serial"]:
        moved.append("runs or files were imported")
    for before, after in zip(stored["campaigns"], now["campaigns"], strict=True):
        changed = [pin for pin in before["pins"] if before["pins"][pin] != after["pins"].get(pin)]
        moved += [f"the {pin} of {before['campaign']} changed" for pin in changed]
        gates = [_list_gates(one) for one in (before, after)]
        if (
            gates[0] != gates[1] and not resumed
        ):  # else what it has made is in their words; closed ones still hold
            moved.append(f"a gate of {before['campaign']} opened or closed, or waits for something else")
    if before_after := _compare_operations(stored, now, resumed=resumed):
        moved.append(before_after)
    if not moved and not resumed:
        moved.append("its content was edited, or the tool changed")
    if moved:
        raise GuardRefused(f"the plan is stale: {'; '.join(moved)}; plan again")


def _compare_operations(stored: Mapping[str, Any], now: Mapping[str, Any], *, resumed: bool) -> str:
    """How the operations differ from those of a stored plan; empty if they do not. What a `resumed` plan has done does not count."""
    before, after = (
        {(one["kind"], one["subject"]): one for one in plan.get("operations", [])} for plan in (stored, now)
    )
    differing = [
        f"{key[0]} of {key[1]}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not (resumed and key not in after)
    ]
    return f"what is to go or may go changed: {', '.join(differing)}" if differing else ""
