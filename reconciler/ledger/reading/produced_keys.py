"""Reads the keys of produced outputs as they are kept, and makes them anew from the outputs."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, select

from reconciler.ledger.schema.file_tables import STRETCH, produced_keys
from reconciler.ledger.schema.tables import outputs
from reconciler.model.produced import KEY, make_key
from reconciler.model.states import OutputState

Place = tuple[str, int, int, int]
"""Campaign, number of the recipe, experiment, number of the stretch."""


def place_keys(connection: Connection, here: ColumnElement[bool]) -> dict[Place, list[bytes]]:
    """The keys of some outputs, by the row of `produced_keys` that has them. What was written by hand has no key."""
    names = ("campaign", "recipe", "experiment", "run", "input", "conditions")
    found: dict[Place, list[bytes]] = {}
    for campaign, recipe, experiment, run, given, payload_set in connection.execute(
        select(*(outputs.c[name] for name in names)).where(here)
    ):
        try:
            key = make_key(given, payload_set)
        except ValueError:
            continue
        found.setdefault((campaign, recipe, experiment, run // STRETCH), []).append(key)
    return found


def divide_keys(keys: bytes) -> Iterator[bytes]:
    """The keys that are written one behind the other."""
    return (keys[place : place + KEY] for place in range(0, len(keys), KEY))


def find_wrong_keys(connection: Connection) -> set[str]:
    """The campaigns whose keys are not those of their outputs. This takes seconds for a million outputs."""
    made = place_keys(connection, outputs.c.state == OutputState.PRODUCED)
    kept = {tuple(place): keys for *place, keys in connection.execute(select(produced_keys))}
    return {
        place[0]
        for place in made.keys() | kept.keys()
        if sorted(made.get(place, ())) != sorted(divide_keys(kept.get(place, b"")))
    }
