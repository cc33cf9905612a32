"""The register of files: imports and removals write into it, each in one transaction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, Select, Table, and_, delete, select, update

from reconciler.ledger.schema.file_tables import removals, replicas
from reconciler.ledger.schema.rows import bind, insert_rows, match_bound, without_collection
from reconciler.ledger.schema.tables import files, inputs, ledger, outputs, products
from reconciler.ledger.writing.dataset_sums import record_registered
from reconciler.model.run import File
from reconciler.outside.checksums import digest_file
from reconciler.outside.storage.mounts import holds_anything
from reconciler.run_catalogue.catalogue import find_excessive
from reconciler.run_catalogue.dataset_register import UNKNOWN, Provenance, read_datasets, register_datasets
from reconciler.run_catalogue.file_decision import Decision, FilePlace, Key, Known, Replica, key_of
from reconciler.run_catalogue.filing import decide, list_comparisons, list_paths
from reconciler.run_catalogue.lists.values import list_spellings, spell_checksum
from reconciler.run_catalogue.run_import import ImportedRuns, move_serial
from renderer.identity.fingerprint import digest_files
from schemas.manifest.dataset import DatasetName, hold_level, name_dataset, parse_dataset
from schemas.manifest.runs import format_run, run_key

CHUNK = 900
"""How many values one query has at most: SQLite before 3.32 takes 999."""

_RUN = ("dataset", "experiment", "run")
FILE = (*_RUN, "name")
COLUMNS = tuple(File.__slots__)
_values = attrgetter(*COLUMNS)


RunAt = tuple[str, int, int]
"""Dataset, experiment, run."""


@dataclass(frozen=True, slots=True)
class Filed:
    """The result of a file import. `excess` describes runs with more events than their records state."""

    decision: Decision
    excess: tuple[str, ...]

    @property
    def counts(self) -> ImportedRuns:
        """How many files are new, changed (or moved) and unchanged."""
        made = self.decision
        changed = len(made.moved) + len(made.changed) + len(made.assigned)
        return ImportedRuns(len(made.new), changed, made.unchanged)


class Disk:
    """The files that this machine can see. A checksum is computed only once, since it takes long."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], str | None] = {}

    def judge(self, file: File) -> FilePlace:
        """Whether a file is at its path. This is not known if its folder is missing or empty here."""
        if file.storage != "disk":
            return FilePlace.UNKNOWN
        place = find_place(file.path)
        unsure = place is FilePlace.GONE and not _has_neighbours(Path(file.path))
        return FilePlace.UNKNOWN if unsure else place

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file."""
        try:
            return os.path.realpath(one) == os.path.realpath(other)
        except OSError:
            return False

    def digest(self, path: str, algorithm: str) -> str | None:
        """The checksum of the file at a path, or None if it cannot be computed."""
        if (path, algorithm) not in self._digests:
            try:
                self._digests[path, algorithm] = digest_file(Path(path), algorithm)
            except OSError:
                self._digests[path, algorithm] = None
        return self._digests[path, algorithm]


def find_place(path: str) -> FilePlace:
    """Whether a file or folder is at a path, as far as this machine can tell."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FilePlace.GONE
    except OSError:
        return FilePlace.UNKNOWN
    return FilePlace.THERE


