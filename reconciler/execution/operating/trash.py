"""The trash of a storage: files of outputs are put aside there, brought back, or deleted, one output at a time.

The trash is a hidden folder of the storage itself, so that a rename suffices. The record of an output goes first and comes back
last: whoever reads the storage alone never takes half an output for a whole one. A deleted output leaves its record as a
tombstone. Everything may be done again, because a process may end at any point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, not_, select

from reconciler.ledger.schema.operation_tables import copies
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, products
from reconciler.model.names import TOMBSTONES, name_aside, name_manifest, name_record
from reconciler.model.operations import CopyKind
from reconciler.model.states import CLAIMING
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.storage.storage_tree import OddFile, SeenFile, StorageTree


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of an output: `sizes` maps names to bytes; `folder` is below `storage`, `aside` the folder in its trash.

    `record` and `manifest` describe it, and may be there. Of an output that lies on tape alone, no file is on disk. `is_aside` says
    whether the ledger has it in the trash, as it was read back.
    """

    number: int
    storage: str
    folder: str
    aside: str
    record: str
    manifest: str
    sizes: dict[str, int]
    is_aside: bool = False

    @property
    def tombstone(self) -> str:
        """Where its record goes when it is deleted."""
        return f"{TOMBSTONES}/{self.folder}/{self.record}"

    def list_names(self) -> Iterator[tuple[str, int | None]]:
        """Yields what describes it and the files, with the sizes that are known."""
        yield self.record, None
        yield self.manifest, None
        yield from sorted(self.sizes.items())


def read_files(connection: Connection, numbers: Sequence[int]) -> list[StoredFiles]:
    """The files of outputs, in the order of their numbers.

    The folder in the trash depends on the output alone, so that each action and an older ledger find what another has put there.
    """
    named = (outputs.c[name] for name in ("id", "storage", "folder", "output", "version", "fingerprint"))
    known = and_(copies.c.output == outputs.c.id, copies.c.kind == CopyKind.TRASH, copies.c.there)
    query = (
        select(*named, products.c.path, products.c.size, copies.c.folder.label("aside"))
        .outerjoin(products, products.c.output == outputs.c.id)
        .outerjoin(copies, known)
    )
    released = {number for part in divide(numbers) for number in _list_released(connection, part)}
    found: dict[int, StoredFiles] = {}
    for part in divide(numbers):
        for row in connection.execute(query.where(outputs.c.id.in_(part))):
            aside = row.aside or name_aside(row.folder, row.fingerprint, row.version)
            record = name_record(row.output, row.version)
            described = aside, record, name_manifest(row.output, row.version)
            one = found.setdefault(
                row.id,
                StoredFiles(row.id, row.storage, row.folder, *described, {}, row.aside is not None),
            )
            if row.path is not None and row.id not in released:
                one.sizes[row.path] = row.size
    return [found[number] for number in numbers]


def _list_released(connection: Connection, numbers: Sequence[int]) -> set[int]:
    """Those of the outputs that lie on tape alone: they have left the disk, and not for the trash."""
    aside = copies.alias()
    trashed = exists().where(aside.c.output == copies.c.output, aside.c.kind == CopyKind.TRASH, aside.c.there)
    away = (copies.c.kind == CopyKind.DISK, copies.c.there.is_(False), not_(trashed))
    return {*connection.scalars(select(copies.c.output).where(copies.c.output.in_(numbers), *away))}


