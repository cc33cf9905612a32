"""The files of outputs that are copied to tape or back, by their paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, products
from reconciler.model.names import SCRATCH
from reconciler.model.states import OutputState


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file of an output: its name below the output's folder, size in bytes, and checksum as published."""

    name: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class ArchivedOutput:
    """A produced output with its files; `folder` is below `storage`. Its record is not among them: it stays on disk."""

    number: int
    storage: str
    folder: str
    files: tuple[ArchivedFile, ...]

    def list_paths(self) -> Iterator[tuple[str, ArchivedFile]]:
        """Yields the absolute path of each file, which is also its name on tape."""
        for one in self.files:
            yield os.path.join(self.storage, self.folder, one.name), one

    def name_scratch(self, operation: int, file: ArchivedFile) -> str:
        """Where a file comes from tape for an operation, below the storage."""
        return f"{SCRATCH}/{operation}/{self.number}/{file.name}"


def read_archived(connection: Connection, numbers: Sequence[int]) -> list[ArchivedOutput]:
    """Those of the outputs that are produced, in the order of their numbers; one without files is left out."""
    columns = (outputs.c.id, outputs.c.storage, outputs.c.folder)
    query = select(*columns, products.c.path, products.c.size, products.c.checksum)
    query = query.join(products, products.c.output == outputs.c.id)
    query = query.where(outputs.c.state == OutputState.PRODUCED).order_by(outputs.c.id, products.c.path)
    places: dict[int, tuple[str, str]] = {}
    files: dict[int, list[ArchivedFile]] = {}
    for part in divide(sorted(numbers)):
        for number, storage, folder, *file in connection.execute(query.where(outputs.c.id.in_(part))):
            places[number] = (storage, folder)
            files.setdefault(number, []).append(ArchivedFile(*file))
    return [ArchivedOutput(number, *places[number], tuple(files[number])) for number in sorted(places)]
