"""Does operations between disk and tape: archive, release, recall; each is intended, done, read back, and only then recorded.

An output is released only after the ledger has a copy on tape of it that was read back. In the ledger it leaves the disk before its
files do, since a begun release counts as one; a process that ends in between leaves what the next turn finishes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from reconciler.datasets.operations.records import OperationWriter
from reconciler.datasets.operations.stored import list_begun, list_copies
from reconciler.datasets.operations.tape_copies import list_ended_items, list_unfinished
from reconciler.execution.operating.tape.archived_files import ArchivedFile, ArchivedOutput, read_archived
from reconciler.execution.operating.tape.archiving import Findings, archive_outputs
from reconciler.execution.operating.tape.scratch import Scratch
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import CopyKind, Operation, OperationKind, OperationState
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.outside.storage.storage_tree import OddFile, StorageTree
from schemas.manifest.dataset import parse_dataset
from schemas.policy.retention import RetentionPolicy, find_retained_level
from schemas.policy.site import Site

PART = 200
"""How many outputs are released between two transactions."""

Confirm = Callable[[Operation], str]
"""Raises `GuardRefused` if an operation may not be done now."""

Count = Callable[[int], None]
"""Is told how many files were copied or removed since it was told last."""


class TapeOperator:
    """Works on copies of outputs, in the name of `who`, by the commands of `site`; `open_tree` opens a storage."""

    def __init__(
        self,
        writer: Writer,
        who: str,
        site: Site,
        sample: int | None,
        open_tree: Callable[[str], StorageTree] = StorageTree,
    ) -> None:
        self._writer = writer
        self._records = OperationWriter(writer, who)
        self._site, self._sample = site, sample
        self._open_tree = open_tree

    def operate(self, operation: Operation, confirm: Confirm, count: Count) -> tuple[str, list[str]]:
        """Does as much of an operation as can be done now. Returns what was done, and what was left alone, with the reasons.

        Raises:
            GuardRefused: it may not be done, or not any more; what was begun is finished when it may.
            SourceUnavailable: a command or a storage cannot be told now; the same.
        """
        (storage,) = operation.storages
        content = {"numbers": list(operation.numbers), "storage": storage}
        with self._writer.reading() as connection:
            open_ones = {(one.kind, one.subject) for one in list_begun(connection, operation.kind)}
        # what is begun is gone on with; before each part of a release it is asked anew
        approval = "" if (operation.kind, operation.subject) in open_ones else confirm(operation)
        number = self._records.begin(operation, approval, content)
        with self._writer.reading() as connection:
            ended = list_ended_items(connection, number)
            begun = list_unfinished(connection, number)
            some = read_archived(connection, [one for one in operation.numbers if one not in ended])
        gone = {*operation.numbers} - ended - {one.number for one in some}
        if stale := gone & begun:
            self._records.refuse(number, dict.fromkeys(sorted(stale), "it is not published any more"))
        try:
            with self._open_tree(storage) as tree:
                found = self._work(operation, number, tree, some, begun, confirm, count)
        except SourceUnavailable as error:
            self._records.tell(number, str(error))
            raise
        return self._end(operation, number, found)

    def _work(
        self,
        operation: Operation,
        number: int,
        tree: StorageTree,
        some: Sequence[ArchivedOutput],
        begun: set[int],
        confirm: Confirm,
        count: Count,
    ) -> Findings:
        if operation.kind is OperationKind.RELEASE:
            return self._release(operation, number, tree, some, begun, confirm, count)
        if fresh := [one.number for one in some if one.number not in begun]:
            self._records.intend(number, fresh)
        scratch = Scratch(tree, number, self._site.recall, self._writer.prompt, self._writer.prolong)
        if operation.kind is OperationKind.ARCHIVE:
            return self._archive(number, some, scratch, count)
        return self._recall(number, tree, some, scratch, count)

    def _archive(
        self, number: int, some: Sequence[ArchivedOutput], scratch: Scratch, count: Count
    ) -> Findings:
        if self._site.archive is None:
            raise SourceUnavailable(f"the site {self._site.name} has no `archive` command")
        found = archive_outputs(
            self._site,
            some,
            self._sample,
            number,
            self._writer.prompt,
            self._writer.prolong,
            scratch,
        )
        places = {one.number: (one.storage, one.folder) for one in some if one.number in {*found.done}}
        if places:
            self._records.finish(number, [*places], None, {CopyKind.TAPE: places})
            count(sum(len(one.files) for one in some if one.number in places))
        return found

    def _release(
        self,
        operation: Operation,
        number: int,
        tree: StorageTree,
        some: Sequence[ArchivedOutput],
        begun: set[int],
        confirm: Confirm,
        count: Count,
    ) -> Findings:
        found = Findings()
        # what a process that ended has begun to remove is finished first: readers wait for it already
        parts = [
            *divide([one for one in some if one.number in begun], PART),
            *divide([one for one in some if one.number not in begun], PART),
        ]
        for part in parts:
            if part[0].number not in begun:
                try:
                    confirm(operation)
                except (GuardRefused, SourceUnavailable) as error:
                    found.pending = str(error)
                    break
            self._writer.prolong()
            taped = self._list_taped(part)
            left = {
                one.number: "no copy on tape of it was read back" for one in part if one.number not in taped
            }
            chosen = [one for one in part if one.number in taped]
            self._records.intend(number, [one.number for one in part])
            for one in chosen:
                try:
                    _remove_files(tree, one)
                except OddFile as odd:
                    left[one.number] = str(odd)
            gone = [one for one in chosen if one.number not in left]
            for folder in sorted({one.folder for one in gone}):
                tree.sync(folder)
            paths = {f"{one.folder}/{file.name}": one.number for one in gone for file in one.files}
            listed = {paths[path]: path for path in tree.find_listed(paths)}
            if listed:
                where = next(iter(listed.values()))
                raise SourceUnavailable(
                    f"{tree.root}/{where} was removed, and is still listed: the storage answers oddly"
                )
            self._records.finish(number, [one.number for one in gone], absent=(CopyKind.DISK,))
            if left:
                self._records.refuse(number, left)
            found.done += [one.number for one in gone]
            found.refused |= left
            count(sum(len(one.files) for one in gone))
        return found

    def _recall(
        self,
        number: int,
        tree: StorageTree,
        some: Sequence[ArchivedOutput],
        scratch: Scratch,
        count: Count,
    ) -> Findings:
        found = Findings()
        if self._site.recall is None:
            raise SourceUnavailable(f"the site {self._site.name} has no `recall` command")
        lacking: list[tuple[ArchivedOutput, ArchivedFile]] = []
        for one in some:
            try:
                lacking += [(one, file) for file in one.files if not _is_there(tree, one, file)]
            except OddFile as odd:
                found.refused[one.number] = str(odd)
        came = scratch.bring([pair for pair in lacking if pair[0].number not in found.refused])
        owners = {path: one.number for one in some for path, _ in one.list_paths()}
        for path, why in came.wrong.items():
            found.refused.setdefault(owners[path], why)
        there: Counter[int] = Counter()
        for one, file in came.ready:
            inner = scratch.name(one, file)
            try:
                seen = tree.look_at_own(inner, file.size)
                if seen is not None:
                    tree.rename(inner, f"{one.folder}/{file.name}", seen)
                    there[one.number] += 1
            except OddFile as odd:
                found.refused.setdefault(one.number, str(odd))
        scratch.clear([pair for pair in lacking if pair[0].number in found.refused])
        needed = Counter(one.number for one, _ in lacking)
        back = [
            one for one in some if one.number not in found.refused and there[one.number] == needed[one.number]
        ]
        for folder in sorted({one.folder for one in back}):
            tree.sync(folder)
        for one in back:
            tree.remove_empty(f"{scratch.name(one, one.files[0]).rpartition('/')[0]}")
        places = {one.number: (one.storage, one.folder) for one in back}
        if places:
            self._records.finish(number, [*places], None, {CopyKind.DISK: places})
            count(sum(len(one.files) for one in back))
        found.done = [*places]
        found.pending = came.pending
        return found

    def _list_taped(self, some: Sequence[ArchivedOutput]) -> set[int]:
        """The outputs of which the ledger has a copy on tape, read back, at their own place."""
        with self._writer.reading() as connection:
            copies = list_copies(connection, [one.number for one in some])
        return {
            one.number
            for one in some
            for copy in copies.get(one.number, ())
            if copy.kind is CopyKind.TAPE
            and copy.there
            and (copy.storage, copy.folder) == (one.storage, one.folder)
        }

    def _end(self, operation: Operation, number: int, found: Findings) -> tuple[str, list[str]]:
        """Records what was refused, and the end if nothing is left to do."""
        if found.refused and operation.kind is not OperationKind.RELEASE:
            self._records.refuse(number, found.refused)
        with self._writer.reading() as connection:
            ended = list_ended_items(connection, number)
        left = [one for one in operation.numbers if one not in ended]
        with self._writer.reading() as connection:
            there = {one.number for one in read_archived(connection, left)}
        told = f"{len(found.done):,} of {len(operation.numbers):,} outputs"
        if there:
            self._records.tell(number, found.pending or f"{told}; the next turn goes on")
            return f"{told}; {found.pending}" if found.pending else told, [
                *dict.fromkeys(found.refused.values())
            ]
        state = OperationState.DONE
        if found.refused and not found.done:
            state = OperationState.REFUSED
            told = next(iter(found.refused.values()))
        self._records.end(number, told, state)
        return told, [*dict.fromkeys(found.refused.values())]


def find_sample(retention: RetentionPolicy | None, site: str, kind: str, dataset: str) -> int | None:
    """How many percent of the files of a dataset are read back from tape, as the rule says that fits it."""
    level = find_retained_level(parse_dataset(dataset).output)
    rule = None if retention is None else retention.find_rule(site, kind, level)
    return None if rule is None else rule.sample


def _remove_files(tree: StorageTree, one: ArchivedOutput) -> None:
    """Removes the files of an output that are on disk, all or none: each is looked at before the first goes.

    Raises:
        OddFile: a file is not what was published; unless it was exchanged after it was looked at, all are where they were.
        SourceUnavailable: the storage cannot be told or changed now.
    """
    seen = {file.name: tree.look_at_own(f"{one.folder}/{file.name}", file.size) for file in one.files}
    for name, found in seen.items():
        if found is not None:
            tree.remove(f"{one.folder}/{name}", found)


def _is_there(tree: StorageTree, one: ArchivedOutput, file: ArchivedFile) -> bool:
    return tree.look_at_own(f"{one.folder}/{file.name}", file.size) is not None
