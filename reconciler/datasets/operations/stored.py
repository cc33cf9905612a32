"""Operations that the ledger knows, and the datasets that are protected. Only reads."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from reconciler.ledger.schema.operation_tables import copies, operation_items, operations, protections
from reconciler.ledger.schema.tables import outputs
from reconciler.model.operations import CopyKind, OperationKind, OperationState
from reconciler.model.states import OutputState
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.dataset import name_dataset


@dataclass(frozen=True, slots=True)
class StoredOperation:
    """An operation as the ledger has it: `digest` is that of its action, `told` its result, or why it has not ended.

    `ended` is None while it is only intended; `content` is what its kind needs. In an export `who` is empty.
    """

    id: int
    kind: OperationKind
    subject: str
    digest: str
    approval: str | None
    state: OperationState
    reason: str
    told: str | None
    outputs: int
    files: int
    bytes: int
    who: str
    begun: str
    ended: str | None
    content: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def tell(self) -> str:
        """The operation as one line, with the reason why it has not ended."""
        size = f"{self.outputs:,} outputs, {self.files:,} files"
        told = f"; {self.told}" if self.told else ""
        return f"{self.kind} of {self.subject}, {self.state} since {self.begun}: {size}{told}\n"

    def data(self) -> dict[str, Any]:
        """The same as JSON data."""
        named = ("kind", "subject", "state", "reason", "told", "outputs", "files", "bytes", "begun")
        return {"operation": self.id, **{name: getattr(self, name) for name in named}}


@dataclass(frozen=True, slots=True)
class Protection:
    """A dataset that nobody may delete before the day `until`, which is written as in 2019-12-31; the reason, and who said it."""

    dataset: str
    until: str
    reason: str
    who: str


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """Where a copy of an output lies, or lay if `there` is false, and when this was read back."""

    kind: CopyKind
    storage: str
    folder: str
    there: bool
    verified: str


_COLUMNS = [column for column in operations.c if column.name != "content"]


def list_operations(
    connection: Connection, subject: str | None = None, *kinds: OperationKind
) -> list[StoredOperation]:
    """Operations in the order in which they began: of one subject, or all; of some kinds, or all.

    Raises:
        SourceUnavailable: the content of one is damaged.
    """
    query = select(*_COLUMNS, operations.c.content).order_by(operations.c.id)
    if subject is not None:
        query = query.where(operations.c.subject == subject)
    if kinds:
        query = query.where(operations.c.kind.in_(kinds))
    return [_read_operation(row._asdict()) for row in connection.execute(query)]


def list_begun(connection: Connection, *kinds: OperationKind) -> list[StoredOperation]:
    """The operations of some kinds that have not ended, in the order in which they began.

    Raises:
        SourceUnavailable: the content of one is damaged.
    """
    query = select(*_COLUMNS, operations.c.content).where(
        operations.c.kind.in_(kinds), operations.c.state == OperationState.INTENDED
    )
    return [_read_operation(row._asdict()) for row in connection.execute(query.order_by(operations.c.id))]


def list_unfinished(connection: Connection) -> list[StoredOperation]:
    """The operations that were begun and have not ended, the oldest first."""
    return [one for one in list_operations(connection) if one.state is OperationState.INTENDED]


def list_published(connection: Connection) -> list[StoredOperation]:
    """The publications of editions that were done and not withdrawn since, or that may be under way; the subject is the edition."""
    standing: dict[str, StoredOperation] = {}
    for one in list_operations(connection, None, OperationKind.PUBLISH, OperationKind.WITHDRAW):
        if one.kind is OperationKind.PUBLISH and one.state is not OperationState.REFUSED:
            standing[one.subject] = one
        elif one.kind is OperationKind.WITHDRAW and one.state is OperationState.DONE:
            standing.pop(one.subject, None)
    return list(standing.values())


def list_trashed(connection: Connection, without: Collection[str]) -> list[StoredOperation]:
    """For each subject but those `without` of which outputs are in the trash the last operation that put any there."""
    kinds = (OperationKind.TRASH, OperationKind.PURGE, OperationKind.RESTORE)
    last: dict[str, StoredOperation] = {}
    trashing: dict[str, StoredOperation] = {}
    for one in list_operations(connection, None, *kinds):
        if one.subject not in without:
            last[one.subject] = one
            if one.kind is OperationKind.TRASH:
                trashing[one.subject] = one
    # what was purged or restored completely is not looked at again: it may have very many outputs
    ended = {
        name
        for name, one in last.items()
        if one.kind is not OperationKind.TRASH and one.state is OperationState.DONE
    }
    return [trashing[name] for name in sorted(trashing.keys() - ended) if _has_trashed(connection, name)]


def _has_trashed(connection: Connection, subject: str) -> bool:
    query = (
        select(outputs.c.id)
        .join(operation_items, operation_items.c.output == outputs.c.id)
        .join(operations, operations.c.id == operation_items.c.operation)
        .where(operations.c.subject == subject, outputs.c.state == OutputState.TRASHED)
    )
    return connection.execute(query.limit(1)).first() is not None


def list_protections(connection: Connection, day: str) -> list[Protection]:
    """The protections that hold on a day, which is written as in 2019-12-31; the last day is included."""
    query = select(protections).where(protections.c.ended.is_(None), protections.c.until >= day)
    rows = connection.execute(query.order_by(protections.c.dataset, protections.c.id))
    return [Protection(row.dataset, row.until, row.reason, row.who) for row in rows]


def list_existing(connection: Connection) -> set[str]:
    """The datasets of which files exist, also if they are in the trash."""
    named = (outputs.c.campaign, outputs.c.step, outputs.c.output)
    there = outputs.c.state.in_((OutputState.PRODUCED, OutputState.TRASHED))
    return {name_dataset(*row) for row in connection.execute(select(*named).where(there).distinct())}


def list_copies(connection: Connection, numbers: Collection[int]) -> dict[int, tuple[StoredCopy, ...]]:
    """Output → its copies, as far as operations moved any: one without a row is on disk at its own place."""
    found: dict[int, tuple[StoredCopy, ...]] = {}
    query = select(copies).where(copies.c.output.in_(sorted(numbers)))
    for row in connection.execute(query.order_by(copies.c.output, copies.c.kind)):
        one = StoredCopy(CopyKind(row.kind), row.storage, row.folder, row.there, row.verified)
        found[row.output] = (*found.get(row.output, ()), one)
    return found


def _read_operation(row: Mapping[str, Any]) -> StoredOperation:
    stored = row["content"]
    try:
        content = {} if stored is None else json.loads(zlib.decompress(stored))
    except (zlib.error, ValueError) as error:
        raise SourceUnavailable(f"the operation {row['id']} is damaged in the ledger: {error}") from error
    return StoredOperation(
        **{
            **row,
            "kind": OperationKind(row["kind"]),
            "state": OperationState(row["state"]),
            "content": content,
        }
    )
