"""Reads, inserts and copies very many rows, up to a million."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    func,
    insert,
    select,
)
from sqlalchemy.exc import DBAPIError

CHUNK = 500
"""How many values one query asks for."""

PARAMETERS = 900
"""Values in one statement; SQLite before 3.32 accepts 999."""

JOINED = 1 << 16
"""Rows that are read as one text. More at a time take as long, and more memory."""

COPIED = 5000
"""Rows that are read, inserted or copied at a time."""

Value = TypeVar("Value")


def divide(values: Iterable[Value], size: int = CHUNK) -> Iterator[list[Value]]:
    """The values in their order, in lists of at most `size`."""
    pending = iter(values)
    while part := list(islice(pending, size)):
        yield part


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Inserts rows as the database stores them; each has the values of `columns`, in this order.

    SQLAlchemy does not handle each row. For a million runs SQLite takes 2 s of CPU time with many rows in a statement and
    without columns that have no value, 4.5 s with one row in a statement, and 10 s with SQLAlchemy's handling. PostgreSQL
    and we together take two thirds of the time if rows are copied instead of many in a statement.
    """
    insert_block = _insert_block if connection.dialect.name == "sqlite" else _copy_block
    for block in divide(rows, COPIED):
        insert_block(connection, table, columns, block)


def _insert_block(
    connection: Connection, table: Table, columns: Sequence[str], block: Sequence[Sequence[Any]]
) -> None:
    """Inserts rows into SQLite."""
    by_column = zip(columns, zip(*block, strict=True), strict=True)
    stated = {name: values for name, values in by_column if values.count(None) < len(values)}
    row = f"({', '.join('?' * len(stated))})"
    parts = divide(zip(*stated.values(), strict=True), PARAMETERS // len(stated))
    for each, same in groupby(parts, key=len):  # only the last one may be shorter
        statement = f"INSERT INTO {table.name} ({', '.join(stated)}) VALUES {', '.join([row] * each)}"  # noqa: S608 -- names of our tables
        connection.exec_driver_sql(statement, [tuple(chain.from_iterable(part)) for part in same])


def _copy_block(
    connection: Connection, table: Table, columns: Sequence[str], block: Sequence[Sequence[Any]]
) -> None:
    """Inserts rows into PostgreSQL, in its own way for many rows, which SQLAlchemy does not know."""
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in block:
                copy.write_row(row)
    except errors as error:  # callers know SQLAlchemy's errors
        raise DBAPIError.instance(statement, None, error, errors, dialect=connection.dialect) from error


def join_texts(connection: Connection, column: ColumnElement[Any], mark: str = "") -> ColumnElement[str]:
    """An aggregate: the values of a column, one behind the other with `mark` between them.

    All of one query have the same order. For a million rows this takes a tenth of the time of reading each row.
    """
    if connection.dialect.name == "postgresql":
        return func.string_agg(cast(column, Text), mark)
    return func.group_concat(column, mark)


def join_rows(connection: Connection, query: Select[Any], marks: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The columns of a query, each as one text with its mark between the values, for `JOINED` rows at a time.

    The first column has different whole numbers, by which the rows are sorted. No value is null.
    """
    number = query.selected_columns[0]
    ordered = query.order_by(number).limit(JOINED)
    last: int | None = None
    while True:
        part = (ordered if last is None else ordered.where(number > last)).subquery()
        columns = list(part.c)
        texts = (join_texts(connection, *one) for one in zip(columns, marks, strict=True))
        last, *found = connection.execute(select(func.max(columns[0]), *texts)).one()
        if last is None:
            return
        yield tuple(found)


def match_bound(table: Table, names: Iterable[str]) -> ColumnElement[bool]:
    """A condition: the columns have the values that `bind` gives to the statement."""
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
    """Copies all rows of some tables, as the source's transaction sees them; `blanked`: table → column → new value."""
    for table in tables:
        blank = (blanked or {}).get(table.name, {})
        with source.execution_options(yield_per=COPIED).execute(select(table)) as found:
            for part in found.mappings().partitions(COPIED):
                target.execute(insert(table), [{**row, **blank} for row in part])


def move_counters(connection: Connection, tables: Iterable[Table]) -> None:
    """Sets PostgreSQL's counters so that new rows get higher numbers than the existing rows."""
    for table in tables:
        if "id" not in table.columns or table.c.id.type.python_type is not int:
            continue
        highest = select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery()
        counter = func.pg_get_serial_sequence(table.name, "id")
        if connection.execute(select(counter)).scalar() is not None:
            connection.execute(select(func.setval(counter, highest + 1, False)))


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Turns off Python's search for cycles of objects, if it is on: rows have no cycles, and a search of many rows is slow.

    An import of a million runs takes 20% less CPU time with this.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
