"""Transactions on the ledger: under a lease and its fence, recorded in the journal."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Executable, Select, select, update

from reconciler.ledger.schema.tables import ledger, plans
from reconciler.ledger.writing.journal import Journal, adopt_rows
from reconciler.ledger.writing.lease import PROMPT, Lease
from reconciler.outside.clock import CLOCK, Clock


def now() -> str:
    """The time, UTC, to the second."""
    return CLOCK.show()


def name_user() -> str:
    """The present user for records: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"[:120]


Step = Callable[[], None]
"""Called after each successful write."""


class Writer:
    """Opens transactions on one ledger. Without a lease they are for decisions of people, which need no fence."""

    def __init__(
        self, engine: Engine, lease: Lease | None, clock: Clock = CLOCK, step: Step | None = None
    ) -> None:
        self.clock = clock
        self._tell = step or (lambda: None)
        self.plan: str | None = None
        self._engine = engine
        self._lease = lease
        self._due = 0.0
        with engine.begin() as connection:
            self.ledger: str = connection.execute(select(ledger.c.id)).scalar_one()
            adopt_rows(connection, clock.show())

    @contextlib.contextmanager
    def writing(self, *, polling: bool = False) -> Iterator[Journal]:
        """One transaction, recorded in the journal. With `polling` the ledger's serial does not change: plans stay valid.

        Raises:
            Fenced: another process has the lease now; nothing was written.
        """
        with self._engine.begin() as connection:
            self._touch(connection)
            journal = Journal(connection)
            yield journal
            journal.commit(self.clock.show(), self.fence)
            if not polling:
                connection.execute(update(ledger).values(serial=ledger.c.serial + 1))
                if self.plan is not None:
                    serial = select(ledger.c.serial).scalar_subquery()
                    mine = plans.c.digest == self.plan
                    connection.execute(update(plans).where(mine).values(serial=serial))
        self._tell()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading the ledger; it needs no lease."""
        with self._engine.begin() as connection:
            yield connection

    def read(self, query: Executable) -> Sequence[Any]:
        """The rows of a query; it needs no lease."""
        with self.reading() as connection:
            return connection.execute(query).all()

    def find(self, query: Select[*tuple[Any, ...]]) -> Any:
        """The first value in the first row of a query; None if it finds no row."""
        with self.reading() as connection:
            return connection.execute(query.limit(1)).scalar()

    @property
    def fence(self) -> int:
        """The fence of the lease; 0 without a lease."""
        return self._lease.fence if self._lease else 0

    @property
    def prompt(self) -> float:
        """Seconds that an engine may wait for a command or a server, because nothing prolongs the lease in the meantime."""
        return PROMPT if self._lease is None else min(PROMPT, 0.8 * self._lease.seconds / 3)

    def prolong(self, *, idle: bool = False) -> None:
        """Prolongs the lease if it is still ours, before an action outside the ledger. `idle`: only when a third of it is over.

        Raises:
            Fenced: another process has the lease.
        """
        if self._lease is None or (idle and self.clock.steady() < self._due):
            return
        with self._engine.begin() as connection:
            self._touch(connection)
        self._tell()

    def _touch(self, connection: Connection) -> None:
        if self._lease is not None:
            self._lease.prolong(connection)
            self._due = self.clock.steady() + self._lease.seconds / 3
