"""Files that come from tape into a hidden folder of their storage, where they are compared with what was published."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.execution.operating.tape.archived_files import ArchivedFile, ArchivedOutput
from reconciler.execution.operating.tape.commands import DISK, LOST, ask_recall
from reconciler.ledger.schema.rows import divide
from reconciler.outside.checksums import digest_file
from reconciler.outside.storage.storage_tree import OddFile, StorageTree
from schemas.policy.site import TapeCommand

CALLS = 50
"""Largest number of calls of the command for one operation in one turn."""

Wanted = tuple[ArchivedOutput, ArchivedFile]
"""A file, with its output."""


@dataclass
class Came:
    """What came from tape: `ready` files are as published, `wrong` ones are not, each with the reason by path.

    `pending` says what the others wait for; it is empty if there are no others.
    """

    ready: list[Wanted] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    pending: str = ""


class Scratch:
    """The hidden folder of one operation in a storage, to which `command` brings files."""

    def __init__(
        self,
        tree: StorageTree,
        operation: int,
        command: TapeCommand | None,
        seconds: float,
        prolong: Callable[[], None],
    ) -> None:
        self._tree, self._operation, self._command = tree, operation, command
        self._seconds, self._prolong = seconds, prolong

    def bring(self, files: Sequence[Wanted]) -> Came:
        """Asks for files, and compares those that came. It may be called again after any end.

        Raises:
            SourceUnavailable: the command failed, or the storage cannot be told now.
        """
        came = Came()
        if self._command is None:
            came.pending = "the site has no `recall` command"
            return came
        wanted = {os.path.join(one.storage, one.folder, file.name): (one, file) for one, file in files}
        waiting = 0
        for calls, part in enumerate(divide(wanted, self._command.batch)):
            if calls >= CALLS or waiting >= self._command.in_flight:
                waiting += len(part)
                continue
            self._prolong()
            targets = {}
            for path in part:
                inner = self.name(*wanted[path])
                self._tree.make_folders(inner)
                targets[path] = os.path.join(self._tree.root, inner)
            said = ask_recall(self._command, targets, self._seconds)
            for path in part:
                state = said.get(path)
                if state == LOST:
                    came.wrong[path] = f"{path} is lost on tape, says the site's recall command"
                elif state == DISK:
                    self._compare(path, *wanted[path], came)
                else:
                    waiting += 1
        if waiting:
            came.pending = f"{waiting:,} files are not on disk yet"
        return came

    def name(self, one: ArchivedOutput, file: ArchivedFile) -> str:
        """Where a file comes, below the storage."""
        return one.name_scratch(self._operation, file)

    def clear(self, files: Sequence[Wanted]) -> None:
        """Removes what came of some files; what somebody else put there stays.

        Raises:
            SourceUnavailable: the storage cannot be changed now.
        """
        for one, file in files:
            inner = self.name(one, file)
            try:
                seen = self._tree.look_at_own(inner, None)
                if seen is not None:
                    self._tree.remove(inner, seen)
            except OddFile:
                continue
            self._tree.remove_empty(inner.rpartition("/")[0])

    def _compare(self, path: str, one: ArchivedOutput, file: ArchivedFile, came: Came) -> None:
        inner = self.name(one, file)
        where = Path(self._tree.root, inner)
        try:
            seen = self._tree.look_at_own(inner, None)
            if seen is None:
                came.pending = (
                    came.pending or f"{path} is on disk, says the recall command, and is not at {where}"
                )
                return
            found = digest_file(where, file.checksum.partition(":")[0])
        except OddFile as odd:
            came.wrong[path] = str(odd)
            return
        except OSError as error:
            came.pending = came.pending or f"{where} cannot be read: {error.strerror}"
            return
        if (seen.size, found) != (file.size, file.checksum):
            came.wrong[path] = (
                f"{path} comes from tape with {seen.size:,} bytes and {found}, published was {file.checksum}"
            )
        else:
            came.ready.append((one, file))
