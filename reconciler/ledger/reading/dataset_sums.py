"""Reads the sums of datasets, and counts them anew from outputs and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from reconciler.ledger.reading.heads import choose_heads
from reconciler.ledger.schema.file_tables import dataset_sums
from reconciler.ledger.schema.tables import inputs, outputs, products
from schemas.manifest.dataset import name_dataset

COUNTS = ("runs", "files", "bytes", "events", "counted")
"""What is summed up; `counted` is the number of runs whose events were counted."""


def read_sums(connection: Connection) -> list[dict[str, Any]]:
    """The sums of all datasets that have files, as rows of `dataset_sums`, sorted by name."""
    query = select(dataset_sums).where(dataset_sums.c.runs > 0)
    rows = (dict(row) for row in connection.execute(query).mappings())
    return sorted(rows, key=lambda row: (row["dataset"], row["made"]))


def count_sums(connection: Connection) -> list[dict[str, Any]]:
    """The same, counted from the rows of all outputs and inputs. This takes seconds for a million rows."""
    rows = [*count_registered(connection), *_count_made(connection)]
    return sorted(rows, key=lambda row: (row["dataset"], row["made"]))


def count_registered(connection: Connection, dataset: str | None = None) -> list[dict[str, Any]]:
    """The sums of registered files: of one dataset, or of all."""
    sums = (func.coalesce(func.sum(inputs.c[name]), 0) for name in ("files", "bytes", "events"))
    query = select(inputs.c.dataset, func.count(), *sums, func.count(inputs.c.events))
    query = query.group_by(inputs.c.dataset)
    if dataset is not None:
        query = query.where(inputs.c.dataset == dataset)
    return [
        {"dataset": name, "made": False, "recipe": None, **_name_counts(counts)}
        for name, *counts in connection.execute(query)
    ]


def _count_made(connection: Connection) -> list[dict[str, Any]]:
    count, size = (
        select(number).where(products.c.output == outputs.c.id).scalar_subquery()
        for number in (func.count(), func.sum(products.c.size))
    )
    named = ("campaign", "step", "output")
    columns = (outputs.c[name] for name in (*named, "recipe", "events"))
    heads = choose_heads(select(*columns, count.label("files"), size.label("bytes"))).subquery()
    sums = (func.coalesce(func.sum(heads.c[name]), 0) for name in ("files", "bytes", "events"))
    names = [heads.c[name] for name in named]
    query = select(func.max(heads.c.recipe), *names, func.count(), *sums, func.count(heads.c.events))
    return [
        {"dataset": name_dataset(*row[1:4]), "made": True, "recipe": row[0], **_name_counts(row[4:])}
        for row in connection.execute(query.group_by(*names))
    ]


def _name_counts(counts: Sequence[Any]) -> dict[str, int]:
    return dict(zip(COUNTS, map(int, counts), strict=True))
