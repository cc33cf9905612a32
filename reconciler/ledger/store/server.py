"""Connections to PostgreSQL. Each waits only a limited time for a server that does not answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from reconciler.ledger.store.state import parse_address, show_address
from reconciler.outside.errors import SourceUnavailable

WRITING = 0x62327001
"""Number of PostgreSQL's advisory lock, which allows one writing transaction at a time."""

SILENT = "60s"
"""How long a writing transaction may be idle, so that a stopped process does not block the others for ever."""

STATEMENT = 120.0
"""Seconds that the server may need for one statement; an import of a million runs needs a tenth of it."""

ANSWER = 150.0
"""Seconds to wait for an answer. A working server gives up earlier and says so."""

MIGRATION = 3600.0
"""Seconds for a statement of a migration, which may copy the largest table."""

DEAD = 30
"""Seconds after which a connection ends if the other side confirms nothing."""


def make_server_engine(server: str, *, query_only: bool, migrating: bool = False) -> Engine:
    """An SQLAlchemy engine for the database at an address.

    Raises:
        SourceUnavailable: the address is not valid, or the driver is not installed.
    """
    if (url := parse_address(server)) is None:
        raise SourceUnavailable(f"the ledger would be in {show_address(server)}")
    statement = MIGRATION if migrating else STATEMENT
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=_describe(statement, silent="0" if query_only else SILENT),
            isolation_level="REPEATABLE READ" if query_only else "READ COMMITTED",
            execution_options={"postgresql_readonly": query_only},
        )
        _bound(engine, statement + ANSWER - STATEMENT)
    except ModuleNotFoundError as error:
        raise SourceUnavailable("PostgreSQL needs its driver: install `b2prod[postgresql]`") from error
    if not query_only:

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITING})")

    return engine


def _describe(statement: float, silent: str) -> Mapping[str, Any]:
    """The settings of a connection, on the server's side and on ours."""
    settings = {
        "lock_timeout": "30s",
        "timezone": "UTC",
        "statement_timeout": f"{statement * 1000:.0f}ms",
        # no limit for reading: it may wait for the storage, and blocks nobody
        "idle_in_transaction_session_timeout": silent,
        # so the server notices that our machine is gone, and releases its locks
        "tcp_keepalives_idle": str(DEAD // 3),
        "tcp_keepalives_interval": str(DEAD // 6),
        "tcp_keepalives_count": "4",
        "tcp_user_timeout": f"{DEAD}s",
    }
    return {
        "connect_timeout": 10,
        "application_name": f"b2prod, process {os.getpid()} on {socket.gethostname()}"[:63],
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "keepalives": 1,
        "keepalives_idle": DEAD // 3,
        "keepalives_interval": DEAD // 6,
        "keepalives_count": 4,
        "tcp_user_timeout": DEAD * 1000,
    }


def _bound(engine: Engine, seconds: float) -> None:
    """Ends connections of an engine that waited `seconds` for an answer.

    A proxy or a firewall may confirm packets for a server that is gone, so the kernel's limits are not enough.
    """
    from psycopg import Connection as Session  # noqa: PLC0415 -- it may not be installed
    from psycopg import OperationalError, pq  # noqa: PLC0415 -- as above

    class Bounded(Session[Any]):
        """A connection whose waits all have a limit."""

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, seconds if timeout is None else timeout)
            except OperationalError:
                if (
                    self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE
                ):  # its next answer could belong to the old request
                    self.pgconn.finish()
                raise

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, words: Any, options: Any) -> Any:
        return Bounded.connect(*words, **options)
