"""Summaries: what there is of each dataset, in numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum

from sqlalchemy import Connection, select

from reconciler.datasets.parts import DatasetPart, stream_part_runs
from reconciler.datasets.totals import Totals
from reconciler.ledger.reading.dataset_sums import read_sums
from reconciler.ledger.schema.file_tables import datasets
from reconciler.ledger.schema.tables import recipes
from schemas.manifest.dataset import DETECTOR, DatasetName, parse_dataset


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


def summarize_datasets(
    connection: Connection, producers: Mapping[str, Sequence[DatasetName]] | None = None
) -> list[DatasetSummary]:
    """The summaries of all datasets that have files, sorted by name.

    `producers` maps datasets of the detector to what campaigns produce for them, what counts first before the others: it
    belongs to these datasets, and has no summary of its own.
    """
    found = {one.name: one for one in _read_summaries(connection)}
    for dataset, names in (producers or {}).items():
        made = [one for name in names if (one := found.pop(name.dataset, None)) is not None]
        if made:
            parts = [DatasetPart(name) for name in (parse_dataset(dataset), *names)]
            found[dataset] = DatasetSummary(
                dataset,
                made[0].level,
                DatasetKind.DETECTOR,
                *astuple(Totals.of(stream_part_runs(connection, parts))),
            )
    return sorted(found.values(), key=lambda one: one.name)


def _read_summaries(connection: Connection) -> list[DatasetSummary]:
    rows = read_sums(connection)
    levels = {row.name: row.level for row in connection.execute(select(datasets.c.name, datasets.c.level))}
    contents = select(recipes.c.id, recipes.c.content).where(
        recipes.c.id.in_({row["recipe"] for row in rows})
    )
    made = {
        number: json.loads(content)["output"]["level"] for number, content in connection.execute(contents)
    }
    return [
        DatasetSummary(
            row["dataset"],
            made[row["recipe"]] if row["made"] else levels[row["dataset"]],
            DatasetKind.MADE if row["made"] else tell_kind(parse_dataset(row["dataset"])),
            row["runs"],
            row["files"],
            row["bytes"],
            row["events"],
            row["runs"] - row["counted"],
        )
        for row in rows
    ]


def tell_kind(name: DatasetName) -> DatasetKind:
    """The kind of a dataset with registered files."""
    if not name.is_held:
        return DatasetKind.ADOPTED
    return DatasetKind.DETECTOR if name.campaign == DETECTOR else DatasetKind.UNASSIGNED
