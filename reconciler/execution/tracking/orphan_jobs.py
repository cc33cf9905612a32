"""Strangers: attempts that a ledger began before it was put back from a copy, or made again, and does not know any more.

Nobody will take what they make: their jobs are ended, and their folders go once none is left. They are known by names that
begin with an id which the ledger had before; what bears its present id, or another ledger's, is not touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from reconciler.execution.sites.site_engines import Fleet
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.upkeep.succession import NAMED, list_formers
from reconciler.ledger.writing.leftovers import Leftovers
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.engine import EngineUnavailable, Sighting, Ticket
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain, read_plain

LONG_AGO = "1970-01-02T00:00:00Z"
MEMBERS = 1 << 24
"""Bytes that a batch's list of members may have."""


def end_strangers(writer: Writer, fleet: Fleet, workspace: Workspace, ledger: Leftovers) -> int:
    """Asks for the end of all jobs of attempts that the ledger had begun and does not know: how many still run.

    A site that cannot be asked is asked in the next turn; until then their folders stay.
    """
    with writer.reading() as connection:
        formers = {f"b2p-{one[:NAMED]}-" for one in list_formers(connection)}
    if not formers:
        return 0
    ours = tuple(sorted(formers))
    attempts = _list_unknown(workspace.names(), ours, ledger.list_known)
    batches = _list_unknown(workspace.batch_names(), ours, partial(ledger.list_known, of_batches=True))
    if not attempts and not batches:
        return 0
    running, complete = 0, True
    for site in fleet.list_sites():
        try:
            attached = fleet.engine(site).attached
            here = (
                [_make_ticket(workspace, name) for name in attempts]
                if attached
                else [ticket for name in batches for ticket in _read_members(workspace.batches / name)]
            )
            running += _end(fleet, site, here)
        except (EngineUnavailable, SourceUnavailable):
            complete = False  # it is not known whether one runs there
    if complete and not running:
        workspace.sweep(attempts, batches)
    return running


def _list_unknown(
    names: Iterable[str], ours: tuple[str, ...], list_known: Callable[[Iterable[str]], set[str]]
) -> list[str]:
    mine = [name for name in names if name.startswith(ours)]
    known = list_known(mine) if mine else set()
    return [name for name in mine if name not in known]


def _make_ticket(workspace: Workspace, name: str) -> Ticket:
    return Ticket(name, "", workspace.path(name), name, 0, LONG_AGO)


def _read_members(home: Path) -> list[Ticket]:
    """The members of a batch, as its folder has them; none where it does not say."""
    try:
        members = json.loads(read_plain(home / "members.json", MEMBERS))
        return [
            Ticket(str(name), "", Path(str(folder)), home.name, index, LONG_AGO, home=home)
            for index, (folder, name, _) in enumerate(members)
        ]
    except (OSError, NotPlain, ValueError, TypeError):
        return []


def _end(fleet: Fleet, site: str, tickets: Sequence[Ticket]) -> int:
    """How many of the tickets' jobs still run at a site, after their end was asked for."""
    engine = fleet.engine(site)
    if not tickets:
        return 0
    found = engine.find(tickets)
    known = [
        replace(ticket, reference=reference) for ticket in tickets for reference in found.get(ticket.name, ())
    ]
    seen = engine.query(known) if known else {}
    alive = [
        ticket
        for ticket in known
        if ticket.name in seen and seen[ticket.name].sighting not in (Sighting.ENDED, Sighting.ABSENT)
    ]
    if alive:
        engine.cancel(alive)
    return len(alive)
