"""Leases: the right to apply. A row of the ledger has the holder, a fence and an end; the database's clock decides on the end.

Every write under a lease checks the fence in its own transaction, and prolongs the lease. A process that was stopped until
after the end of its lease finds that the fence has grown, and cannot write any more.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Engine, cast, extract, func, insert, select, update
from sqlalchemy.exc import DatabaseError

from reconciler.ledger.schema.tables import leases
from reconciler.ledger.store.database import State, opened
from reconciler.outside.errors import GuardRefused

SECONDS = 90.0
"""Seconds from the holder's last write to the end of the lease."""

CALL = 20.0
"""Limit in seconds for one call of an engine: much less than a third of a lease."""

PROMPT = 0.8 * CALL
"""Seconds that an engine waits for a command or a server, so that its own call ends in time."""

APPLY = "apply"
"""The scope of a lease for submitting, collecting and publishing; there is one in a ledger."""


_HELD: set[tuple[str, int]] = set()
"""The leases of this process at the moment: ledgers and fences."""


class Fenced(GuardRefused):
    """Another process has taken over the lease; this write was not recorded."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write with a fence."""

    holder: str
    fence: int
    seconds: float

    def prolong(self, connection: Connection) -> None:
        """Checks, in the transaction of `connection`, that the lease is still valid, and prolongs it by its full length.

        Raises:
            Fenced: another process has the lease.
        """
        mine = update(leases).where(leases.c.scope == APPLY, leases.c.fence == self.fence)
        prolonged = mine.where(leases.c.holder == self.holder)
        expires = tell_clock(connection) + self.seconds
        if connection.execute(prolonged.values(expires=expires)).rowcount != 1:
            raise Fenced(
                "another reconciler took over, because this one was silent for too long; it goes on from here"
            )


@contextlib.contextmanager
def holding(state: State, seconds: float = SECONDS) -> Iterator[Lease]:
    """The lease for applying; it is given back at the end of the context.

    Raises:
        GuardRefused: another process has it; the message says which, and when that last wrote.
        SourceUnavailable: the ledger cannot be written.
    """
    with opened(state) as engine:
        held = {fence for address, fence in _HELD if address == state.address}
        lease = _acquire(engine, seconds, held)
        mine = (state.address, lease.fence)
        _HELD.add(mine)
        try:
            yield lease
        finally:
            _HELD.discard(mine)
            _release(engine, lease)


def _release(engine: Engine, lease: Lease) -> None:
    """Gives a lease back. If the ledger is out of reach, this process knows its own lease later; others wait for its end."""
    with contextlib.suppress(DatabaseError), engine.begin() as connection:
        mine = (leases.c.scope == APPLY, leases.c.fence == lease.fence)
        connection.execute(update(leases).where(*mine).values(expires=0.0))


def unlock(state: State, fence: int) -> str:
    """Takes the lease with that fence from its holder, whose writes are then refused. Returns the holder's name.

    Raises:
        GuardRefused: there is no lease with that fence.
    """
    with opened(state) as engine, engine.begin() as connection:
        row = _read_lease(connection)
        if row is None or row.fence != fence or row.expires == 0.0:
            raise GuardRefused("there is no such lease now; nothing was changed")
        connection.execute(update(leases).values(fence=fence + 1, expires=0.0))
        return _show(row.holder)


def refuse_holder(connection: Connection) -> None:
    """Checks that nobody has the lease, or only a process that is certainly dead.

    Raises:
        GuardRefused: another process has it.
    """
    row = _read_lease(connection)
    if row is not None and row.expires >= row.now and not _is_dead(row.holder):
        raise GuardRefused(
            f"an apply is at work ({_show(row.holder)}); stop it first, also where it is a service.{_tell_end(row)}"
        )


def _read_lease(connection: Connection) -> Any:
    now = tell_clock(connection).label("now")
    return connection.execute(select(leases, now).where(leases.c.scope == APPLY)).first()


def _acquire(engine: Engine, seconds: float, held: Container[int]) -> Lease:
    holder = describe_process()
    with engine.begin() as connection:
        now = tell_clock(connection)
        row = _read_lease(connection)
        if row is None:
            values = {"scope": APPLY, "holder": holder, "fence": 1, "seconds": seconds}
            connection.execute(insert(leases).values(**values, expires=now + seconds))
            return Lease(holder, 1, seconds)
        free = leases.c.expires < now
        left = row.holder == holder and row.fence not in held  # our own lease, which could not be given back
        if left or _is_dead(row.holder):
            free |= leases.c.holder == row.holder
        at = (leases.c.scope == APPLY, leases.c.fence == row.fence, free)
        values = {"holder": holder, "fence": row.fence + 1, "seconds": seconds}
        taken = connection.execute(update(leases).where(*at).values(**values, expires=now + seconds))
        if taken.rowcount == 1:
            return Lease(holder, row.fence + 1, seconds)
    silent = max(0.0, row.now - (row.expires - row.seconds))
    raise GuardRefused(
        f"another apply is at work ({_show(row.holder)}, heard of {silent:.0f} s ago); wait for its end, or stop it."
        f"{_tell_end(row)}, or at once by `b2prod unlock {row.fence}`"
    )


def _tell_end(row: Any) -> str:
    return f" Where it is dead, its lease ends {max(0.0, row.expires - row.now):.0f} s from now"


def describe_process() -> str:
    """Text that names this process: `process 4711 on host` for people, and a unique mark for `_is_dead`."""
    return f"process {os.getpid()} on {socket.gethostname()} [{_place()}:{_started(os.getpid())}]"


def _show(holder: str) -> str:
    return holder.partition(" [")[0]


def _is_dead(holder: str) -> bool:
    """Whether a holder is certainly dead: its process would be visible from here, and does not exist.

    Machines may have equal names, and containers equal process numbers. A process on another machine, or from before the last
    start of this machine, is never called dead here: the end of its lease decides.
    """
    name, _, mark = holder.partition(" [")
    place, _, started = mark.rstrip("]").rpartition(":")
    return place == _place() and _started(int(name.split()[1])) != started


def _place() -> str:
    """Text that is equal where process numbers mean the same: one start of one machine, one container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the start of the machine; None if it does not exist, or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def tell_clock(connection: Connection) -> ColumnElement[float]:
    """The database's clock, in seconds since 1970."""
    if connection.dialect.name == "sqlite":
        return (func.julianday("now", type_=Double) - 2440587.5) * 86400.0
    return cast(extract("epoch", func.clock_timestamp()), Double)
