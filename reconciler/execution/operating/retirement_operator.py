"""Does what retirements ask: files go into the trash, come back, or are deleted, part by part.

Before each part, signatures are judged again, and who needs the files is looked at again. In the ledger an output leaves the
published ones before its files move, and comes back after them: a reader finds a file, or is told that it is in the trash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from reconciler.datasets.operations.records import OperationWriter
from reconciler.execution.operating.trash import (
    StoredFiles,
    bring_back,
    delete,
    find_present,
    find_remade,
    is_buried,
    is_partly_aside,
    put_aside,
    read_files,
)
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import CopyKind, Operation, OperationKind
from reconciler.model.states import OutputState
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.outside.storage.storage_tree import OddFile, StorageTree

PART = 500
"""How many outputs are worked on between two transactions."""

Confirm = Callable[[Operation], str]
"""Returns the digest of the approvals of an operation that may still be done; raises `GuardRefused` if it may not."""

Count = Callable[[int], None]
"""Is told how many files were moved or deleted since it was told last."""


Left = tuple[dict[int, str], dict[int, str]]
"""The outputs of a part that were left alone, and those of which the storage did not prove what was done, with the reasons."""


class RetirementOperator:
    """Works on the outputs of retirements, in the name of `who`; `open_tree` opens a storage."""

    def __init__(
        self, writer: Writer, who: str, open_tree: Callable[[str], StorageTree] = StorageTree
    ) -> None:
        self._writer = writer
        self._records = OperationWriter(writer, who)
        self._open_tree = open_tree

    def operate(self, operation: Operation, confirm: Confirm, count: Count) -> tuple[str, list[str]]:
        """Does an operation. Returns what was done, and what was left alone or is unfinished, with the reasons.

        Raises:
            GuardRefused: it may not be done, or not any more; what was begun is finished when it may.
            SourceUnavailable: what permits it, or a storage, cannot be read now; the same.
        """
        work = {
            OperationKind.TRASH: self._trash_part,
            OperationKind.RESTORE: self._restore_part,
            OperationKind.PURGE: self._purge_part,
        }[operation.kind]
        # what was signed or said last holds: it goes on with what an action before it has left
        number = self._records.begin(operation, confirm(operation), replaces=True)
        backwards = operation.kind is OperationKind.PURGE
        refused: dict[int, str] = {}
        done = 0
        for part in divide(operation.numbers[::-1] if backwards else operation.numbers, PART):
            try:
                confirm(operation)
            except (GuardRefused, SourceUnavailable) as error:
                self._records.tell(number, str(error))
                raise
            self._writer.prolong()
            with self._writer.reading() as connection:
                some = read_files(connection, part)
            left, unfinished = self._work_by_storage(work, number, some)
            refused |= left
            done += len(part) - len(left) - len(unfinished)
            count(sum(len(one.sizes) for one in some))
            if unfinished:
                self._records.tell(number, next(iter(unfinished.values())))
                refused |= unfinished
                break
        told = f"{done:,} of {len(operation.numbers):,} outputs"
        if refused:
            self._records.tell(number, f"{told}; {next(iter(refused.values()))}")
        else:
            self._records.end(number, told)
        return told, [*dict.fromkeys(refused.values())]

    def _work_by_storage(
        self,
        work: Callable[[int, StorageTree, Sequence[StoredFiles]], Left],
        number: int,
        some: Sequence[StoredFiles],
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Returns outputs that were left alone, and outputs whose storage could not be told, each with the reason."""
        refused: dict[int, str] = {}
        unfinished: dict[int, str] = {}
        for storage in sorted({one.storage for one in some}):
            here = [one for one in some if one.storage == storage]
            try:
                with self._open_tree(storage) as tree:
                    left = work(number, tree, here)
                refused |= left[0]
                unfinished |= left[1]
            except (OddFile, SourceUnavailable) as error:
                unfinished |= {one.number: str(error) for one in here}
        return refused, unfinished

    def _trash_part(self, number: int, tree: StorageTree, some: Sequence[StoredFiles]) -> Left:
        buried = [one for one in some if not one.is_aside and is_buried(tree, one)]
        if buried:  # an older ledger was restored, and lists what a newer one deleted
            numbers = [one.number for one in buried]
            self._records.intend(number, numbers, OutputState.TRASHED)
            self._records.finish(number, numbers, OutputState.PURGED, absent=(CopyKind.DISK, CopyKind.TRASH))
        self._keep_aside(number, [one for one in some if one.is_aside])
        left = [one for one in some if one not in buried and not one.is_aside]
        self._records.intend(number, [one.number for one in left], OutputState.TRASHED)
        refused = dict(_try_each(put_aside, tree, left))
        moved = [one for one in left if one.number not in refused]
        self._sync(tree, moved)
        listed = find_present(tree, moved, aside=False)
        done = [one for one in moved if one.number not in listed]
        places = {one.number: (one.storage, one.aside) for one in done if one.sizes}
        self._records.finish(number, [*places], None, {CopyKind.TRASH: places}, absent=(CopyKind.DISK,))
        self._records.finish(number, [one.number for one in done if not one.sizes])
        # one of which a part is in the trash is not published again before all of it is back
        whole = {one.number for one in left if one.number in refused and not is_partly_aside(tree, one)}
        if whole:
            told = {output: refused[output] for output in sorted(whole)}
            self._records.refuse(number, told, OutputState.PRODUCED)
        return refused, _tell_listed(listed, "moved")

    def _keep_aside(self, number: int, some: Sequence[StoredFiles]) -> None:
        """What an operation before this one has put into the trash is this one's too; its files are not touched."""
        if some:
            numbers = [one.number for one in some]
            self._records.intend(number, numbers)
            self._records.finish(number, numbers)

    def _restore_part(self, number: int, tree: StorageTree, some: Sequence[StoredFiles]) -> Left:
        self._records.intend(number, [one.number for one in some])
        with self._writer.reading() as connection:
            remade = find_remade(connection, [one.number for one in some])
        told = "the campaign has made it again"
        refused = {number: f"{told} as v{version}" for number, version in remade.items()}
        refused |= _try_each(bring_back, tree, [one for one in some if one.number not in refused])
        back = [one for one in some if one.number not in refused]
        self._sync(tree, back)
        places = {one.number: (one.storage, one.folder) for one in back if one.sizes}
        kinds = {CopyKind.DISK: places}
        self._records.finish(number, [*places], OutputState.PRODUCED, kinds, absent=(CopyKind.TRASH,))
        on_tape = [one.number for one in back if not one.sizes]
        self._records.finish(number, on_tape, OutputState.PRODUCED)
        if refused:
            self._records.refuse(number, refused)
        return refused, {}

    def _purge_part(self, number: int, tree: StorageTree, some: Sequence[StoredFiles]) -> Left:
        self._records.intend(number, [one.number for one in some])
        refused = dict(_try_each(delete, tree, some))
        gone = [one for one in some if one.number not in refused]
        self._sync(tree, gone)
        listed = find_present(tree, gone, aside=True) | find_present(tree, gone, aside=False)
        numbers = [one.number for one in gone if one.number not in listed]
        self._records.finish(number, numbers, OutputState.PURGED, absent=(CopyKind.TRASH, CopyKind.DISK))
        if refused:
            self._records.refuse(number, refused)
        return refused, _tell_listed(listed, "deleted")

    def _sync(self, tree: StorageTree, some: Sequence[StoredFiles]) -> None:
        for folder in sorted({folder for one in some for folder in (one.folder, one.aside)}):
            tree.sync(folder)


def _tell_listed(listed: Mapping[int, str], done: str) -> dict[int, str]:
    """Why absence is not proven: a storage that lists what it does not find answers oddly."""
    return {
        number: f"{path} was {done}, and is still listed: the storage answers oddly"
        for number, path in listed.items()
    }


def _try_each(
    work: Callable[[StorageTree, StoredFiles], None], tree: StorageTree, some: Sequence[StoredFiles]
) -> Iterator[tuple[int, str]]:
    """Works on each output; yields those that are not what they should be, with the reason."""
    for one in some:
        tree.forget()
        try:
            work(tree, one)
        except OddFile as error:
            yield one.number, str(error)