def find_remade(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    """Those of the outputs that their campaign has made again, or is making, each with the version of the other one."""
    other = outputs.alias()
    same = and_(
        other.c.campaign == outputs.c.campaign,
        other.c.fingerprint == outputs.c.fingerprint,
        other.c.state.in_(CLAIMING),
        other.c.id != outputs.c.id,
    )
    query = select(outputs.c.id, other.c.version).join(other, same)
    found: dict[int, int] = {}
    for part in divide(numbers):
        rows = connection.execute(query.where(outputs.c.id.in_(part)))
        found.update((number, version) for number, version in rows)
    return found


def put_aside(tree: StorageTree, one: StoredFiles) -> None:
    """Moves an output into the trash, completely or not at all.

    Raises:
        OddFile: a file is not there, or not what was published; all of the output is where it was.
        SourceUnavailable: the storage cannot be told or changed now; a part may be in the trash, and the next turn goes on.
    """
    _move(tree, one, one.folder, one.aside, [*one.list_names()])


def bring_back(tree: StorageTree, one: StoredFiles) -> None:
    """Moves an output out of the trash, completely or not at all; it raises what `put_aside` raises."""
    _move(tree, one, one.aside, one.folder, [*reversed([*one.list_names()])])
    tree.remove_empty(one.aside)


def _move(
    tree: StorageTree, one: StoredFiles, source: str, target: str, names: Sequence[tuple[str, int | None]]
) -> None:
    """Moves files in the order of their names; what a killed process moved already stays."""
    moved: list[tuple[str, SeenFile]] = []
    try:
        for name, seen in _look_at_all(tree, one, source, target, names, moved):
            tree.rename(f"{source}/{name}", f"{target}/{name}", seen)
            moved.append((name, seen))
    except OddFile as odd:
        try:
            for name, seen in reversed(moved):
                tree.rename(f"{target}/{name}", f"{source}/{name}", seen)
        except OddFile as error:
            raise SourceUnavailable(f"{odd}; and {error}: a part of the output is elsewhere") from error
        raise


def _look_at_all(
    tree: StorageTree,
    one: StoredFiles,
    source: str,
    target: str,
    names: Sequence[tuple[str, int | None]],
    moved: list[tuple[str, SeenFile]],
) -> list[tuple[str, SeenFile]]:
    """The files that are to be moved, after all were looked at; those that are at the target already are added to `moved`."""
    left: list[tuple[str, SeenFile]] = []
    for name, size in names:
        here, there = _look_at_both(tree, f"{source}/{name}", f"{target}/{name}", size)
        if here is not None:
            left.append((name, here))
        elif there is not None:
            moved.append((name, there))
        elif name in one.sizes:
            raise OddFile(f"{tree.root}/{source}/{name} is not there")
    return left


def _look_at_both(
    tree: StorageTree, source: str, target: str, size: int | None
) -> tuple[SeenFile | None, SeenFile | None]:
    """What is at a file's place and at the place where it goes: at most one of both is not None."""
    here, there = tree.look(source), tree.look(target)
    if here is not None and there is not None and here.inode == there.inode and here.names == 2:
        tree.remove(
            source, here
        )  # a file system without such a rename: a process ended between link and unlink
        here = None
    if here is not None and there is not None:
        raise OddFile(f"{tree.root}/{target} exists already")
    return (
        None if here is None else tree.look_at_own(source, size),
        None if there is None else tree.look_at_own(target, size),
    )


def delete(tree: StorageTree, one: StoredFiles) -> None:
    """Deletes the files of an output that are in the trash, and makes its record its tombstone.

    Raises:
        OddFile: something in the trash is not what was put there, or the output is at its old place again; nothing is deleted then,
            unless a file was exchanged after it was looked at.
        SourceUnavailable: the storage cannot be told or changed now; the next turn goes on.
    """
    for name in one.sizes:
        if tree.look(f"{one.folder}/{name}") is not None:
            raise OddFile(f"{tree.root}/{one.folder}/{name} is at its old place again")
    seen = {
        name: found
        for name, size in sorted(one.sizes.items(), reverse=True)
        if (found := tree.look_at_own(f"{one.aside}/{name}", size)) is not None
    }
    manifest = tree.look_at_own(f"{one.aside}/{one.manifest}", None)
    record = tree.look_at_own(f"{one.aside}/{one.record}", None)
    tree.make_folders(one.tombstone)  # before anything is deleted: something else may be in their place
    for name, found in seen.items():
        tree.remove(f"{one.aside}/{name}", found)
    if manifest is not None:
        tree.remove(f"{one.aside}/{one.manifest}", manifest)
    if record is not None:
        tree.rename(f"{one.aside}/{one.record}", one.tombstone, record)
    tree.remove_empty(one.aside)


def is_buried(tree: StorageTree, one: StoredFiles) -> bool:
    """Whether an output was deleted before, by a ledger of which this is an older copy: only its tombstone is there."""
    if tree.look(one.tombstone) is None or not one.sizes:
        return False
    places = (f"{folder}/{name}" for name in one.sizes for folder in (one.folder, one.aside))
    return all(tree.look(place) is None for place in places)


def is_partly_aside(tree: StorageTree, one: StoredFiles) -> bool:
    """Whether a file of an output is in the trash, or it cannot be told and not all are at their place.

    Raises:
        SourceUnavailable: the storage cannot be told now.
    """
    tree.forget()
    try:
        return any(tree.look(f"{one.aside}/{name}") is not None for name in one.sizes)
    except OddFile:
        return not _is_at_place(tree, one)


def _is_at_place(tree: StorageTree, one: StoredFiles) -> bool:
    try:
        return all(tree.look(f"{one.folder}/{name}") is not None for name in one.sizes)
    except OddFile:
        return False


def find_present(tree: StorageTree, some: Iterable[StoredFiles], *, aside: bool) -> dict[int, str]:
    """Output → a file that a listing still has: in the trash if `aside`, else at its place. A name that is listed proves no absence."""
    paths = {f"{one.aside if aside else one.folder}/{name}": one.number for one in some for name in one.sizes}
    listed = tree.find_listed(paths)
    return {paths[path]: f"{tree.root}/{path}" for path in sorted(listed, reverse=True)}
