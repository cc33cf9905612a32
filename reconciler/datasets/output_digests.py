"""What identifies the outputs that a dataset has of some runs, as one digest: of columns, or of rows of the ledger.

An output is named by its dataset, its run and its version. That it was made from is told by its recipe, its input and its payload
set, as its fingerprint does. Where the digests of two moments are equal, the same files count, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, select

from reconciler.datasets.contents import choose_few
from reconciler.datasets.editions import Edition
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.schema.tables import outputs, recipes
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import RunSet, format_runs, gather_runs, run_key

Version = tuple[int, str]
"""The version of an output, and the dataset for which it was made."""

REGISTERED = ""
"""Stands for the recipe of what is registered: nobody knows one."""


@dataclass(frozen=True, slots=True)
class MadeColumns:
    """What outputs of some runs were made from, that have one recipe: digests in hexadecimal digits, in the order of the runs.

    The texts are joined in any pieces. `payload_sets` is None if the recipe has none.
    """

    recipe: str
    runs: RunSet
    inputs: Iterable[str]
    payload_sets: Iterable[str] | None


@dataclass(frozen=True, slots=True)
class OutputRow:
    """What an output of a run was made from, and which one it is; of registered files, `input` is their digest."""

    recipe: str
    input: str
    payload_set: str | None
    version: Version


def digest_columns(columns: Iterable[MadeColumns], versions: Mapping[int, Version]) -> str:
    """The digest of outputs. `versions` has those runs whose output is not the dataset's own first version."""
    found = sha256()
    for one in sorted(columns, key=lambda one: one.recipe):
        found.update(f"{one.recipe}\n{format_runs(one.runs)}\n".encode())
        for texts in (one.inputs, one.payload_sets):
            for text in ("-",) if texts is None else texts:
                found.update(text.encode())
            found.update(b"\n")
    for run, (version, dataset) in sorted(versions.items()):
        found.update(f"{run} {version} {dataset}\n".encode())
    return found.hexdigest()


def digest_rows(dataset: str, rows: Mapping[int, OutputRow], runs: Collection[int]) -> str | None:
    """The digest of the outputs of some runs of a dataset, from rows by run key; None if a run has none."""
    if any(run not in rows for run in runs):
        return None
    made: dict[tuple[str, bool], list[int]] = {}
    for run in sorted(runs):
        made.setdefault((rows[run].recipe, rows[run].payload_set is None), []).append(run)
    columns = (
        MadeColumns(
            recipe,
            gather_runs(some),
            (rows[run].input for run in some),
            None if without else (rows[run].payload_set or "" for run in some),
        )
        for (recipe, without), some in made.items()
    )
    own = (1, dataset)
    return digest_columns(columns, {run: rows[run].version for run in runs if rows[run].version != own})


def digest_edition(connection: Connection, edition: Edition, runs: Collection[int]) -> str | None:
    """The digest of what an edition has of some of its runs; None if the ledger does not have a row of each."""
    if not edition.made:
        own = (1, edition.dataset)
        rows = {run: OutputRow(REGISTERED, edition.runs[run].input, None, own) for run in runs}
        return digest_rows(edition.dataset, rows, runs)
    versions: dict[str, dict[int, int | None]] = {}
    for run in runs:
        one = edition.runs[run]
        versions.setdefault(one.dataset or edition.dataset, {})[run] = one.version
    rows = {}
    for dataset, wanted in versions.items():
        here = (belongs_to(parse_dataset(dataset)), choose_few(outputs, wanted))
        for run, row in read_rows(connection, dataset, *here):
            if wanted.get(run) == row.version[0]:
                rows[run] = row
    return digest_rows(edition.dataset, rows, runs)


def read_rows(
    connection: Connection, dataset: str, *conditions: ColumnElement[bool]
) -> Iterator[tuple[int, OutputRow]]:
    """Yields run key and row of outputs of a dataset that fulfil conditions, the lowest version first."""
    names = ("experiment", "run", "version", "input", "conditions")
    query = select(*(outputs.c[name] for name in names), recipes.c.digest.label("recipe"))
    query = query.join(recipes, recipes.c.id == outputs.c.recipe).where(*conditions)
    for row in connection.execute(query.order_by(outputs.c.version)):
        version = (row.version, dataset)
        yield run_key(row.experiment, row.run), OutputRow(row.recipe, row.input, row.conditions, version)
