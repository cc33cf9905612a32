"""A text column that holds the values of one enum: any other text is refused when it is written or asked for."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Dialect, String
from sqlalchemy.types import TypeDecorator


class StateText(TypeDecorator[str]):
    """Texts of `states`, at most `length` characters long. What is read comes as plain text, which equals its member.

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
