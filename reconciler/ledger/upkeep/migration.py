"""Migrates a state to this tool's version of the tables, in one transaction, after a copy of an SQLite file was made."""

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
    """The result of a migration: versions before and after, equal if nothing was done; `copy` is the file before it."""

    before: str
    after: str
    copy: Path | None


def migrate(state: State) -> Migrated:
    """Migrates the tables of a state to this tool's version, completely or not at all.

    Raises:
        SourceUnavailable: there is no state, or it cannot be written or copied.
        OtherVersion: it is newer than this tool.
        GuardRefused: a reconciler is running.
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
        # the copy has what is migrated: only this transaction can write, and it wrote nothing so far
        copy = _copy(state, version) if state.server is None else None
        upgrade_tables(connection)
        # older versions have leases in another place, so this comes after the upgrade; a refusal undoes everything
        refuse_holder(connection)
        record_upgrade(connection)
    return Migrated(version, HEAD, copy)


def _copy(state: State, version: str) -> Path:
    """Copies an SQLite database into a new file beside it, with everything that was committed."""
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
    """A name that no file has: the given one, or the same with a number."""
    others = (file.with_name(f"{file.stem}-{number}{file.suffix}") for number in count(2))
    return next(name for name in chain([file], others) if not os.path.lexists(name))


def copy_file(source: Path, target: Path) -> None:
    """Copies what was committed to an SQLite database, at one moment, without stopping writers."""
    with (
        closing(sqlite3.connect(f"file:{quote(str(source.absolute()))}?mode=ro", uri=True)) as before,
        closing(sqlite3.connect(target)) as after,
    ):
        before.backup(after)
        after.execute("PRAGMA journal_mode = DELETE")
