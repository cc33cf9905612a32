"""Many rows at once, where a million of them pass."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, insert, select

PARAMETERS = 900
"""Values in one statement: SQLite before 3.32 takes 999."""

STATEMENTS = 1000
"""Statements that the driver is given together."""

COPIED = 5000
"""Rows that are copied at a time."""


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Inserts rows, each with the values of `columns` in their order, as the database stores them.

    A statement inserts many rows, and the driver gets them as they are: a million of ten columns cost SQLite 3 s of CPU
    time so, one row a statement 4.5 s, and with SQLAlchemy's handling of each row 10 s; PostgreSQL gains more.
    """
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    row = f"({', '.join([mark] * len(columns))})"
    names = ", ".join(table.c[name].name for name in columns)
    many = PARAMETERS // len(columns)
    pending = iter(rows)
    while block := list(islice(pending, STATEMENTS * many)):
        whole = len(block) // many * many
        for begin, end, each in ((0, whole, many), (whole, len(block), len(block) - whole)):
            if begin == end:
                continue
            statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * each)}"  # noqa: S608 -- names of our tables
            values = [tuple(chain.from_iterable(block[at : at + each])) for at in range(begin, end, each)]
            connection.exec_driver_sql(statement, values)


def match_bound(table: Table, names: Iterable[str]) -> ColumnElement[bool]:
    """The rows whose columns have the values that `bind` gives a statement."""
    return and_(*(table.c[name] == bindparam(f"at_{name}") for name in names))


def bind(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    """The parameters of a statement for the rows that have these values in these columns."""
    return {f"at_{name}": value for name, value in zip(names, values, strict=True)}


def copy_rows(
    source: Connection,
    target: Connection,
    tables: Iterable[Table],
    blanked: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Copies all rows of some tables, as of the source's transaction; `blanked` maps tables to columns and their values."""
    for table in tables:
        blank = (blanked or {}).get(table.name, {})
        with source.execution_options(yield_per=COPIED).execute(select(table)) as found:
            for part in found.mappings().partitions(COPIED):
                target.execute(insert(table), [{**row, **blank} for row in part])


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Meanwhile, nothing looks for cycles of objects: rows have none, and a look at a million of them comes often.

    An import of a million runs takes a fifth less CPU time so. Outside, and where it is off already, all is as before.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