def _has_neighbours(path: Path) -> bool:
    """Whether the nearest existing folder of a path holds anything. A folder that is not mounted is empty."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    if folder == folder.parent:
        return False
    try:
        return holds_anything(folder)
    except OSError:
        return False


@without_collection()
def import_files(
    engine: Engine,
    found: Sequence[File],
    others: Sequence[Replica] = (),
    named: Iterable[str] = (),
    when: str = "",
    provenance: Provenance = UNKNOWN,
) -> Filed:
    """Registers files, and `others` as further places of files. Refused files change nothing, and no file is removed.

    Each file goes into its dataset; `provenance` says how the adopted ones were made. A file of which it was not known whose it
    is goes over into the dataset that it has now.

    `named` are paths that were given one by one. Such a file is registered again, at the time `when`, if it was removed.
    """
    disk = Disk()
    with engine.begin() as connection:
        known, serial = _read_known(connection, found, others), _read_serial(connection)
    asked = list_comparisons(found, known)
    for path, algorithm in asked:  # computed before the transaction, which lets nobody else write
        disk.digest(path, algorithm)
    with engine.begin() as connection:
        if asked or _read_serial(connection) != serial:
            known = _read_known(connection, found, others)
        decision = decide(found, others, known, disk, frozenset(named))
        changed = [file for _, file in (*decision.moved, *decision.changed)]
        assigned = [file for _, file in decision.assigned]
        register_datasets(connection, [*decision.new, *assigned], provenance, when)
        insert_rows(connection, files, COLUMNS, map(_values, decision.new))
        back = (file for file in decision.new if (key_of(file), file.checksum) in known.removed)
        _restore(connection, back, when)
        if changed:
            rows = [{**asdict(file), **bind(FILE, key_of(file))} for file in changed]
            connection.execute(update(files).where(match_bound(files, FILE)), rows)
        for before, file in decision.assigned:
            key = key_of(before)
            connection.execute(update(files).where(match_file(files, key)).values(asdict(file)))
            here = update(replicas).where(match_file(replicas, key))
            connection.execute(here.values(dataset=file.dataset))
        copies = ((*key, path, storage) for key, path, storage in decision.replicas)
        insert_rows(connection, replicas, (*FILE, "path", "storage"), copies)
        written = {key_of(file): file for file in (*decision.new, *changed, *assigned)}
        left = {key_of(before) for before, _ in decision.assigned}
        after = {key: file for key, file in {**known.files, **written}.items() if key not in left}
        if written:
            sum_inputs(connection, after.values(), {key[:3] for key in written.keys() | left})
            move_serial(connection)
        excess = tuple(_find_excess(connection, {key_of(file)[:3] for file in found}))
    return Filed(decision, excess)


def _read_serial(connection: Connection) -> int:
    return int(connection.execute(select(ledger.c.catalogue_serial)).scalar_one())


def _read_known(connection: Connection, found: Sequence[File], others: Sequence[Replica]) -> Known:
    """The part of the catalogue that concerns an import."""
    known: dict[Key, File] = {}

    def take(conditions: Iterable[ColumnElement[bool]]) -> None:
        known.update((key_of(file), file) for file in select_files(connection, conditions))

    everything = [*found, *(one.file for one in others)]
    runs_at = {key_of(file)[:3] for file in everything}
    runs_at |= {(hold_level(file.level), file.experiment, file.run) for file in found}
    take(match_runs(files, runs_at))
    # A file that is registered unchanged cannot contradict.
    everything = [file for file in everything if known.get(key_of(file)) != file]
    checksums = {one for file in everything for one in list_spellings(file.checksum)}
    take(_match_any(files.c.checksum, checksums))
    originals = {one.of for one in others if one.of}
    absolute = set(filter(os.path.isabs, originals))
    take(_match_any(files.c.name, originals - absolute))
    paths = list_paths(everything) | absolute
    take(_match_any(files.c.id, _find_paths(connection, files, paths)))
    copies: dict[str, Key] = {}
    for condition in _match_any(replicas.c.id, _find_paths(connection, replicas, paths)):
        query = select(replicas.c.path, *(replicas.c[name] for name in FILE)).where(condition)
        copies.update((path, (*key,)) for path, *key in connection.execute(query))
    gone: set[tuple[Key, str]] = set()
    for condition in match_runs(removals, runs_at):
        query = select(removals.c.checksum, *(removals.c[name] for name in FILE))
        rows = connection.execute(query.where(condition, removals.c.restored.is_(None)))
        gone.update(((*key,), spell_checksum(checksum)) for checksum, *key in rows)
    levels = {name: one.level for name, one in read_datasets(connection).items()}
    published, made = _read_published(connection, found)
    return Known(known, copies, frozenset(gone), levels, published, made)


def _read_published(
    connection: Connection, found: Sequence[File]
) -> tuple[Mapping[str, str], frozenset[str]]:
    """Path → dataset, for those of the files that units made; and those of their datasets that units make."""
    columns = (outputs.c.campaign, outputs.c.step, outputs.c.output)
    made: set[str] = set()
    for name in {file.dataset for file in found}:
        one = parse_dataset(name)
        if not one.is_held and connection.execute(_choose_made(one).limit(1)).first():
            made.add(name)
    published: dict[str, str] = {}
    for storage in connection.scalars(select(outputs.c.storage).distinct()).all():
        below = f"{storage}/"
        paths = {file.path for file in found if file.path.startswith(below)}
        folders = {os.path.dirname(path).removeprefix(below) for path in paths}
        query = select(*columns, outputs.c.folder, products.c.path).join(
            products, products.c.output == outputs.c.id
        )
        for condition in _match_any(outputs.c.folder, folders):
            for campaign, step, output, folder, path in connection.execute(
                query.where(outputs.c.storage == storage, condition)
            ):
                if (place := os.path.join(storage, folder, path)) in paths:
                    published[place] = name_dataset(campaign, step, output)
    return published, frozenset(made)


def _choose_made(name: DatasetName) -> Select[tuple[int]]:
    here = (outputs.c.campaign == name.campaign, outputs.c.step == name.step, outputs.c.output == name.output)
    return select(outputs.c.id).where(*here)


def select_files(connection: Connection, conditions: Iterable[ColumnElement[bool]]) -> Iterator[File]:
    """The registered files that meet one of the conditions, in the order of the conditions."""
    query = select(*(files.c[name] for name in COLUMNS))
    for condition in conditions:
        yield from (File(*row) for row in connection.execute(query.where(condition)))


def select_below(connection: Connection, beginning: str) -> Iterator[File]:
    """The registered files whose paths begin so."""
    alike = select_files(connection, [files.c.path.startswith(beginning, autoescape=True)])
    return (file for file in alike if file.path.startswith(beginning))  # SQLite ignores case


def _find_paths(connection: Connection, table: Table, paths: set[str]) -> list[int]:
    """The ids of the rows with one of these paths. There is no index of paths, so the table is read once."""
    common = os.path.commonprefix(sorted(paths))  # noqa: RUF071 -- the common beginning of the texts, not of the folders
    query = select(table.c.id, table.c.path).where(table.c.path.startswith(common, autoescape=True))
    return [number for number, path in connection.execute(query) if path in paths] if paths else []


def _restore(connection: Connection, back: Iterable[File], when: str) -> None:
    """Records that removed files came back."""
    for file in back:
        spelt = removals.c.checksum.in_(list_spellings(file.checksum))
        same = and_(match_file(removals, key_of(file)), spelt)
        connection.execute(update(removals).where(same, removals.c.restored.is_(None)).values(restored=when))


def sum_inputs(connection: Connection, members: Iterable[File], moved: set[RunAt]) -> None:
    """Updates the input of units for the runs in `moved`, and the sums of their datasets. `members` are all files of these runs."""
    by_run: dict[RunAt, list[File]] = {}
    for file in members:
        if (place := key_of(file)[:3]) in moved:
            by_run.setdefault(place, []).append(file)
    rows = []
    for place, here in by_run.items():
        digest = digest_files((file.name, file.size, file.checksum) for file in here)
        size, on_disk = sum(file.size for file in here), sum(file.storage == "disk" for file in here)
        counted = [file.events for file in here if file.events is not None]
        events = sum(counted) if len(counted) == len(here) else None
        rows.append((*place, digest, len(here), size, events, on_disk))
    old = [bind(_RUN, place) for place in moved]
    connection.execute(delete(inputs).where(match_bound(inputs, _RUN)), old)
    insert_rows(connection, inputs, (*_RUN, "digest", "files", "bytes", "events", "on_disk"), rows)
    record_registered(connection, {dataset for dataset, _, _ in moved})


def _find_excess(connection: Connection, touched: set[RunAt]) -> Iterator[str]:
    """The touched runs that have more registered events than their records state, in words."""
    names, experiments = {one[0] for one in touched}, sorted({one[1] for one in touched})
    excessive = find_excessive(connection, names, experiments)
    for dataset, experiment, run in sorted(touched):
        key = run_key(experiment, run)
        if (said := excessive.get(dataset, {}).get(key)) is not None:
            yield f"{format_run(key)}: {said}"


def match_file(table: Table, key: Sequence[object]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in zip(FILE, key, strict=True)))


def match_runs(table: Table, places: set[RunAt]) -> Iterator[ColumnElement[bool]]:
    """Conditions for the rows of these runs: each row meets one of them."""
    for (dataset, experiment), group in groupby(sorted(places), key=itemgetter(0, 1)):
        for within in _match_any(table.c.run, [run for _, _, run in group]):
            yield and_(table.c.dataset == dataset, table.c.experiment == experiment, within)


def _match_any(column: Column[Any], values: Iterable[Any]) -> Iterator[ColumnElement[bool]]:
    """Conditions for the rows with one of these values: each row meets one of them."""
    listed = sorted(values)
    return (column.in_(listed[start : start + CHUNK]) for start in range(0, len(listed), CHUNK))
