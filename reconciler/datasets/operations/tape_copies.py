"""Which outputs lie on tape alone, and which operations move outputs between disk and tape. Only reads."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, CompoundSelect, Connection, and_, func, select

from reconciler.ledger.schema.operation_tables import copies, operation_items, operations
from reconciler.ledger.schema.tables import outputs
from reconciler.model.operations import CopyKind, OperationKind, OperationState
from reconciler.model.states import OutputState
from schemas.manifest.dataset import DatasetName


def list_released(connection: Connection, storage: str | None = None) -> dict[str, int]:
    """The produced outputs that lie on tape alone: fingerprint, in hexadecimal digits, → number; of one storage, or of all."""
    query = select(outputs.c.fingerprint, outputs.c.id).where(
        outputs.c.id.in_(choose_released()), outputs.c.state == OutputState.PRODUCED
    )
    if storage is not None:
        query = query.where(outputs.c.storage == storage)
    return {
        fingerprint.hex(): number for fingerprint, number in connection.execute(query.order_by(outputs.c.id))
    }


@dataclass(frozen=True, slots=True)
class CopyCount:
    """How many outputs of a dataset have a copy of a kind, and when the one that was read back longest ago was; None if unknown."""

    outputs: int
    verified: str | None


def count_copies(connection: Connection, name: DatasetName) -> dict[CopyKind, CopyCount]:
    """Where the produced outputs of a dataset lie; empty if none of them was ever moved or copied."""
    mine = (*belongs_to_dataset(name), outputs.c.state == OutputState.PRODUCED)
    query = select(copies.c.kind, copies.c.there, func.count(), func.min(copies.c.verified))
    query = query.join(outputs, outputs.c.id == copies.c.output).where(*mine)
    rows = connection.execute(query.group_by(copies.c.kind, copies.c.there)).all()
    if not rows:
        return {}
    found = {CopyKind(kind): CopyCount(count, since) for kind, there, count, since in rows if there}
    whole = connection.execute(select(func.count()).select_from(outputs).where(*mine)).scalar_one()
    gone = sum(count for kind, there, count, _ in rows if kind == CopyKind.DISK and not there)
    return {**found, CopyKind.DISK: CopyCount(whole - gone, None)}


def belongs_to_dataset(name: DatasetName) -> tuple[ColumnElement[bool], ...]:
    """Conditions: an output is of a dataset."""
    return (
        outputs.c.campaign == name.campaign,
        outputs.c.step == name.step,
        outputs.c.output == name.output,
    )


def list_refused(connection: Connection, kind: OperationKind, since: str) -> dict[int, str]:
    """The outputs that an operation of a kind, begun at a time or later, left alone, each with the last reason."""
    query = (
        select(operation_items.c.output, operation_items.c.told)
        .join(operations, operations.c.id == operation_items.c.operation)
        .where(
            operations.c.kind == kind,
            operations.c.begun >= since,
            operation_items.c.state == OperationState.REFUSED,
        )
    )
    return {number: told or "" for number, told in connection.execute(query.order_by(operations.c.id))}


def list_unfinished(connection: Connection, operation: int) -> set[int]:
    """The outputs on which an operation has begun to work, and whose effect was not read back."""
    here = and_(operation_items.c.operation == operation, operation_items.c.state == OperationState.INTENDED)
    return {*connection.scalars(select(operation_items.c.output).where(here))}


def list_ended_items(connection: Connection, operation: int) -> set[int]:
    """The outputs that an operation is through with, done or refused."""
    here = and_(operation_items.c.operation == operation, operation_items.c.state != OperationState.INTENDED)
    return {*connection.scalars(select(operation_items.c.output).where(here))}


def choose_released() -> CompoundSelect[int]:
    """A query of the outputs that have no copy on disk, or whose copy there is just being removed."""
    away = select(copies.c.output).where(copies.c.kind == CopyKind.DISK, copies.c.there.is_(False))
    leaving = (
        select(operation_items.c.output)
        .join(operations, operations.c.id == operation_items.c.operation)
        .where(
            operations.c.kind == OperationKind.RELEASE,
            operations.c.state == OperationState.INTENDED,
            operation_items.c.state == OperationState.INTENDED,
        )
    )
    return away.union(leaving)
