"""Applying plans: exactly the plan that was made, or a refusal; and the reconciler's single turn."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.database import SourceUnavailable, State, held, opened, reading
from reconciler.gathering import Picture, read_lost, take_picture
from reconciler.launching import Launcher, Outcome, Report
from reconciler.ledger import Ledger
from reconciler.observation import read_identity, read_plan
from reconciler.ordering import Address, list_wishes
from reconciler.plan import ACTIONS, RESTATE, SUBMIT
from schemas.repository import Repository
from schemas.runs import parse_runs


class GuardRefused(Exception):
    """A guard refused: exit code 5, and nothing was done."""


Prelude = Callable[[Picture], Report | None]
"""Called with what is about to be applied; gives back who wants to hear of the units."""


@contextlib.contextmanager
def holding(state: State) -> Iterator[None]:
    """The right to write the ledger and to submit: of this machine one process at a time, and of all with PostgreSQL.

    Raises:
        GuardRefused: another process has it; the message says which.
        SourceUnavailable: the state folder cannot be written.
    """
    try:
        os.makedirs(state.folder, exist_ok=True)
        lock = os.open(state.folder / "apply.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SourceUnavailable(
            f"the state folder {state.folder} cannot be written: {error.strerror}"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 200, 0).decode("utf-8", "replace").strip()
            raise _refuse_second(holder) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        with held(state) as other:
            if other is not None:
                raise _refuse_second(other)
            yield
    finally:
        os.close(lock)


def _refuse_second(holder: str) -> GuardRefused:
    return GuardRefused(f"another apply is at work ({holder}); wait for its end, or stop it")


def apply_plan(state: State, repository: Repository, stored: Mapping[str, Any], prelude: Prelude) -> Outcome:
    """Does what a stored plan (its JSON data) says, if today's plan is still the same.

    A plan whose apply was interrupted may be applied again, if nothing else has moved since.

    Raises:
        GuardRefused: the plan is stale, incomplete, or another apply is at work.
        SourceUnavailable: something that must be read cannot be.
    """
    names = [item["campaign"] for item in stored["campaigns"]]
    lost = read_lost(stored)
    with holding(state):
        with reading(state) as connection:
            picture = take_picture(
                connection, repository, names, state, refresh=stored["refreshed"], lost=lost
            )
            begun = read_plan(connection, stored["digest"])
        fresh = picture.plan.digest() == stored["digest"]
        resumed = begun is not None and begun.ended is None and begun.serial == picture.plan.serial
        if not fresh:
            _refuse_moved(stored, picture, resumed=resumed)
        if picture.plan.unknown:
            raise GuardRefused(f"{picture.plan.unknown} units could not be judged; plan again when they can")
        with opened(state) as engine:
            ledger = Ledger(engine)
            ledger.begin_plan(stored["digest"], stored)
            launcher = Launcher(state, repository, ledger)
            launcher.settle()
            if not fresh:
                with reading(state) as connection:
                    picture = take_picture(connection, repository, names, state, lost=lost)
            return _launch(launcher, ledger, picture, prelude, _list_units(stored))


def reconcile(
    state: State, repository: Repository, names: Sequence[str], prelude: Prelude, *, refresh: bool = False
) -> Outcome:
    """One turn: settles what was left, plans, stores the plan, and applies exactly that one.

    Raises:
        GuardRefused: another apply is at work.
        SourceUnavailable: something that must be read cannot be.
    """
    with holding(state):
        with reading(state) as connection:
            read_identity(connection)  # without a run catalogue there is nothing to reconcile with
        with opened(state) as engine:
            ledger = Ledger(engine)
            launcher = Launcher(state, repository, ledger)
            launcher.settle()
            with reading(state) as connection:
                picture = take_picture(connection, repository, names, state, refresh=refresh)
            ledger.begin_plan(
                picture.plan.digest(), {**picture.plan.content(), "digest": picture.plan.digest()}
            )
            return _launch(launcher, ledger, picture, prelude)


def _launch(
    launcher: Launcher,
    ledger: Ledger,
    picture: Picture,
    prelude: Prelude,
    planned: frozenset[Address] | None = None,
) -> Outcome:
    """Launches what the picture's plan says; with `planned`, of that only these units."""
    for view in picture.views:
        if view.campaign.state == "active":
            ledger.admit(view.campaign.name, view.entrants)
    launcher.listen(prelude(picture))
    wishes = list_wishes(picture.views)
    launcher.launch([wish for wish in wishes if planned is None or wish.address in planned])
    ledger.end_plan()
    return launcher.outcome


def _list_units(stored: Mapping[str, Any]) -> frozenset[Address]:
    """The units that a stored plan submits or restates: one that it only saw in flight is not its own to make."""
    made = (ACTIONS[SUBMIT], ACTIONS[RESTATE])
    return frozenset(
        (item["campaign"], group["step"], run)
        for item in stored["campaigns"]
        for group in item["groups"]
        if group["action"] in made
        for run in parse_runs(group["runs"])
    )


def _refuse_moved(stored: Mapping[str, Any], picture: Picture, *, resumed: bool) -> None:
    """Names what moved since the plan was made; an interrupted plan's own writes do not count."""
    now = picture.plan.content()
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
    if not moved and not resumed:
        moved.append("its content was edited, or the tool changed")
    if moved:
        raise GuardRefused(f"the plan is stale: {'; '.join(moved)}; plan again")
