"""Versions of the ledger's tables: which one a database has, which ones this tool knows, and how to migrate.

Numbers of versions are only names; `MIGRATIONS` has their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from sqlalchemy import Connection, insert, inspect, select, text

from reconciler.ledger.schema import (  # noqa: F401 -- they add their tables to `metadata`
    calibration_tables,
    file_tables,
    operation_tables,
    source_tables,
)
from reconciler.ledger.schema.decision_tables import upgrades
from reconciler.ledger.schema.tables import ledger, metadata
from reconciler.ledger.store.state import State
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import OtherVersion
from reconciler.outside.installation import find_tool

HEAD = "0033"
"""The newest version, which this tool reads and writes."""


def read_version(connection: Connection) -> str | None:
    """The version of a database; None if it has no tables of the ledger."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def refuse_other_version(state: State, connection: Connection, version: str) -> None:
    """Checks that a version is this tool's.

    Raises:
        OtherVersion: it is older or newer; the message says what to do.
    """
    if version == HEAD:
        return
    if state.copy is None:
        where = f"this state ({state.address})"
        what = "`b2prod migrate` brings it there, once nothing older works with it any more"
    else:
        where = "this export of the state"
        what = "let the reconciler publish one with this b2prod (`b2prod state export`)"
    if version in list_versions():
        raise OtherVersion(f"{where} is of version {version}, this b2prod works with {HEAD}: {what}")
    last = select(upgrades.c.tool).order_by(upgrades.c.id.desc())
    known = inspect(connection).has_table("upgrades")
    writer = connection.execute(last.limit(1)).scalar() if known else None
    which = f"use {writer} or a newer one" if writer else "use the b2prod that wrote it, or a newer one"
    raise OtherVersion(f"{where} is of version {version}, this b2prod knows up to {HEAD}: {which}")


def list_versions() -> tuple[str, ...]:
    """The versions that this tool knows, the oldest first."""
    from reconciler.ledger.migrations.versions import MIGRATIONS  # noqa: PLC0415 -- takes 0.2 s and is rarely needed

    return tuple(MIGRATIONS)


def upgrade_tables(connection: Connection, version: str = HEAD) -> None:
    """Migrates the tables of a database to a version, within the transaction of `connection`.

    On SQLite the connection must not enforce foreign keys, because a table is altered by replacing it with a copy.
    """
    from alembic.migration import MigrationContext  # noqa: PLC0415 -- as above
    from alembic.operations import Operations  # noqa: PLC0415 -- as above

    from reconciler.ledger.migrations.versions import MIGRATIONS  # noqa: PLC0415 -- as above

    names = list(MIGRATIONS)
    before = read_version(connection)
    begin = 0 if before is None else names.index(before) + 1
    operations = Operations(MigrationContext.configure(connection, opts={"target_metadata": metadata}))
    for name in names[begin : names.index(version) + 1]:
        MIGRATIONS[name](operations)
        _write_version(connection, name)


def make_tables(connection: Connection) -> None:
    """Makes the tables of a new database, or of a copy, at version `HEAD`. This takes a tenth of the time of all migrations.

    Tests check that the result is the same.
    """
    metadata.create_all(connection, checkfirst=False)
    _write_version(connection, HEAD)


def _write_version(connection: Connection, version: str) -> None:
    """Sets the version of a database, in the table that Alembic reads."""
    if read_version(connection) is None:
        connection.execute(
            text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
    connection.execute(text("DELETE FROM alembic_version"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})


def record_upgrade(connection: Connection) -> None:
    """Records which tool migrated a database, for the message of older tools; gives a new ledger its id."""
    if connection.execute(select(ledger.c.id)).first() is None:
        connection.execute(insert(ledger).values(id=uuid4().hex, serial=0, catalogue_serial=0))
    connection.execute(insert(upgrades).values(version=HEAD, tool=_name_tool(), time=CLOCK.show()))


def list_broken_references(connection: Connection) -> Iterator[str]:
    """Yields, as text, rows of an SQLite database that refer to missing rows; PostgreSQL never has any."""
    if connection.dialect.name == "sqlite":
        for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"row {row} of {table} refers to a row of {parent} that is not there"


def _name_tool() -> str:
    tool = find_tool()
    return f"b2prod {tool.version}" + (f" (commit {tool.commit[:12]})" if tool.commit else "")
