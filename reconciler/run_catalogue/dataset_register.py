"""The datasets of the run catalogue: those of the detector, those that were adopted, and files of which nobody said whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from reconciler.ledger.schema.file_tables import datasets
from reconciler.ledger.schema.rows import insert_rows
from reconciler.ledger.schema.tables import inputs
from reconciler.model.run import File


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of how the files of an adopted dataset were made; None means not known."""

    release: str | None = None
    global_tag: str | None = None


UNKNOWN = Provenance()


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """A dataset with registered files. `since` is when its first file was registered."""

    name: str
    level: str
    release: str | None
    global_tag: str | None
    since: str


def read_datasets(connection: Connection) -> dict[str, KnownDataset]:
    """All datasets that have or had registered files, by name."""
    found = connection.execute(select(datasets).order_by(datasets.c.name))
    return {row.name: KnownDataset(*row) for row in found}


def find_datasets(connection: Connection, level: str) -> list[str]:
    """The names of the datasets with registered files of a data level, sorted."""
    filled = exists().where(inputs.c.dataset == datasets.c.name)
    query = select(datasets.c.name).where(datasets.c.level == level, filled)
    return list(connection.scalars(query.order_by(datasets.c.name)))


def register_datasets(
    connection: Connection, files: Iterable[File], provenance: Provenance, when: str
) -> None:
    """Adds the datasets of new files. What is newly known of how a dataset was made is added to it."""
    levels = {file.dataset: file.level for file in files}
    known = read_datasets(connection)
    new = [
        (name, level, provenance.release, provenance.global_tag, when)
        for name, level in sorted(levels.items())
        if name not in known
    ]
    insert_rows(connection, datasets, ("name", "level", "release", "global_tag", "since"), new)
    said = {
        key: value
        for key, value in (("release", provenance.release), ("global_tag", provenance.global_tag))
        if value
    }
    for name in levels.keys() & known.keys() if said else ():
        connection.execute(datasets.update().where(datasets.c.name == name).values(said))
