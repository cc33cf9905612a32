"""Turns JSON data that a schema has accepted into frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_value(kind: type[T], data: Mapping[str, Any], **made: Any) -> T:
    """A `kind` whose fields have the values of the keys with the same names; other keys are ignored.

    `made` gives fields whose values are computed otherwise. Lists become tuples or sets, mappings become dataclasses and texts
    become days, as the types of the fields say. A field without a key has its default.

    Raises:
        ValueError: a day is not in the calendar.
    """
    hints = _find_hints(cast("Any", kind))
    read = {key: _read(hints[key], value) for key, value in data.items() if key in hints and key not in made}
    return kind(**read, **made)


def read_named(kind: type[T], data: Mapping[str, Mapping[str, Any]]) -> dict[str, T]:
    """The dataclasses `kind` in `data`, by name; the field `name` of each one is its key."""
    return {name: read_value(kind, value, name=name) for name, value in data.items()}


@cache
def _find_hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _read(hint: Any, value: Any) -> Any:
    for one in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        origin, inner = get_origin(one), get_args(one)
        if isinstance(value, list) and origin in (tuple, frozenset):
            return origin(_read(inner[0], item) for item in value)
        if isinstance(value, dict) and origin is Mapping:
            return {key: _read(inner[1], item) for key, item in value.items()}
        if isinstance(value, dict) and is_dataclass(one) and isinstance(one, type):
            return read_value(one, value)
        if isinstance(value, str) and one is date:
            return date.fromisoformat(value)
    return value
