"""Keeps the keys of produced outputs, which are changed together with the outputs.

A plan compares them instead of the outputs. `soundness` holds them against the outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, and_, bindparam, insert, select, tuple_, update

from reconciler.ledger.reading.produced_keys import Place, divide_keys, place_keys
from reconciler.ledger.schema.file_tables import produced_keys
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs

_PLACE = ("campaign", "recipe", "experiment", "stretch")


def record_keys(connection: Connection, changed: Collection[int], *, produced: bool) -> None:
    """Changes the keys as outputs became produced, or ceased to be so. `changed` are their numbers in the ledger."""
    moved: dict[Place, list[bytes]] = {}
    for part in divide(sorted(changed)):
        for place, keys in place_keys(connection, outputs.c.id.in_(part)).items():
            moved.setdefault(place, []).extend(keys)
    at = tuple_(*(produced_keys.c[name] for name in _PLACE))
    there: dict[Place, bytes] = {}
    for some in divide(moved, 100):
        for row in connection.execute(select(produced_keys).where(at.in_(some))):
            there[row.campaign, row.recipe, row.experiment, row.stretch] = row.keys
    rows = [
        {
            **dict(zip(_PLACE, place, strict=True)),
            "keys": _change(there.get(place, b""), keys, produced=produced),
        }
        for place, keys in moved.items()
    ]
    if new := [row for place, row in zip(moved, rows, strict=True) if place not in there]:
        connection.execute(insert(produced_keys), new)
    if old := [row for place, row in zip(moved, rows, strict=True) if place in there]:
        here = and_(*(produced_keys.c[name] == bindparam(f"at_{name}") for name in _PLACE))
        values = [{"keys": row["keys"], **{f"at_{name}": row[name] for name in _PLACE}} for row in old]
        connection.execute(update(produced_keys).where(here), values)


def _change(there: bytes, keys: list[bytes], *, produced: bool) -> bytes:
    if produced:
        return there + b"".join(keys)
    gone = Counter(keys)
    left: list[bytes] = []
    for key in divide_keys(there):
        if gone[key]:
            gone[key] -= 1
        else:
            left.append(key)
    return b"".join(left)
