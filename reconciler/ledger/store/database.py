"""Opens the database of run catalogue and ledger, either for reading or for writing.

It is an SQLite file in the state folder, or a PostgreSQL database. All reads of a connection see one moment, and only one
process writes at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import NullPool

from reconciler.ledger.store.privacy import close_state
from reconciler.ledger.store.schema_versions import (
    list_broken_references,
    make_tables,
    read_version,
    record_upgrade,
    refuse_other_version,
)
from reconciler.ledger.store.server import make_server_engine
from reconciler.ledger.store.state import State
from reconciler.outside.errors import OtherVersion, SourceUnavailable
from reconciler.outside.filesystem import NETWORKED, find_type

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

__all__ = ["State", "has_database", "insert_new", "migrating", "opened", "reading", "refuse_version"]


def has_database(state: State) -> bool:
    """Whether a database with tables exists (SQLite: whether the file exists)."""
    if state.server is None:
        return state.database.exists()
    with _connected(state) as connection:
        return read_version(connection) is not None


@contextlib.contextmanager
def reading(state: State) -> Iterator[Connection]:
    """A connection that cannot write; all its reads see one moment.

    Raises:
        SourceUnavailable: there is no database yet, or it cannot be read, or its tables have another version.
    """
    if state.server is None and not state.database.exists():
        raise _nothing_recorded(state)
    with _standing(state), _connected(state) as connection:
        version = read_version(connection)
        if version is None:
            raise _nothing_recorded(state)
        refuse_other_version(state, connection, version)
        yield connection


def refuse_version(state: State) -> None:
    """Checks the version of the tables. A state that is missing or cannot be read is accepted here; other calls report it.

    Raises:
        OtherVersion: its tables are older or newer than this tool's.
    """
    try:
        with reading(state):
            pass
    except SourceUnavailable as error:
        if isinstance(error, OtherVersion):
            raise


@contextlib.contextmanager
def opened(state: State) -> Iterator[Engine]:
    """The database for writing. It is made if there is none. Only one transaction writes at a time.

    Raises:
        SourceUnavailable: the database cannot be written.
        OtherVersion: its tables are older (`b2prod migrate` changes them) or newer.
    """
    with _opened(state) as engine:
        try:
            close_state(state)
        except OSError as error:
            raise SourceUnavailable(f"the state folder cannot be made: {error}") from error
        with engine.begin() as connection:
            version = read_version(connection)
            if version is not None:
                refuse_other_version(state, connection, version)
        if version is None:
            with migrating(state) as connection:
                if read_version(connection) is None:  # no other process made it since
                    make_tables(connection)
                    record_upgrade(connection)
        yield engine


@contextlib.contextmanager
def migrating(state: State) -> Iterator[Connection]:
    """One transaction in which tables are made or altered; SQLite checks references between rows only at its end.

    The folder of an SQLite file must exist.

    Raises:
        SourceUnavailable: the database cannot be written, or a row would refer to a missing row; nothing changed.
    """
    with _opened(state, enforcing=False) as engine, engine.begin() as connection:
        yield connection
        if (broken := next(list_broken_references(connection), None)) is not None:
            raise SourceUnavailable(f"{state.address} was not migrated, and is as it was: {broken}")


@contextlib.contextmanager
def _opened(state: State, *, enforcing: bool = True) -> Iterator[Engine]:
    if state.copy is not None:
        raise SourceUnavailable("an export of the state is there to be read, not to be written")
    with _engine(state, query_only=False, enforcing=enforcing) as engine:
        yield engine


def insert_new(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert into `table` that skips rows that exist already, by any unique key."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 -- it loads in 0.03 s

    return postgresql.insert(table).on_conflict_do_nothing()


def _nothing_recorded(state: State) -> SourceUnavailable:
    return SourceUnavailable(
        f"there is no run catalogue at {state.address}; begin with `b2prod runs import` and `b2prod files import`"
    )


@contextlib.contextmanager
def _connected(state: State) -> Iterator[Connection]:
    """A connection that cannot write, in a transaction."""
    with _engine(state, query_only=True) as engine, engine.connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def _engine(state: State, *, query_only: bool, enforcing: bool = True) -> Iterator[Engine]:
    """A database; its errors become `SourceUnavailable`. If the ledger must not be at this place, nothing is made there."""
    with _translated(state):
        engine = _make_engine(state, query_only=query_only, enforcing=enforcing)
        try:
            yield engine
        finally:
            engine.dispose()


def _make_engine(state: State, *, query_only: bool, enforcing: bool = True) -> Engine:
    if state.server is None:
        return _make_file_engine(state, query_only=query_only, enforcing=enforcing)
    return make_server_engine(state.server, query_only=query_only, migrating=not enforcing)


def _make_file_engine(state: State, *, query_only: bool, enforcing: bool) -> Engine:
    kind = None if state.copy else find_type(state.folder)
    if kind in NETWORKED:
        raise SourceUnavailable(
            f"{state.folder} is on {kind}, where SQLite loses data: keep the state on a local disk"
            " (--state, B2PROD_STATE), or the ledger in PostgreSQL (--database, B2PROD_DATABASE)"
        )
    url = URL.create("sqlite", database=str(state.database))
    if query_only and not _may_write(state.database):
        url = _find_file(state.database)
    if query_only:
        return _prepare_reading(url)
    engine = create_engine(url)
    _configure(engine, query_only=False, enforcing=enforcing)
    return engine


@lru_cache(maxsize=8)
def _prepare_reading(url: URL) -> Engine:
    """An engine to read a file, kept with the statements that it has translated; that takes longer than most reads.

    It keeps no connection open: each place of `reading` has one, and closes it.
    """
    engine = create_engine(url, poolclass=NullPool)
    _configure(engine, query_only=True, enforcing=True)
    return engine


def _configure(engine: Engine, *, query_only: bool, enforcing: bool) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # only the BEGIN below is used
        for setting in (
            "busy_timeout = 30000",
            "query_only = ON" if query_only else "journal_mode = WAL",
            "synchronous = FULL",
            f"foreign_keys = {'ON' if enforcing else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if query_only else "BEGIN IMMEDIATE")


def _find_file(file: Path) -> URL:
    """The file as SQLite opens it for users who may only read it.

    SQLite keeps the last writes in two files beside the ledger. If they are missing, nobody writes. Then the ledger is read
    without them and without a lock, and `_standing` notices if somebody begins to write.
    """
    alone = {"immutable": "1"} if _stands_alone(file) else {}
    name = f"file:{quote(os.path.abspath(file))}"
    return URL.create("sqlite", database=name, query={"uri": "true", "mode": "ro", **alone})


def _stands_alone(file: Path) -> bool:
    return not _may_write(file) and not _has_newer(file)


def _may_write(file: Path) -> bool:
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def _has_newer(file: Path) -> bool:
    return file.with_name(f"{file.name}-wal").exists()


@contextlib.contextmanager
def _standing(state: State) -> Iterator[None]:
    """Refuses what was read without a lock, if somebody wrote the file meanwhile."""
    if state.server is not None or not _stands_alone(state.database):
        yield
        return
    before = _describe(state.database)
    yield
    if _has_newer(state.database) or _describe(state.database) != before:
        raise SourceUnavailable(f"{state.database} was written while it was read; do it again")


def _describe(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _translated(state: State) -> Iterator[None]:
    try:
        yield
    except IntegrityError:  # a broken invariant is a defect; the database can be reached
        raise
    except DatabaseError as error:
        said = state.redact(" ".join(str(error.orig).split()))
        raise SourceUnavailable(f"the database {state.address} cannot be used: {said}") from error
