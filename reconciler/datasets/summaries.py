"""Summaries: what there is of each dataset, in numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, select

from reconciler.ledger.reading.observation import choose_heads
from reconciler.ledger.schema.file_tables import datasets
from reconciler.ledger.schema.tables import inputs, outputs, products, recipes
from schemas.manifest.dataset import DETECTOR, DatasetName, name_dataset, parse_dataset


class DatasetKind(StrEnum):
    """Where the files of a dataset come from."""

    MADE = "made"
    """A campaign of b2prod made them."""
    ADOPTED = "adopted"
    """They were made elsewhere, and imported with the name of the dataset."""
    DETECTOR = "detector"
    """The detector wrote them."""
    UNASSIGNED = "unassigned"
    """Nobody said whose they are."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A dataset in numbers: of what a campaign made, the newest produced version of each run.

    `level` is its data level. `events` is the sum over the runs whose events were counted, `uncounted` the number of the others.
    """

    name: str
    level: str
    kind: DatasetKind
    runs: int
    files: int
    bytes: int
    events: int
    uncounted: int


def summarize_datasets(connection: Connection) -> list[DatasetSummary]:
    """The summaries of all datasets that have files, sorted by name."""
    found = [*_sum_registered(connection), *_sum_made(connection)]
    return sorted(found, key=lambda one: one.name)


def tell_kind(name: DatasetName) -> DatasetKind:
    """The kind of a dataset with registered files."""
    if not name.is_held:
        return DatasetKind.ADOPTED
    return DatasetKind.DETECTOR if name.campaign == DETECTOR else DatasetKind.UNASSIGNED


def _sum_registered(connection: Connection) -> Iterator[DatasetSummary]:
    sums = (func.sum(inputs.c[name]) for name in ("files", "bytes", "events"))
    query = select(inputs.c.dataset, func.count(), *sums, func.count(inputs.c.events)).group_by(
        inputs.c.dataset
    )
    levels = {row.name: row.level for row in connection.execute(select(datasets.c.name, datasets.c.level))}
    for name, *counts in connection.execute(query):
        yield _summarize(name, levels[name], tell_kind(parse_dataset(name)), counts)


def _sum_made(connection: Connection) -> Iterator[DatasetSummary]:
    count, size = (
        select(number).where(products.c.output == outputs.c.id).scalar_subquery()
        for number in (func.count(), func.sum(products.c.size))
    )
    named = (outputs.c.campaign, outputs.c.step, outputs.c.output)
    heads = choose_heads(
        select(*named, outputs.c.recipe, outputs.c.events, count.label("files"), size.label("bytes"))
    ).subquery()
    sums = (func.sum(heads.c[name]) for name in ("files", "bytes", "events"))
    names = (heads.c[column.name] for column in named)
    query = select(func.max(heads.c.recipe), *names, func.count(), *sums, func.count(heads.c.events))
    rows = connection.execute(query.group_by(heads.c.campaign, heads.c.step, heads.c.output)).all()
    contents = select(recipes.c.id, recipes.c.content).where(recipes.c.id.in_({row[0] for row in rows}))
    levels = {
        number: json.loads(content)["output"]["level"] for number, content in connection.execute(contents)
    }
    for recipe, campaign, step, output, *counts in rows:
        yield _summarize(name_dataset(campaign, step, output), levels[recipe], DatasetKind.MADE, counts)


def _summarize(name: str, level: str, kind: DatasetKind, counts: list[Any]) -> DatasetSummary:
    runs, files, size, events, counted = (int(count or 0) for count in counts)
    return DatasetSummary(name, level, kind, runs, files, size, events, runs - counted)
