"""Backups: writes a ledger into one file while a reconciler works, and restores it into a state, SQLite or PostgreSQL.

A backup is an SQLite database with all tables at one moment. A restored ledger gets a new id (`succession`): it does not
know the attempts that were begun after the backup, and new attempts must not get their names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, delete, func, select, update

from reconciler.ledger.reading.observation import Identity, read_identity
from reconciler.ledger.schema import tables
from reconciler.ledger.schema.rows import copy_rows, move_counters
from reconciler.ledger.store.database import State, has_database, opened, reading
from reconciler.ledger.store.privacy import FILE_MODE
from reconciler.ledger.store.schema_versions import make_tables
from reconciler.ledger.upkeep.migration import copy_file, migrate
from reconciler.ledger.upkeep.succession import list_formers, succeed
from reconciler.ledger.writing.lease import holding
from reconciler.outside.durable import sync
from reconciler.outside.errors import GuardRefused, SourceUnavailable

NAME = re.compile(r"b2prod-[0-9a-f]{8}-[0-9]{8}T[0-9]{6}Z-[0-9]+\.sqlite")
"""The names of backups in a folder."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup: its file, and the id and serials of its ledger."""

    file: Path
    identity: Identity


def write_backup(state: State, target: Path, stamp: str, keep: int | None = None) -> Backup:
    """Writes a backup to a file; or into a folder, under a new name, and keeps the newest `keep` there. `stamp` is the time.

    Raises:
        SourceUnavailable: the ledger cannot be read, or the file cannot be written.
    """
    with reading(state) as connection:
        identity = read_identity(connection)  # refuses a ledger of another version
    folder = target if target.is_dir() else target.parent
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(prefix=".b2prod-backup-", dir=folder, delete=False) as made:  # 0600
            part = Path(made.name)
        if state.server is None:
            copy_file(state.database, part)
        else:
            with reading(state) as connection, opened_copy(part) as engine, engine.begin() as copy:
                make_tables(copy)
                copy_rows(connection, copy, tables.metadata.sorted_tables)
        with opened_copy(part) as engine, engine.connect() as connection:
            identity = read_identity(connection)
        file = target
        if target.is_dir():
            compact = re.sub(r"[-:]", "", stamp)
            file = target / f"b2prod-{identity.ledger[:8]}-{compact}-{identity.serial}.sqlite"
        sync(part)
        os.replace(part, file)
        sync(folder)
        if target.is_dir() and keep is not None:
            for old in sorted(name for name in os.listdir(target) if NAME.fullmatch(name))[:-keep]:
                (target / old).unlink()
    except (OSError, sqlite3.Error) as error:
        raise SourceUnavailable(f"no backup can be written to {target}: {error}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return Backup(file, identity)


def restore_backup(state: State, file: Path) -> Backup:
    """Restores a backup into a state that is empty, or has an older moment of the same ledger. Returns file and old identity.

    Raises:
        GuardRefused: the state has another ledger, or is newer than the backup; or a reconciler is running.
        SourceUnavailable: the file is not a backup, or the state cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="b2prod-restore-") as folder:
        copy = State(Path(folder))
        try:
            shutil.copyfile(file, copy.database)
            os.chmod(copy.database, FILE_MODE)
            _check_copy(file, copy.database)
        except (OSError, sqlite3.Error) as error:
            raise SourceUnavailable(f"{file} is not a backup of a ledger: {error}") from error
        migrate(copy)
        with opened(copy) as engine, engine.begin() as connection:
            before, formers = read_identity(connection), list_formers(connection)
            succeed(connection, f"it was put back from a backup at serial {before.serial}")
        with contextlib.ExitStack() as stack:
            if has_database(state):
                _refuse_newer(state, before, formers)
                stack.enter_context(holding(state))
            if state.server is None:
                _put_into_file(copy, state)
            else:
                _put_into_server(copy, state)
    return Backup(file, before)


def _check_copy(file: Path, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        said = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":
            raise SourceUnavailable(f"{file} is damaged: {said}")
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not {"ledger", "alembic_version", "events"} <= names:
            raise SourceUnavailable(f"{file} is not a backup of a ledger: it lacks its tables")
        if connection.execute("SELECT count(*) FROM ledger").fetchone()[0] != 1:
            raise SourceUnavailable(f"{file} is not a backup of a ledger: it does not say of which")
        if "leases" in names:  # its holder works with another ledger
            connection.execute("UPDATE leases SET expires = 0")
            connection.commit()


def _refuse_newer(state: State, backup: Identity, formers: frozenset[str]) -> None:
    with reading(state) as connection:
        there, theirs = read_identity(connection), list_formers(connection)
        begun = connection.execute(select(func.count()).select_from(tables.intents)).scalar_one()
    if not begun:
        return
    what = f"{state.address} has the ledger {there.ledger[:8]} at serial {there.serial}"
    if there.ledger != backup.ledger and there.ledger not in formers:
        gone_on = " which went on from it" if backup.ledger in theirs else ""
        raise GuardRefused(
            f"{what},{gone_on} and the backup is of {backup.ledger[:8]}; put it into an empty state"
        )
    if there.ledger == backup.ledger and there.serial > backup.serial:
        raise GuardRefused(f"{what}, and the backup is older, of serial {backup.serial}; nothing was changed")


def _put_into_file(copy: State, state: State) -> None:
    with opened(state):
        pass  # this makes the folder and the file, closed to others
    with (
        closing(sqlite3.connect(copy.database)) as before,
        closing(sqlite3.connect(state.database, timeout=30)) as after,
    ):
        before.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before.backup(after)  # in one transaction


def _put_into_server(copy: State, state: State) -> None:
    with reading(copy) as source, opened(state) as engine, engine.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
        copy_rows(source, connection, tables.metadata.sorted_tables)
        connection.execute(update(tables.leases).values(expires=0.0))
        move_counters(connection, tables.metadata.sorted_tables)


@contextlib.contextmanager
def opened_copy(file: Path) -> Iterator[Engine]:
    """The SQLite database in a file, open within the context."""
    engine = create_engine(f"sqlite:///{file}")
    try:
        yield engine
    finally:
        engine.dispose()
