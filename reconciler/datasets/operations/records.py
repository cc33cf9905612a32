"""Writes operations: first what is intended, then what was read back, for the whole and for each output."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, select
from sqlalchemy.exc import IntegrityError

from reconciler.ledger.schema.operation_tables import copies, operation_items, operations
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.writing.dataset_sums import record_made
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.produced_keys import record_keys
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import CopyKind, Operation, OperationState
from reconciler.model.states import OutputState
from reconciler.outside.errors import GuardRefused
from schemas.files.canonical import canonical_json

Place = tuple[str, str]
"""A storage, and a folder in it."""


class OperationWriter:
    """Writes operations in the name of one person or process."""

    def __init__(self, writer: Writer, who: str) -> None:
        self._writer = writer
        self._who = who

    def begin(
        self,
        operation: Operation,
        approval: str | None = None,
        content: Mapping[str, Any] | None = None,
        *,
        replaces: bool = False,
    ) -> int:
        """Records, before anything is done, that an operation is intended. Returns its number: that of one that was not ended.

        `approval` is the digest of the signatures that permit it, `content` JSON data of what else its kind needs. With `replaces`
        another action of this kind on the same subject ends as refused, in the same transaction; its outputs stay as they are.

        Raises:
            GuardRefused: another action of this kind on the same subject has not ended, and this one does not replace it.
        """
        mine = (operations.c.kind == operation.kind, operations.c.subject == operation.subject)
        query = select(operations.c.id, operations.c.digest)
        begun = self._writer.read(query.where(*mine, operations.c.state == OperationState.INTENDED))
        other = f"another {operation.kind} of {operation.subject} has begun and not ended"
        if begun:
            ((number, digest),) = begun
            if digest == operation.digest:
                return int(number)
            if not replaces:
                raise GuardRefused(f"{other}: its action is {digest[:12]}, not {operation.digest[:12]}")
        row = {
            "kind": operation.kind,
            "subject": operation.subject,
            "digest": operation.digest,
            "approval": approval or None,
            "state": OperationState.INTENDED,
            "reason": operation.reason[:500],
            "told": None,
            "content": None if content is None else zlib.compress(canonical_json(content)),
            "outputs": operation.outputs,
            "files": operation.files,
            "bytes": operation.bytes,
            "who": self._who,
            "begun": self._writer.clock.show(),
            "ended": None,
        }
        try:
            with self._writer.writing() as journal:
                for before, _ in begun:
                    told = f"the action {operation.digest[:12]} took its place"
                    values = {"state": OperationState.REFUSED, "told": told, "ended": row["begun"]}
                    journal.update(operations, operations.c.id == before, values)
                (number,) = journal.insert(operations, [row])
        except IntegrityError as error:
            raise GuardRefused(other) from error
        return int(number)

    def intend(self, operation: int, numbers: Sequence[int], state: OutputState | None = None) -> None:
        """Records that an operation now works on some outputs; with `state` they get it, and readers no longer find them.

        Those that the operation works on already stay as they are.
        """
        with self._writer.writing() as journal:
            known = _find_known(journal, operation_items, numbers, operation_items.c.operation == operation)
            _set_items(journal, operation, sorted(known), OperationState.INTENDED)
            item = {"operation": operation, "state": OperationState.INTENDED, "told": None}
            journal.insert(operation_items, [{**item, "output": one} for one in numbers if one not in known])
            if state is not None:
                _move_outputs(journal, numbers, state)

    def finish(
        self,
        operation: int,
        numbers: Sequence[int],
        state: OutputState | None = None,
        there: Mapping[CopyKind, Mapping[int, Place]] | None = None,
        absent: Collection[CopyKind] = (),
    ) -> None:
        """Records that some outputs were read back as the operation leaves them; with `state` they get it.

        `there` has the copies that were seen, by kind and output; `absent` are kinds of copies that were seen to be away.
        """
        if not numbers:
            return
        with self._writer.writing() as journal:
            _set_items(journal, operation, numbers, OperationState.DONE)
            if state is not None:
                _move_outputs(journal, numbers, state)
            for kind, places in (there or {}).items():
                self._record_copies(journal, kind, places, there=True)
            if absent:
                own = _read_places(journal, numbers)
                for kind in absent:
                    self._record_copies(journal, kind, own, there=False)

    def refuse(self, operation: int, told: Mapping[int, str], state: OutputState | None = None) -> None:
        """Records why the operation leaves some outputs alone; with `state` they get it, as they were before."""
        with self._writer.writing() as journal:
            for number, why in told.items():
                here = and_(operation_items.c.operation == operation, operation_items.c.output == number)
                journal.update(operation_items, here, {"state": OperationState.REFUSED, "told": why[:1000]})
            if state is not None:
                _move_outputs(journal, list(told), state)

    def tell(self, operation: int, told: str) -> None:
        """Records why an operation that goes on could not be ended yet; writes nothing if that is known."""
        with self._writer.writing(polling=True) as journal:
            here = and_(operations.c.id == operation, operations.c.told.is_distinct_from(told[:2000]))
            journal.update(operations, here, {"told": told[:2000]})

    def end(
        self, operation: int, told: str | None = None, state: OperationState = OperationState.DONE
    ) -> None:
        """Records that an operation has ended, and with what result."""
        with self._writer.writing() as journal:
            values = {
                "state": state,
                "told": None if told is None else told[:2000],
                "ended": self._writer.clock.show(),
            }
            journal.update(operations, operations.c.id == operation, values)

    def _record_copies(
        self, journal: Journal, kind: CopyKind, places: Mapping[int, Place], *, there: bool
    ) -> None:
        """An absent copy keeps the place that it had."""
        now = {"there": there, "verified": self._writer.clock.show()}
        known = _find_known(journal, copies, list(places), copies.c.kind == kind)
        new = [
            {"output": one, "kind": kind, **_describe(place), **now}
            for one, place in places.items()
            if one not in known
        ]
        journal.insert(copies, new)
        for part in divide(sorted(known)):
            journal.update(copies, and_(copies.c.output.in_(part), copies.c.kind == kind), now)
        for one in known if there else ():
            at = and_(copies.c.output == one, copies.c.kind == kind)
            journal.update(copies, at, _describe(places[one]))


def _describe(place: Place) -> dict[str, str]:
    storage, folder = place
    return {"storage": storage, "folder": folder}


def _find_known(
    journal: Journal, table: Table, numbers: Sequence[int], condition: ColumnElement[bool]
) -> set[int]:
    """Those of some outputs of which a table has a row that fulfils the condition."""
    query = select(table.c.output).where(condition)
    return {
        number
        for part in divide(numbers)
        for number in journal.connection.scalars(query.where(table.c.output.in_(part)))
    }


def _set_items(journal: Journal, operation: int, numbers: Sequence[int], state: OperationState) -> None:
    for part in divide(numbers):
        here = and_(operation_items.c.operation == operation, operation_items.c.output.in_(part))
        journal.update(
            operation_items, and_(here, operation_items.c.state != state), {"state": state, "told": None}
        )


def _move_outputs(journal: Journal, numbers: Sequence[int], state: OutputState) -> None:
    """Gives outputs a state, and changes what is summed up over the produced ones."""
    for part in divide(numbers):
        mine = outputs.c.id.in_(part)
        produced = outputs.c.state == OutputState.PRODUCED
        before = set(journal.connection.scalars(select(outputs.c.id).where(mine, produced)))
        changed = journal.update(outputs, and_(mine, outputs.c.state != state), {"state": state})
        moved = {row.id for row in changed}
        came, left = (moved, set()) if state is OutputState.PRODUCED else (set(), moved & before)
        for numbers_moved, now_produced in ((came, True), (left, False)):
            if numbers_moved:
                record_made(journal.connection, numbers_moved, produced=now_produced)
                record_keys(journal.connection, numbers_moved, produced=now_produced)


def _read_places(journal: Journal, numbers: Sequence[int]) -> dict[int, Place]:
    query = select(outputs.c.id, outputs.c.storage, outputs.c.folder)
    return {
        number: (storage, folder)
        for part in divide(numbers)
        for number, storage, folder in journal.connection.execute(query.where(outputs.c.id.in_(part)))
    }
