"""Publishing: puts verified files at their final places, never over another file. A crash in between does no harm."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path

from reconciler.datasets.places import ForeignPlace, Places
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.reading.output_records import LARGEST, RecordFile, is_same_output
from reconciler.ledger.writing.units import Ledger
from reconciler.model.work_items import Address, Move
from reconciler.outside.checksums import digest_content
from reconciler.outside.durable import sync
from reconciler.outside.errors import SourceUnavailable, foreseeing
from reconciler.outside.plain_files import NotPlain, create_plain, open_plain, read_plain
from reconciler.outside.storage.mounts import find_trouble
from renderer.event_data.event_numbers import (
    LINE,
    RECORD,
    EventNumbers,
    RecordError,
    RepeatedEventsError,
    read_record,
)
from schemas.manifest.runs import format_run

CLOSED = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT)
)
"""Errors of a file system that accepts nothing at all now."""
UNABLE = frozenset(
    (errno.EPERM, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
)
"""Errors of a file system that does not support what was asked for."""
RENAME_NOREPLACE = 1
BLOCK = 1 << 24
MOST = 5_000_000_000
"""Largest size in bytes of a record of events."""


class PublishingRefused(Exception):
    """A final place holds another file, or the verified file is gone or changed. Nothing was overwritten."""


class StorageClosed(SourceUnavailable):
    """A storage accepts nothing now, from any unit."""


@dataclass(frozen=True, slots=True)
class EndedUnit:
    """A unit whose last live attempt has ended; `failure` is the reason, None if the unit was produced."""

    address: Address
    failure: str | None


def check_storage(storage: str) -> None:
    """Checks that a storage in which files are published is mounted.

    Raises:
        StorageClosed: the storage is not there, or is empty.
    """
    if trouble := find_trouble(storage):
        raise StorageClosed(f"the storage {storage} {trouble}")


class Publisher:
    """Publishes the units of one ledger, in one turn.

    `delayed` maps units to reasons: their jobs are verified, but their files cannot be published now.
    `closed` maps campaigns to reasons: nothing of them can be published now.
    """

    def __init__(self, ledger: Ledger, workspace: Workspace, places: Places) -> None:
        self.delayed: dict[Address, str] = {}
        self.closed: dict[str, str] = {}
        self._ledger = ledger
        self._workspace = workspace
        self._places = places
        self._filled: dict[str, bool] = {}

    def publish_unit(self, intent: int, address: Address) -> EndedUnit | None:
        """Publishes a unit. Returns the ended unit; None if it waits for its storage."""
        moves = self._ledger.list_moves(intent)
        try:
            records = self._ledger.list_event_numbers(intent)
            if shared := find_shared_events(records, self._workspace, format_run(address[2])):
                self._ledger.record_refused(intent, shared)
                return EndedUnit(address, shared)
            for storage in {move.storage for move in moves}:
                self._check_storage(storage)
            publish(moves, self._workspace, self._ledger.write_records(intent))
        except PublishingRefused as refused:
            self._ledger.record_refused(intent, str(refused))
            return EndedUnit(address, str(refused))
        except SourceUnavailable as error:
            self._ledger.record_delayed(intent, str(error))
            self.delayed[address] = str(error)
            if isinstance(error, StorageClosed):
                self.closed[address[0]] = str(error)
            return None
        self._ledger.record_produced(intent)
        self._filled.update((move.storage, True) for move in moves)
        self._workspace.sweep({move.attempt for move in moves})
        return EndedUnit(address, None)

    def _check_storage(self, storage: str) -> None:
        """If something was published to a storage before, checks that the storage is mounted and belongs to the ledger."""
        if storage not in self._filled:
            self._filled[storage] = self._places.is_filled(storage)
        if not self._filled[storage]:
            return
        check_storage(storage)
        try:
            self._places.check_storage(storage)
        except (ForeignPlace, SourceUnavailable) as error:
            raise StorageClosed(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Transfer:
    """A file to be published: it is copied from the job's folder to `beside`, and then gets its name at the final place."""

    move: Move
    source: Path
    final: Path
    beside: Path


