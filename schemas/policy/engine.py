"""In what engines differ for campaigns and approvals, as the schema `site/1` has it beside their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from schemas.json_schema.validation import load_schema


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """What holds for every site of one kind of engine.

    `attached`: jobs are processes of the reconciler's own machine and user. `runtime`: jobs start with b2prod's runtime,
    which compares their input with what was registered and can give them a local database; without it, the system starts
    basf2 by itself. `logical_paths`: jobs get their input by logical paths. Historic layouts say what such a path means, so
    the lock pins them, and units are made together only where their paths say the same.
    """

    attached: bool
    runtime: bool
    logical_paths: bool


@cache
def load_engines() -> Mapping[str, EngineTraits]:
    """The traits by the engine's name, in the order of the schema."""
    declared: Mapping[str, Mapping[str, bool]] = load_schema("site")["properties"]["engine"]["x-engines"]
    return MappingProxyType({name: EngineTraits(**traits) for name, traits in declared.items()})
