"""A watched source of files: a folder, or a list of files.

What is registered with the size that it has now is not read again, and what was read and not registered is remembered as
long as the file does not change: a folder may have a million files.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from reconciler.ledger.store.database import State, opened, reading
from reconciler.model.run import File
from reconciler.outside.clock import Clock
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.file_decision import FilePlace, RefusedFile, Replica
from reconciler.run_catalogue.file_register import Filed, find_place, import_files, select_below
from reconciler.run_catalogue.lists.file_lists import StatedFile, find_files
from reconciler.run_catalogue.lists.run_lists import RefusedRow
from reconciler.run_catalogue.run_import import replace_quarantine
from reconciler.sources.port import Finish, Intake
from reconciler.sources.quiet import is_quiet, was_quiet
from reconciler.sources.records import read_listed, record_listed
from schemas.policy.sources import FileSource

if TYPE_CHECKING:
    from reconciler.run_catalogue.file_import import FoundFile

Memory = dict[tuple[StatedFile, int, int], "FoundFile | RefusedFile"]
"""What is said of a file, its size and the time of its last change (ns) → what was read of it."""


@dataclass(slots=True)
class _Looked:
    """What a look at the source found: what is to be registered, what cannot be, how many files are still written."""

    found: list[File] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    refused: list[RefusedFile] = field(default_factory=list)
    written: int = 0


@dataclass(frozen=True, slots=True)
class WatchedFiles:
    """Files as `files import` takes them. `memory` is kept from one question to the next; one thread uses it at a time."""

    site: str
    source: FileSource
    state: State
    clock: Clock
    memory: Memory = field(repr=False)

    @property
    def name(self) -> str:
        """Site, kind and place."""
        return f"{self.site}: {self.source.what}"

    @property
    def every(self) -> int:
        """The interval in minutes."""
        return self.source.every

    def read(self) -> Finish:
        """Reads what is new, and registers it: that looks at the disk too, so it does not wait for the end of a turn.

        Raises:
            SourceUnavailable: the folder or the list cannot be read to its end, is empty, or the list is shorter than before.
        """
        source = self.source
        place = Path(source.path)
        if source.list is not None and not is_quiet(place, source.quiet, self.clock):
            return lambda: Intake(again=source.quiet, put_off=True)
        if source.folder is not None and not place.is_dir():
            raise SourceUnavailable(f"there is no folder {place}; nothing was changed")
        rows = find_files(place)
        stated = {_spell(place, row): row for row in rows if isinstance(row, StatedFile)}
        with reading(self.state) as connection:
            before = read_listed(connection, self.name)
            top = f"{place}/" if source.folder else _find_top(stated.keys() | before)
            known = {file.path: file for file in select_below(connection, top)}
        if missing := sorted((before - stated.keys()) & known.keys()):
            raise SourceUnavailable(
                f"it lacks files that it had before: {len(missing)}, first {missing[0]}; nothing was changed. If they are"
                " to go, say so first: `b2prod files remove FILE … --reason …`"
            )
        looked = self._look(place, rows, known)
        with opened(self.state) as engine:
            filed = import_files(engine, looked.found, looked.replicas, when=self.clock.show())
            looked.refused += filed.decision.refused
            if source.list is not None:
                self._keep_list(engine, stated, looked.refused)
        gone = list(_find_gone(known.values(), stated)) if source.folder else []
        taken = self._tell(looked, filed, gone)
        return lambda: taken

    def _look(
        self, place: Path, rows: Iterable[StatedFile | RefusedRow], known: Mapping[str, File]
    ) -> _Looked:
        from reconciler.run_catalogue.file_import import read_files  # noqa: PLC0415 -- reading ROOT files costs a second

        looked = _Looked()
        met: Memory = {}
        for row in rows:
            if isinstance(row, RefusedRow):
                looked.refused.append(RefusedFile("", row.reason, row.line, row.text))
                continue
            path = _spell(place, row)
            status = _look_at(path) if row.storage == "disk" and None in (row.size, row.checksum) else None
            if _is_registered(row, self.source.dataset, known.get(path), status):
                continue
            if status is not None and not was_quiet(status, self.source.quiet, self.clock):
                looked.written += 1
                continue
            mark = None if status is None else (row, status.st_size, status.st_mtime_ns)
            item = None if mark is None else self.memory.get(mark)
            if item is None:
                (item,) = read_files([row], self.source.level, place.parent, self.source.dataset)
            if mark is not None:
                met[mark] = item
            if isinstance(item, RefusedFile):
                looked.refused.append(item)
            elif item.replica_of is not None:
                looked.replicas.append(Replica(item.file, item.replica_of))
            else:
                looked.found.append(item.file)
        self.memory.clear()  # what is gone, or registered, is not needed any more
        self.memory.update(met)
        return looked

    def _keep_list(
        self, engine: Engine, stated: Mapping[str, StatedFile], refused: Iterable[RefusedFile]
    ) -> None:
        rows = []
        for one in refused:
            row = stated.get(one.path, one)
            reason = f"{one.path}: {one.reason}" if one.path else one.reason
            rows.append(RefusedRow(row.line, row.text, reason))
        with engine.begin() as connection:
            record_listed(connection, self.name, stated)
            replace_quarantine(connection, f"files {self.source.list}", rows, self.clock.show())

    def _tell(self, looked: _Looked, filed: Filed, gone: Sequence[str]) -> Intake:
        counts, notes = filed.counts, []
        if looked.refused:
            first = looked.refused[0]
            why = ": ".join(filter(None, (first.path, first.reason)))
            notes.append(f"refused: {len(looked.refused)}, first {why}")
        if gone:
            notes.append(f"gone, and still registered: {len(gone)}, first {gone[0]}")
        for path, after in filed.decision.alone[:1]:
            notes.append(f"{path}: basf2 reads {after} after it, which is not registered")
        if filed.excess:
            notes.append(f"more events than the run has: {filed.excess[0]}")
        news = f"{counts.new} new, {counts.changed} changed" if counts.new or counts.changed else None
        again = self.source.quiet if looked.written else None
        return Intake(news, "; ".join(notes) or None, again=again)


def _spell(place: Path, row: StatedFile) -> str:
    """The path of a row as the catalogue has it; relative paths start beside the list."""
    return os.path.normpath(place.parent / row.path)


def _find_top(paths: Iterable[str]) -> str:
    """The beginning that the paths share."""
    return os.path.commonprefix(sorted(paths))  # noqa: RUF071 -- the common beginning of the texts, not of the folders


def _look_at(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None  # the reader says why it is refused


def _is_registered(
    row: StatedFile, dataset: str | None, known: File | None, status: os.stat_result | None
) -> bool:
    """Whether a file is registered with all that is said and seen of it now; `dataset` is that of its source."""
    if known is None:
        return False
    seen = row.size if status is None else status.st_size
    said = (
        row.level,
        row.experiment,
        row.run,
        row.events,
        row.checksum,
        row.simulated,
        row.dataset or dataset,
    )
    names = ("level", "experiment", "run", "events", "checksum", "simulated", "dataset")
    there = (getattr(known, name) for name in names)
    alike = all(one in (None, other) for one, other in zip(said, there, strict=True))
    same = (row.name, row.storage, row.replica_of) == (known.name, known.storage, None)
    return alike and same and seen == known.size


def _find_gone(known: Iterable[File], paths: Container[str]) -> Iterator[str]:
    for file in known:
        if file.storage == "disk" and file.path not in paths and find_place(file.path) is FilePlace.GONE:
            yield file.path
