"""The registered files as they are to be verified: on disk, by whoever made them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from sqlalchemy import Connection

from reconciler.datasets.verification.file_check import Published
from reconciler.run_catalogue.catalogue import list_files
from schemas.manifest.runs import run_key


def list_registered(
    connection: Connection, level: str | None, keys: Collection[int] | None
) -> Iterator[Published]:
    """The registered files on disk, of a level and of some runs where these are given.

    The storage of each is the nearest of its folders that is there: when that is empty, it may not be mounted.
    """
    for row in connection.execute(list_files(level)):
        if row.storage != "disk" or (keys is not None and run_key(row.experiment, row.run) not in keys):
            continue
        folder, name = os.path.split(row.path)
        storage = Path(folder)
        while not storage.is_dir():
            storage = storage.parent
        yield Published(
            output=row.id,
            storage=str(storage),
            folder=os.path.relpath(folder, storage),
            name=name,
            size=row.size,
            checksum=row.checksum,
            events=row.events,
            experiment=row.experiment,
            run=row.run,
            application="",
            release=None,
            level=row.level,
        )