def publish(moves: Iterable[Move], workspace: Workspace, records: Iterable[RecordFile] = ()) -> None:
    """Publishes files and their records. A file that an interrupted run has published already is accepted if it is the same.

    A job may still write into its folder. So copies are published, read only, and each copy is compared with what was verified.
    No file gets its final name before all copies and all records are there. So a published file always has its record.

    Raises:
        PublishingRefused: nothing was overwritten; the message names the file.
        StorageClosed: the storage accepts nothing now; the next turn continues.
        SourceUnavailable: this place cannot be written now; the next turn tries again.
    """
    transfers = [_plan_transfer(move, workspace) for move in moves]
    try:
        missing = []
        for one in transfers:
            with _judging(one.final, one.move.storage):
                if _bring(one):
                    missing.append(one)
        for record in records:
            _put_record(record)
        for one in missing:
            with _judging(one.final, one.move.storage):  # the next turn checks a file that appeared just now
                _place(one)
    finally:
        for one in transfers:
            with contextlib.suppress(OSError):
                one.beside.unlink()
    for folder, storage in {one.final.parent: one.move.storage for one in transfers}.items():
        with _judging(folder, storage):
            sync(folder)


def _put_record(record: RecordFile) -> None:
    """Writes a record completely and read only, and never over another file."""
    final = Path(record.storage, record.folder, record.name)
    beside = final.with_name(f".{record.name}.part")
    try:
        with _judging(final, record.storage):
            if not os.path.lexists(final):
                beside.unlink(missing_ok=True)
                with create_plain(beside, 0o444) as stream:
                    stream.write(record.content)
                    os.fsync(stream.fileno())
                _give_name(beside, final, record.storage)
            found = read_plain(final, LARGEST)
    except NotPlain as error:
        raise PublishingRefused(f"{final}: {error}; it was left as it is") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    if found != record.content and not is_same_output(found, record.content):
        raise PublishingRefused(f"{final} exists and is the record of something else; it was left as it is")


def _plan_transfer(move: Move, workspace: Workspace) -> _Transfer:
    folder = Path(move.storage, move.folder)
    beside = folder / f".{move.path}.{move.attempt}"
    return _Transfer(move, workspace.path(move.attempt) / move.path, folder / move.path, beside)


def _bring(transfer: _Transfer) -> bool:
    """Copies a file next to its final place and checks the copy; returns false if the final place has it already."""
    move, final = transfer.move, transfer.final
    _make_folders(final.parent)
    if final.is_symlink() or final.exists():
        if not _is_same(final, move):
            raise PublishingRefused(f"{final} exists and is another file; it was left as it is")
        if _is_sealed(transfer):
            return False
    transfer.beside.unlink(missing_ok=True)
    try:
        with open_plain(transfer.source) as source:
            _copy(source, transfer.beside, move.size)
    except FileNotFoundError:
        raise PublishingRefused(
            f"{transfer.source} was verified, and is gone before it was published"
        ) from None
    except NotPlain as error:
        raise PublishingRefused(f"{transfer.source} was verified, and now {error}") from None
    if not _is_same(transfer.beside, move):
        raise PublishingRefused(f"{transfer.source} was changed after it was verified; nothing was published")
    return True


def _copy(source: FileIO, target: Path, size: int) -> None:
    """Copies a file to a new file that is read only. The blocks are shared if the file system supports this.

    At most one byte more than `size` is copied: a file that was changed, or still grows, must not fill the storage.
    """
    with create_plain(target, 0o444) as stream:
        left, opened = size + 1, stream.fileno()
        try:
            while left and (count := os.copy_file_range(source.fileno(), opened, min(left, BLOCK))):
                left -= count
        except OSError as error:
            if error.errno not in UNABLE:
                raise
            while left and (part := source.read(min(left, BLOCK))):
                stream.write(part)
                left -= len(part)
        os.fsync(opened)


def _place(transfer: _Transfer) -> None:
    """Gives a copy its final name, unless another file has that name."""
    if os.path.lexists(transfer.final) and _is_same(transfer.final, transfer.move):
        os.replace(transfer.beside, transfer.final)  # it has the same bytes, but somebody may still change it
        return
    _give_name(transfer.beside, transfer.final, transfer.move.storage)


