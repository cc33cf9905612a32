"""Finds files in the storages and in the state folder that the ledger does not know, and says which may be removed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from reconciler.ledger.schema.tables import attempts, batches, kept_files, outputs, products
from reconciler.ledger.store.database import State
from reconciler.ledger.store.kept_files import ENDING
from reconciler.ledger.upkeep.succession import NAMED, list_formers
from reconciler.model.names import SCRATCH, TOMBSTONES, TRASH, name_aside, name_record
from reconciler.model.states import LIVE, OutputState
from reconciler.outside.storage.mounts import MADE_BY_SYSTEMS, MARKER, list_files

CHUNK = 500

_MANIFEST = "a manifest of an output that the ledger does not have"

REBUILD = "`b2prod state rebuild` takes it over where its record holds; else it is yours to decide"
ASIDE = "a ledger that was lost has put it there, and nothing takes it over: it is yours to decide"
OURS = frozenset((TOMBSTONES, SCRATCH))
"""Our own folders in a storage, in which nothing is missing that is not there."""
UNFINISHED = "remove it while no reconciler works"

_KINDS = (
    (r"\.\.b2prod\..*\.json\.part", "a record that was not finished", UNFINISHED),
    (rf"{re.escape(MARKER)}\.[0-9a-f]{{8}}", "a marker that was not finished", UNFINISHED),
    (r"\.b2prod\..*\.json\.[0-9a-f]{32}", "a manifest that was not finished", UNFINISHED),
    (r"(?=\.).*\.b2p-.*", "a copy that was not finished", UNFINISHED),
    (
        r"\.b2prod\.[A-Za-z0-9_]+\.v[0-9]+\.json",
        "a record of an output that the ledger does not have",
        REBUILD,
    ),
    (r"\..*", "a hidden file", "it is none of b2prod's"),
    (r"b2prod\.[A-Za-z0-9_]+\.v[0-9]+\.json", _MANIFEST, REBUILD),
    (r".*", "a file of data", REBUILD),
)
"""Patterns of names, what such a file is, and what to do with it; the first match is used."""


@dataclass(frozen=True, slots=True)
class UnknownFile:
    """A file that the ledger does not know: path, what it is, what to do, and whether the state's owner may remove it."""

    path: str
    what: str
    advice: str
    may_be_removed: bool = False


def find_unknown_files(
    connection: Connection, state: State, storages: Collection[str]
) -> Iterator[UnknownFile]:
    """Yields all unknown files in storages, and all unknown folders of attempts and batches, and kept files; changes nothing.

    Raises:
        SourceUnavailable: a folder cannot be read.
    """
    known, records = _read_known(connection)
    aside = read_aside(connection)
    folders = {os.path.dirname(path) for path in known}
    live = set(connection.scalars(select(attempts.c.name).where(attempts.c.state.in_(LIVE))))
    for storage in sorted(set(storages)):
        trash = os.path.join(storage, TRASH, "")
        for path in list_files(storage, OURS.union(MADE_BY_SYSTEMS).__contains__):
            folder, name = os.path.split(path)
            if path.startswith(trash):
                if folder not in aside:
                    yield UnknownFile(path, "a file in the trash that the ledger does not have", ASIDE)
                continue
            if path in known or path in records or name == MARKER:
                continue
            yield from _judge_file(path, name, live, filled=folder in folders)
    formers = tuple(f"b2p-{one[:NAMED]}-" for one in sorted(list_formers(connection)))
    for parent, column in ((state.attempts, attempts.c.name), (state.batches, batches.c.name)):
        names = sorted(os.listdir(parent)) if parent.is_dir() else []
        there = _find(connection, column, names)
        for name in names:
            if name not in there:
                yield _judge_folder(str(parent / name), name, formers)
    yield from _find_unknown_kept(connection, state)


def _find_unknown_kept(connection: Connection, state: State) -> Iterator[UnknownFile]:
    """Yields the files of jobs that no row tells of: a turn was killed, or the ledger was put back or made again."""
    for folder in sorted(state.kept.glob("*")):
        paths = {path.name.removesuffix(ENDING): str(path) for path in sorted(folder.glob("*"))}
        there = _find(connection, kept_files.c.digest, list(paths))
        for digest, path in paths.items():
            if digest not in there:
                advice = UNFINISHED
                yield UnknownFile(
                    path, "a file of a job that the ledger does not have", advice, may_be_removed=True
                )


def _judge_file(path: str, name: str, live: Iterable[str], *, filled: bool) -> Iterator[UnknownFile]:
    copied = name[0] == "." and any(name.endswith(f".{one}") for one in live)
    if name in MADE_BY_SYSTEMS or copied:
        return
    _, what, advice = next(kind for kind in _KINDS if re.fullmatch(kind[0], name, re.DOTALL))
    if not (what == _MANIFEST and filled):
        yield UnknownFile(path, what, advice, may_be_removed=advice == UNFINISHED)


def _judge_folder(path: str, name: str, formers: tuple[str, ...]) -> UnknownFile:
    aside = name.rpartition(".")[0]
    if aside and re.fullmatch(r"[0-9a-f]{8}", name.rpartition(".")[2]) and aside.startswith("b2p-"):
        return UnknownFile(path, "what was put aside for another attempt", "remove it", may_be_removed=True)
    if formers and name.startswith(formers):
        what = "an attempt from before the ledger was put back or made again"
        return UnknownFile(path, what, "the next reconcile ends its job, where it has one, and removes it")
    if name.startswith("b2p-"):
        advice = "of another ledger, or of one that was lost: see whether its job runs before it is removed"
        return UnknownFile(path, "an attempt that the ledger does not have", advice)
    return UnknownFile(path, "no attempt's", "it is none of b2prod's")


def _read_known(connection: Connection) -> tuple[set[str], set[str]]:
    """The paths of all files, and of their records, that the ledger has or had."""
    columns = (outputs.c.storage, outputs.c.folder, outputs.c.output, outputs.c.version)
    known, records = set(), set()
    query = select(*columns, products.c.path).outerjoin(products, products.c.output == outputs.c.id)
    for storage, folder, output, version, path in connection.execute(query):
        if path is not None:
            known.add(os.path.join(storage, folder, path))
        records.add(os.path.join(storage, folder, name_record(output, version)))
    return known, records


def read_aside(connection: Connection) -> set[str]:
    """The folders in the trash of the outputs that the ledger has there, as absolute paths."""
    columns = (outputs.c[name] for name in ("storage", "folder", "fingerprint", "version"))
    rows = connection.execute(select(*columns).where(outputs.c.state == OutputState.TRASHED))
    return {os.path.join(storage, name_aside(*named)) for storage, *named in rows}


def _find(connection: Connection, column: Any, names: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(names), CHUNK):
        found.update(connection.scalars(select(column).where(column.in_(names[start : start + CHUNK]))))
    return found
