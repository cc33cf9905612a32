"""The levels of a schema at which a key is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DEPTH = 12
_TOP = "the top level"


def resolve(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A subschema together with the definitions of `$defs` that it refers to; its own keywords win."""
    found: Mapping[str, Any] = part if isinstance(part, dict) else {}
    while "$ref" in found:
        named = schema["$defs"][found["$ref"].removeprefix("#/$defs/")]
        found = {**named, **{key: value for key, value in found.items() if key != "$ref"}}
    return found


def find_levels(schema: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """For every key of `schema`, the levels where it is allowed: `the top level`, `steps.<name>.input`."""
    levels: dict[str, dict[str, None]] = {}
    for level, key in _walk(schema, schema, "", 0):
        levels.setdefault(key, {})[f"`{level}`" if level else _TOP] = None
    return {key: tuple(found) for key, found in levels.items()}


def _walk(part: Any, whole: Mapping[str, Any], level: str, depth: int) -> Iterator[tuple[str, str]]:
    """The level and name of each key in `part`, which is at `level` of the schema `whole`."""
    if depth > _DEPTH or not isinstance(part, dict):
        return
    schema = resolve(part, whole)
    for key, inner in schema.get("properties", {}).items():
        yield level, key
        yield from _walk(inner, whole, f"{level}.{key}".lstrip("."), depth + 1)
    inside = [(f"{level}.<name>".lstrip("."), schema.get("additionalProperties"))]
    inside += [(f"{level}[]", schema.get("items"))]
    inside += [(level, inner) for name in ("allOf", "anyOf", "oneOf") for inner in schema.get(name, ())]
    for at, inner in inside:
        yield from _walk(inner, whole, at, depth + 1)
