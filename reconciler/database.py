"""Opening the database of run catalogue and ledger: for reading, or for writing, never for both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError

from reconciler import tables

HEAD = "0002"
"""The newest migration, the one that this tool reads and writes."""

DATABASE = "b2prod.sqlite"


class SourceUnavailable(Exception):
    """Something that must be read cannot be, or does not answer in full: exit code 4, and nothing is done."""


@dataclass(frozen=True, slots=True)
class State:
    """The folder of the database, the attempts and, with a relative storage, the outputs."""

    folder: Path

    @property
    def database(self) -> Path:
        """The database's file."""
        return self.folder / DATABASE

    @property
    def attempts(self) -> Path:
        """The folder of the attempts' own folders."""
        return self.folder / "attempts"

    def storage(self, storage: str) -> Path:
        """A site's storage as an absolute path."""
        return self.folder / storage


@contextlib.contextmanager
def reading(state: State) -> Iterator[Connection]:
    """A connection that cannot write, all of whose reads are of one moment.

    Raises:
        SourceUnavailable: there is no database yet, or it cannot be read.
    """
    if not state.database.exists():
        message = f"there is no run catalogue at {state.database}; begin with `b2prod runs import` and `b2prod files import`"
        raise SourceUnavailable(message)
    with _translated(state), _connected(state, "BEGIN", query_only=True) as connection, connection.begin():
        _refuse_other_version(connection, state)
        yield connection


@contextlib.contextmanager
def opened(state: State) -> Iterator[Engine]:
    """The database for writing, made or brought up to date where necessary; each transaction is one writer's.

    Raises:
        SourceUnavailable: the database cannot be written, or a newer b2prod has written it.
    """
    try:
        os.makedirs(state.folder, exist_ok=True)
    except OSError as error:
        raise SourceUnavailable(f"the state folder cannot be made: {error}") from error
    with _translated(state):
        engine = _make_engine(state, "BEGIN IMMEDIATE", query_only=False)
        try:
            _migrate(engine, state)
            yield engine
        finally:
            engine.dispose()


@contextlib.contextmanager
def _connected(state: State, begin: str, *, query_only: bool) -> Iterator[Connection]:
    engine = _make_engine(state, begin, query_only=query_only)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _make_engine(state: State, begin: str, *, query_only: bool) -> Engine:
    engine = create_engine(f"sqlite:///{state.database}")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's own BEGIN below is the only one
        connection.execute("PRAGMA busy_timeout = 30000")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _refuse_other_version(connection: Connection, state: State) -> None:
    version = _version(connection)
    if version != HEAD:
        message = f"{state.database} has version {version}, this b2prod reads {HEAD}; any writing command migrates an older one"
        raise SourceUnavailable(message)


def _migrate(engine: Engine, state: State) -> None:
    with engine.begin() as connection:
        version = _version(connection)
        if version == HEAD:
            return
        if version is not None and version > HEAD:
            raise SourceUnavailable(
                f"{state.database} was written by a newer b2prod (version {version}, known is {HEAD})"
            )
        from alembic import command, config  # noqa: PLC0415 -- costs 0.2 s, and is needed once

        settings = config.Config()
        settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        settings.attributes["connection"] = connection
        command.upgrade(settings, HEAD)
        if connection.execute(select(tables.ledger.c.id)).first() is None:
            connection.execute(tables.ledger.insert().values(id=uuid4().hex, serial=0, catalogue_serial=0))


@contextlib.contextmanager
def _translated(state: State) -> Iterator[None]:
    try:
        yield
    except IntegrityError:  # a breach of an invariant is a defect, not a database out of reach
        raise
    except DatabaseError as error:
        raise SourceUnavailable(f"the database {state.database} cannot be used: {error.orig}") from error
