"""Keeps the sums of datasets: a row for each, changed together with what it sums up.

So a list of datasets does not add up a million outputs. `soundness` holds the rows against the outputs and inputs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from reconciler.ledger.reading.dataset_sums import COUNTS, count_registered
from reconciler.ledger.schema.file_tables import dataset_sums
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, products
from reconciler.model.states import OutputState
from schemas.manifest.dataset import name_dataset


def record_made(connection: Connection, changed: Collection[int], *, produced: bool) -> None:
    """Changes the sums as outputs became produced, or ceased to be so. `changed` are their numbers in the ledger."""
    moved: dict[str, Counter[str]] = defaultdict(Counter)
    recipes: dict[str, int] = {}
    for (campaign, step, output, *_), versions in _read_versions(connection, changed).items():
        others = {version: one for version, one in versions.items() if one.id not in changed}
        before, after = (others, versions) if produced else (versions, others)
        name = name_dataset(campaign, step, output)
        for change, heads in ((moved[name].subtract, before), (moved[name].update, after)):
            if heads:
                head = heads[max(heads)]
                recipes[name] = head.recipe
                known = head.events is not None
                counts = (1, head.files, int(head.bytes or 0), head.events or 0, int(known))
                change(dict(zip(COUNTS, counts, strict=True)))
    for name, sums in moved.items():
        here = and_(dataset_sums.c.dataset == name, dataset_sums.c.made)
        values = {column: dataset_sums.c[column] + sums[column] for column in COUNTS}
        if not connection.execute(update(dataset_sums).where(here).values(values)).rowcount:
            row = {"dataset": name, "made": True, "recipe": recipes[name]}
            connection.execute(insert(dataset_sums).values({**row, **{one: sums[one] for one in COUNTS}}))


def _read_versions(connection: Connection, numbers: Iterable[int]) -> dict[tuple[Any, ...], dict[int, Any]]:
    """The given outputs, and the other produced ones of their runs: campaign, step, output, experiment, run → version → row."""
    count, size = (
        select(number).where(products.c.output == outputs.c.id).scalar_subquery().label(label)
        for number, label in ((func.count(), "files"), (func.sum(products.c.size), "bytes"))
    )
    given = outputs.alias()
    unit = ("campaign", "step", "output", "experiment", "run")
    same = and_(*(given.c[name] == outputs.c[name] for name in unit))
    columns = (outputs.c[name] for name in (*unit, "version", "id", "recipe", "events"))
    counted = or_(outputs.c.state == OutputState.PRODUCED, outputs.c.id == given.c.id)
    query = select(*columns, count, size).join(given, same).where(counted)
    found: dict[tuple[Any, ...], dict[int, Any]] = defaultdict(dict)
    for part in divide(sorted(numbers)):
        for row in connection.execute(query.where(given.c.id.in_(part))):
            found[tuple(row[:5])][row.version] = row
    return found


def record_registered(connection: Connection, datasets: Iterable[str]) -> None:
    """Counts again what is registered of some datasets."""
    for name in sorted(datasets):
        here = and_(dataset_sums.c.dataset == name, dataset_sums.c.made.is_(False))
        connection.execute(delete(dataset_sums).where(here))
        if rows := count_registered(connection, name):
            connection.execute(insert(dataset_sums), rows)
