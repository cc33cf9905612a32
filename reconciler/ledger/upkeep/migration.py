"""Migrating a state: its tables to this tool's version, in one transaction, with a copy of an SQLite file beside it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

from reconciler.ledger.store.database import State, has_database, migrating
from reconciler.ledger.store.privacy import FILE_MODE
from reconciler.ledger.store.schema_versions import (
    HEAD,
    list_versions,
    read_version,
    record_upgrade,
    refuse_other_version,
    upgrade_tables,
)
from reconciler.ledger.writing.lease import refuse_holder
from reconciler.outside.durable import sync
from reconciler.outside.errors import SourceUnavailable


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did: the versions before and after, equal if there was nothing to do; `copy` is the state as it was before."""

    before: str
    after: str
    copy: Path | None


def migrate(state: State) -> Migrated:
    """Brings the tables of a state to this tool's version, completely or not at all.

    Raises:
        SourceUnavailable: there is no state, or it cannot be written or copied.
        OtherVersion: it is newer than this tool.
        GuardRefused: a reconciler is at work in it.
    """
    if not has_database(state):
        raise SourceUnavailable(f"there is no state at {state.address}; there is nothing to migrate")
    with migrating(state) as connection:
        version = read_version(connection)
        if version is None:
            raise SourceUnavailable(f"{state.address} has no tables of b2prod; there is nothing to migrate")
        if version == HEAD:
            return Migrated(HEAD, HEAD, None)
        if version not in list_versions():
            refuse_other_version(state, connection, version)
        # what is copied is what is migrated: this transaction is the only one that writes, and wrote nothing so far
        copy = _copy(state, version) if state.server is None else None
        upgrade_tables(connection)
        # leases have been where they are only since some version; a refusal undoes all of this
        refuse_holder(connection)
        record_upgrade(connection)
    return Migrated(version, HEAD, copy)


def _copy(state: State, version: str) -> Path:
    """A new file beside an SQLite database, with all that was committed to it."""
    file = _choose(state.database.with_name(f"{state.database.stem}-{version}{state.database.suffix}"))
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
        copy_file(state.database, file)
        for path in (file, file.parent):
            sync(path)
    except (sqlite3.Error, OSError) as error:
        file.unlink(missing_ok=True)
        raise SourceUnavailable(
            f"{file} cannot be written, and nothing was migrated without a copy: {error}"
        ) from error
    return file


def _choose(file: Path) -> Path:
    """A name that no file has: the one given, or with a number."""
    others = (file.with_name(f"{file.stem}-{number}{file.suffix}") for number in count(2))
    return next(name for name in chain([file], others) if not os.path.lexists(name))


def copy_file(source: Path, target: Path) -> None:
    """Copies all that was committed to an SQLite database, as of one moment, without holding up those who write it."""
    with (
        closing(sqlite3.connect(f"file:{quote(str(source.absolute()))}?mode=ro", uri=True)) as before,
        closing(sqlite3.connect(target)) as after,
    ):
        before.backup(after)
        after.execute("PRAGMA journal_mode = DELETE")
