"""Parts of tables: numbers of rows, columns with the values of an enum, and partial indexes.

Migrations use them too. So what one of them makes must not change: write another one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Index,
    Integer,
    String,
    Table,
    TextClause,
    event,
)
from sqlalchemy.types import TypeDecorator

identity = BigInteger().with_variant(Integer, "sqlite")
"""The type of row numbers that the database assigns."""


def describe_run(*, key: bool = False) -> tuple[Column[int], Column[int]]:
    """The columns of a run; `key`: they belong to the primary key."""
    experiment = Column("experiment", Integer, primary_key=key, nullable=False)
    return experiment, Column("run", Integer, primary_key=key, nullable=False)


def index_where(
    name: str, where: TextClause, *columns: str, postgresql: TextClause | None = None, unique: bool = False
) -> Index:
    """An index of the rows that fulfil a condition, on either database; `postgresql` is the condition there, if it differs.

    The condition for PostgreSQL is given when the table is made there: SQLAlchemy loads that dialect for it in 0.03 s, which
    every command on SQLite would pay.
    """
    index = Index(name, *columns, unique=unique, sqlite_where=where)

    def restrict(_table: Table, connection: Connection, **_: Any) -> None:
        if connection.dialect.name == "postgresql":
            index.dialect_options["postgresql"]["where"] = where if postgresql is None else postgresql

    event.listen(
        index, "after_parent_attach", lambda _, table: event.listen(table, "before_create", restrict)
    )
    return index


class StateText(TypeDecorator[str]):
    """Text columns with the values of the enum `states`, at most `length` characters long. Plain text is read back.

    Writing another text raises `ValueError`, which SQLAlchemy wraps into a `StatementError`.
    """

    impl = String
    cache_ok = True

    def __init__(self, states: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.states = states

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- SQLAlchemy's
        """The text for the database, None for null."""
        return None if value is None else self.states(value).value
