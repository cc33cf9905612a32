"""Removes files from the run catalogue: files that are gone, and files that a person takes out, with the reason."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select, update

from reconciler.ledger.schema.file_tables import removals, replicas
from reconciler.ledger.schema.tables import files
from reconciler.model.run import File
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.file_decision import FilePlace, Key, describe_file, key_of
from reconciler.run_catalogue.file_register import (
    FILE,
    find_place,
    match_file,
    match_runs,
    select_files,
    sum_inputs,
)
from reconciler.run_catalogue.run_import import move_serial

_DESCRIBED = re.compile(r"([^:]+)/([0-9]{1,9}):([0-9]{1,9})/(.+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Removal:
    """A removed file, or one removed place of a file. `stays` is the path from which the file is read from now on."""

    file: File
    path: str
    stays: str | None = None


class AmbiguousFileError(Exception):
    """A given text names several files. The message lists them."""


def remove_files(engine: Engine, wanted: Sequence[str], reason: str, who: str, when: str) -> list[Removal]:
    """Removes files from the catalogue and records the reason. For a file with replicas, a path removes only that place.

    Each item of `wanted` is a file's path, its name, or `DATASET/RUN/NAME`. Returns one `Removal` for each removed place.

    Raises:
        SourceUnavailable: the catalogue lacks one of them; nothing was changed.
        AmbiguousFileError: one of them names several files; nothing was changed.
    """
    removed: list[Removal] = []
    with engine.begin() as connection:
        chosen: dict[tuple[Key, str | None], File] = {}
        for text in wanted:
            file, path = _find_named(connection, text)
            chosen[key_of(file), path] = file
        for (key, path), file in chosen.items():
            places = {file.path: file.storage, **_list_replicas(connection, key)}
            leaving = [path] if path is not None and len(places) > 1 else list(places)
            staying = [one for one in places if one not in leaving]
            for one in leaving:
                moved = replace(file, path=one, storage=places[one])
                row = {**asdict(moved), "reason": reason[:500], "who": who[:120], "time": when}
                connection.execute(insert(removals), [row])
                removed.append(Removal(file, one, staying[0] if staying else None))
            if not staying:
                connection.execute(delete(files).where(match_file(files, key)))
            elif file.path in leaving:  # a replica takes its place
                place = {"path": staying[0], "storage": places[staying[0]]}
                connection.execute(update(files).where(match_file(files, key)).values(place))
                leaving.append(staying[0])
            copied = and_(match_file(replicas, key), replicas.c.path.in_(leaving))
            connection.execute(delete(replicas).where(copied))
        moved_runs = {key[:3] for key, _ in chosen}
        sum_inputs(connection, select_files(connection, match_runs(files, moved_runs)), moved_runs)
        move_serial(connection)
    return removed


def _find_named(connection: Connection, text: str) -> tuple[File, str | None]:
    """Returns the file that the text names, and its place if the text is a path."""
    path = os.path.abspath(text)
    if found := [*select_files(connection, [files.c.path == path])]:
        return _choose(text, found), path
    copies = select(*(replicas.c[name] for name in FILE)).where(replicas.c.path == path)
    if (key := connection.execute(copies).first()) is not None:
        (file,) = select_files(connection, [match_file(files, key)])
        return file, path
    named = files.c.name == text
    if (match := _DESCRIBED.fullmatch(text)) is not None:
        where, experiment, run, name = match.groups()
        here = (files.c.experiment == int(experiment), files.c.run == int(run), files.c.name == name)
        named = or_(named, and_(*here, or_(files.c.dataset == where, files.c.level == where)))
    found = [*select_files(connection, [named])]
    if not found:
        last = connection.execute(
            select(removals.c.time, removals.c.reason)
            .where(or_(removals.c.path == path, removals.c.name == text), removals.c.restored.is_(None))
            .order_by(removals.c.id.desc())
        ).first()
        known = f": it was removed on {last.time}, {last.reason}" if last else "; see `b2prod files list`"
        raise SourceUnavailable(f"no file {text} is registered{known}; nothing was changed")
    return _choose(text, found), None


def _choose(text: str, found: Sequence[File]) -> File:
    if len(found) > 1:
        shown = "".join(f"\n    {describe_file(file)}  {file.path}" for file in found[:10])
        more = f"\n    … and {len(found) - 10} more" if len(found) > 10 else ""
        what = f"{text} names {len(found)} files"
        raise AmbiguousFileError(f"{what}; say which, by path or as below:{shown}{more}")
    return found[0]


def _list_replicas(connection: Connection, key: Key) -> dict[str, str]:
    query = (
        select(replicas.c.path, replicas.c.storage).where(match_file(replicas, key)).order_by(replicas.c.id)
    )
    return {row.path: row.storage for row in connection.execute(query)}


def find_gone(connection: Connection, folder: str) -> list[tuple[File, list[str]]]:
    """The files below a folder that are registered as on disk and are gone, each with its other places."""
    below = f"{folder.rstrip('/')}/"
    on_disk = and_(files.c.path.startswith(below, autoescape=True), files.c.storage == "disk")
    here = select_files(connection, [on_disk])
    return [
        (file, list(_list_replicas(connection, key_of(file))))
        for file in sorted(here, key=lambda file: file.path)
        if file.path.startswith(below) and find_place(file.path) is FilePlace.GONE
    ]
