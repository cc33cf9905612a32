"""Rounds of verification: which files of a campaign were checked, so that an interrupted round can be continued.

A round is not part of the history of units: it records what was seen at the storage, and does not change the serial.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, insert, select, update

from reconciler.datasets.operations.tape_copies import choose_released
from reconciler.datasets.verification.file_check import Depth, FileFlaw, Published, Trouble
from reconciler.datasets.verification.file_pool import Look, look
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import examinations, outputs, products, recipes, runs, verifications
from reconciler.model.states import OutputState
from reconciler.run_catalogue.catalogue import list_files
from schemas.manifest.runs import run_key


def list_published(connection: Connection, campaign: str) -> Iterator[tuple[bytes, Published]]:
    """Yields the published files of a campaign that are on disk, each with its output's fingerprint."""
    return _list_published(connection, outputs.c.campaign == campaign)


def list_files_of(connection: Connection, numbers: Iterable[int]) -> Iterator[Published]:
    """Yields the published files on disk of the outputs with these numbers, whoever made them."""
    for part in divide(sorted(numbers)):
        yield from (file for _, file in _list_published(connection, outputs.c.id.in_(part)))


def _list_published(connection: Connection, chosen: ColumnElement[bool]) -> Iterator[tuple[bytes, Published]]:
    columns = (  # in the order of the fields of `Published`
        *(outputs.c[name] for name in ("id", "storage", "folder")),
        *(products.c[name] for name in ("path", "size", "checksum", "events")),
        *(outputs.c[name] for name in ("experiment", "run")),
    )
    query = (
        select(outputs.c.fingerprint, recipes.c.content, runs.c.type, *columns)
        .join(products, products.c.output == outputs.c.id)
        .join(recipes, recipes.c.id == outputs.c.recipe)
        .outerjoin(runs, and_(runs.c.experiment == outputs.c.experiment, runs.c.run == outputs.c.run))
        .where(chosen, outputs.c.state == OutputState.PRODUCED, outputs.c.id.not_in(choose_released()))
        .order_by(outputs.c.id, products.c.path)
    )
    read_recipe = cache(json.loads)
    for fingerprint, content, kind, *values in connection.execute(query):
        recipe = read_recipe(content)
        application = recipe["application"].partition("/")[0]
        made_as = [application, recipe.get("release"), recipe["output"]["level"], kind == "mc"]
        yield fingerprint, Published(*values, *made_as)


def find_lost(
    connection: Connection, campaign: str, among: Container[bytes] | None = None
) -> Iterator[tuple[bytes, FileFlaw]]:
    """Yields the fingerprints of produced outputs whose files are gone or changed, each with what is wrong.

    Only sizes are checked, except for files that the last verification found changed: these are checked completely. With
    `among`, only outputs with these fingerprints are checked.

    Raises:
        SourceUnavailable: a storage does not answer.
    """
    fingerprints: dict[int, bytes] = {}

    def list_files() -> Iterator[Published]:
        for fingerprint, file in list_published(connection, campaign):
            if among is None or fingerprint in among:
                fingerprints[file.output] = fingerprint
                yield file

    query = (
        select(examinations.c.output, examinations.c.path)
        .join(verifications, verifications.c.id == examinations.c.verification)
        .where(verifications.c.campaign == campaign, examinations.c.trouble == Trouble.CHANGED.value)
    )
    suspected = {(output, path) for output, path in connection.execute(query)}
    suspects: list[Published] = []
    for file, flaw in look(list_files(), Depth.SIZE):
        if flaw is not None:
            yield fingerprints[file.output], flaw
        elif (file.output, file.name) in suspected:
            suspects.append(file)
    for file, flaw in look(suspects, Depth.FULL, processes=0):
        if flaw is not None and flaw.trouble is not Trouble.WRONG:
            yield fingerprints[file.output], flaw


@dataclass(frozen=True, slots=True)
class Round:
    """A round over a campaign's published files; `begun` is its time."""

    engine: Engine
    campaign: str
    id: int
    begun: str

    def choose(self, files: Sequence[Published]) -> list[Published]:
        """The files that the round has not checked yet."""
        done = select(examinations.c.output, examinations.c.path)
        done = done.where(examinations.c.verification == self.id)
        with self.engine.begin() as connection:
            seen = {(output, path) for output, path in connection.execute(done)}
        return [file for file in files if (file.output, file.name) not in seen]

    def record(self, looks: Sequence[Look]) -> None:
        """Stores the results for some files."""
        rows = [
            {
                "verification": self.id,
                "output": file.output,
                "path": file.name,
                "trouble": flaw.trouble.value if flaw else None,
                "text": flaw.text[:1000] if flaw else None,
            }
            for file, flaw in looks
        ]
        if rows:
            with self.engine.begin() as connection:
                connection.execute(insert(examinations), rows)

    def read_troubles(self) -> list[FileFlaw]:
        """Everything that the round found wrong, also before it was interrupted."""
        query = select(examinations.c.trouble, examinations.c.text)
        mine = (examinations.c.verification == self.id, examinations.c.trouble.is_not(None))
        query = query.where(*mine).order_by(examinations.c.output, examinations.c.path)
        with self.engine.begin() as connection:
            return [FileFlaw(Trouble(trouble), text) for trouble, text in connection.execute(query)]

    def end(self, time: str) -> None:
        """Ends the round. Earlier rounds are removed, and only the wrong files of this one are kept."""
        with self.engine.begin() as connection:
            earlier = (verifications.c.campaign == self.campaign, verifications.c.id != self.id)
            for number in connection.scalars(select(verifications.c.id).where(*earlier)).all():
                _forget(connection, number)
            fine = (examinations.c.verification == self.id, examinations.c.trouble.is_(None))
            connection.execute(delete(examinations).where(*fine))
            mine = verifications.c.id == self.id
            connection.execute(update(verifications).where(mine).values(ended=time))


def begin_round(engine: Engine, campaign: str, time: str, *, again: bool = False) -> Round:
    """The interrupted round of a campaign, or a new one; with `again`, always a new one."""
    with engine.begin() as connection:
        left = (verifications.c.campaign == campaign, verifications.c.ended.is_(None))
        found = connection.execute(select(verifications).where(*left)).first()
        if found is not None and not again:
            return Round(engine, campaign, found.id, found.begun)
        if found is not None:
            _forget(connection, found.id)
        made = insert(verifications).values(campaign=campaign, begun=time)
        (number,) = connection.execute(made).inserted_primary_key or (0,)
        return Round(engine, campaign, number, time)


def _forget(connection: Connection, number: int) -> None:
    connection.execute(delete(examinations).where(examinations.c.verification == number))
    connection.execute(delete(verifications).where(verifications.c.id == number))


def list_registered(
    connection: Connection, level: str | None, keys: Collection[int] | None
) -> Iterator[Published]:
    """Yields the registered files on disk; `level` and `keys` (run keys) restrict them, if given.

    The storage of a file is the nearest existing folder above it: if that is empty, it may not be mounted.
    """
    for row in connection.execute(list_files(level)):
        if row.storage != "disk" or (keys is not None and run_key(row.experiment, row.run) not in keys):
            continue
        folder, name = os.path.split(row.path)
        storage = Path(folder)
        while not storage.is_dir():
            storage = storage.parent
        place = (str(storage), os.path.relpath(folder, storage), name)
        values = (row.size, row.checksum, row.events, row.experiment, row.run)
        yield Published(row.id, *place, *values, application="", release=None, level=row.level)