def _give_name(beside: Path, final: Path, storage: str) -> None:
    """Gives a complete file its final name, unless something has that name.

    Raises:
        StorageClosed: the file system supports no safe way to do this.
    """
    try:
        _link_or_rename(beside, final)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        raise StorageClosed(
            f"nothing can be published to {storage}, which has neither hard links nor renames that replace"
            f" nothing ({error.strerror}): `b2prod doctor` tells more"
        ) from error


def _link_or_rename(source: Path, target: Path) -> None:
    """Gives a file a name that nothing has, by a hard link or by a rename. Its old name may remain."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        _rename(source, target)


def try_storage(storage: Path) -> str | None:
    """Tests with empty files whether something can be published to a folder. Returns why not, or None.

    The test files are removed again.

    Raises:
        OSError: the folder cannot be written, so nothing is known about what it supports.
    """
    with tempfile.TemporaryDirectory(prefix=".b2prod-trial-", dir=storage) as name:
        folder = Path(name)
        first, second, final = folder / ".first", folder / ".second", folder / "final"
        for one in (first, second):
            one.touch()
        sync(first)
        try:
            _link_or_rename(first, final)
        except OSError as error:
            return f"it has neither hard links nor a rename that replaces nothing: {error.strerror}"
        with contextlib.suppress(FileExistsError):
            _link_or_rename(second, final)
            return "a file that is there is replaced by a link or a rename that must not"
        try:
            sync(folder)
        except OSError as error:
            return f"a folder cannot be brought to disk (fsync): {error.strerror}"
    return None


def _is_sealed(transfer: _Transfer) -> bool:
    """Whether the file at the final place is ours, is not a hard link to the job's file, and is read only."""
    found = transfer.final.lstat()
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(found, transfer.source.lstat()):
            return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o222


def _rename(source: Path, target: Path) -> None:
    """Renames a file, never over another one, for file systems without hard links (BeeGFS, some FUSE and NFS mounts)."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = -100  # AT_FDCWD
    if libc.renameat2(here, os.fsencode(source), here, os.fsencode(target), RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


@contextlib.contextmanager
def _judging(place: Path, storage: str) -> Iterator[None]:
    """Turns an error of the file system into `StorageClosed`, or into `SourceUnavailable` if only this place is affected."""
    try:
        yield
    except OSError as error:
        usable = os.path.isdir(storage) and os.access(storage, os.W_OK | os.X_OK)
        kind = SourceUnavailable if usable and error.errno not in CLOSED else StorageClosed
        raise kind(f"{place} cannot be written now: {error.strerror}") from error


def _is_same(final: Path, move: Move) -> bool:
    """Whether a plain file (not a link) has the size and the checksum of the move."""
    found = final.lstat()
    plain = stat.S_ISREG(found.st_mode) and found.st_size == move.size
    return plain and digest_content(final) == move.checksum


def _make_folders(folder: Path) -> None:
    """Makes a folder and its parents. Each is on disk before something is put into it."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        sync(parent.parent)


def find_shared_events(
    records: Sequence[tuple[str, str, int | None]], workspace: Workspace, run: str
) -> str | None:
    """Checks that no event was read by two jobs of a unit. Returns what is wrong, or None.

    Each of `records` has the name of an attempt, the checksum of its record of events, and the largest number of events in it,
    None if not known; `run` is written as in 3:529. Memory: about 16 bytes for each event.
    """
    if len(records) < 2:
        return None
    found = EventNumbers(run)
    for attempt, checksum, events in records:
        file = workspace.path(attempt) / RECORD
        with foreseeing(f"{file} cannot be read now"):
            try:
                content = read_plain(file, MOST if events is None else min(MOST, LINE + 5 * events))
            except (FileNotFoundError, NotPlain):
                return f"{file} was verified, and is gone before the unit was published"
        if f"sha256:{sha256(content).hexdigest()}" != checksum:
            return f"{file} was verified, and is another file now"
        try:
            for numbers in read_record(content, events):
                found.add_file(numbers)
        except RecordError as error:
            return f"{file} is not a record of events: {error}"
        except RepeatedEventsError as error:
            return str(error)
    return None
