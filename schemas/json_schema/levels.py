"""At which levels of a schema a key is legal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from referencing import Registry
from referencing._core import Resolver
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

_DEPTH = 12
_TOP = "the top level"


def resolve(part: Mapping[str, Any], schema: Mapping[str, Any], registry: Registry[Any]) -> Mapping[str, Any]:
    """A subschema of `schema` with what it refers to; its own keywords win."""
    found, _ = _follow(part, _resolver(schema, registry))
    return found


def find_levels(schema: Mapping[str, Any], registry: Registry[Any]) -> dict[str, tuple[str, ...]]:
    """For every key that `schema` names anywhere, the levels where it is legal: `the top level`, `steps.<name>.input`."""
    levels: dict[str, dict[str, None]] = {}
    for level, key in _walk(schema, _resolver(schema, registry), "", 0):
        levels.setdefault(key, {})[f"`{level}`" if level else _TOP] = None
    return {key: tuple(found) for key, found in levels.items()}


def _resolver(schema: Mapping[str, Any], registry: Registry[Any]) -> Resolver[Any]:
    return registry.resolver_with_root(DRAFT202012.create_resource(schema))


def _follow(part: Any, resolver: Resolver[Any]) -> tuple[Mapping[str, Any], Resolver[Any]]:
    for _ in range(_DEPTH):
        if not isinstance(part, dict):
            return {}, resolver
        if "$ref" not in part:
            return part, resolver
        try:
            found = resolver.lookup(part["$ref"])
        except Unresolvable:
            return part, resolver
        own = {key: value for key, value in part.items() if key != "$ref"}
        part, resolver = {**found.contents, **own}, found.resolver
    return {}, resolver


def _walk(part: Any, resolver: Resolver[Any], level: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEPTH:
        return
    schema, resolver = _follow(part, resolver)
    for key, inner in schema.get("properties", {}).items():
        yield level, key
        yield from _walk(inner, resolver, f"{level}.{key}" if level else key, depth + 1)
    beyond = schema.get("additionalProperties")
    if isinstance(beyond, dict):
        yield from _walk(beyond, resolver, f"{level}.<name>" if level else "<name>", depth + 1)
    if "items" in schema:
        yield from _walk(schema["items"], resolver, f"{level}[]", depth + 1)
    for combined in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(combined, ()):
            yield from _walk(inner, resolver, level, depth + 1)
