"""Restores what retirements have put into the trash, on the word of a person, until the purge begins."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from reconciler.datasets.operations.records import OperationWriter
from reconciler.datasets.operations.stored import StoredOperation, list_operations
from reconciler.datasets.places import Places
from reconciler.execution.operating.retirement_operator import Count, RetirementOperator
from reconciler.ledger.schema.operation_tables import operation_items
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, products
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import Operation, OperationKind, OperationState
from reconciler.model.states import OutputState
from reconciler.outside.errors import GuardRefused


def list_restorable(connection: Connection, subject: str, reason: str) -> list[Operation]:
    """The operations that bring back what was put into the trash for a subject: one for each action that put it there.

    Raises:
        GuardRefused: nothing of it is in the trash, or the purge has begun.
    """
    before = list_operations(connection, subject)
    purges = [one for one in before if one.kind is OperationKind.PURGE]
    if any(one.state is not OperationState.REFUSED for one in purges):
        raise GuardRefused(f"the purge of {subject} has begun on {purges[-1].begun[:10]}: nothing comes back")
    found: dict[str, list[int]] = {}
    seen: set[int] = set()
    for one in reversed(before):
        if one.kind is OperationKind.TRASH:
            numbers = [number for number in _list_trashed(connection, one) if number not in seen]
            seen.update(numbers)
            found.setdefault(one.digest, []).extend(numbers)
    restored = [
        _describe(connection, subject, reason, digest, some) for digest, some in found.items() if some
    ]
    if not restored:
        raise GuardRefused(f"nothing of {subject} is in the trash")
    return restored


def restore(writer: Writer, who: str, places: Places, operation: Operation, count: Count) -> list[str]:
    """Brings outputs back; returns why some did not come back.

    Raises:
        GuardRefused: another process restores them, or a storage is not the ledger's.
        SourceUnavailable: a storage is away.
    """
    for storage in operation.storages:
        places.check_storage(storage)
    _, left = RetirementOperator(writer, who).operate(operation, lambda _: "", count)
    if not left:
        with writer.reading() as connection:
            begun = [
                one
                for one in list_operations(connection, operation.subject, OperationKind.TRASH)
                if one.state is OperationState.INTENDED and one.digest == operation.digest
            ]
        for one in begun:
            told = f"restored: {operation.reason}"
            OperationWriter(writer, who).end(one.id, told, OperationState.REFUSED)
    return left


def _list_trashed(connection: Connection, one: StoredOperation) -> list[int]:
    query = (
        select(outputs.c.id)
        .join(operation_items, operation_items.c.output == outputs.c.id)
        .where(operation_items.c.operation == one.id, outputs.c.state == OutputState.TRASHED)
        .order_by(outputs.c.id)
    )
    return [*connection.scalars(query)]


def _describe(
    connection: Connection, subject: str, reason: str, digest: str, numbers: list[int]
) -> Operation:
    files, size = 0, 0
    storages: set[str] = set()
    for part in divide(numbers):
        query = select(func.count(), func.coalesce(func.sum(products.c.size), 0))
        more, bytes_more = connection.execute(query.where(products.c.output.in_(part))).one()
        files, size = files + int(more), size + int(bytes_more)
        storages.update(
            connection.scalars(select(outputs.c.storage).where(outputs.c.id.in_(part)).distinct())
        )
    return Operation(
        OperationKind.RESTORE,
        subject,
        reason,
        digest,
        len(numbers),
        files,
        size,
        storages=tuple(sorted(storages)),
        numbers=tuple(numbers),
    )
