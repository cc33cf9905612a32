"""Which publications are due: of schemes whose stages may publish now, and those that have begun and not ended. A person makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from reconciler.datasets.frozen_runs import read_frozen
from reconciler.datasets.operations.stored import StoredOperation, list_operations
from reconciler.ledger.reading.editions import StoredEdition, list_editions
from reconciler.model.operations import Operation, OperationKind, OperationStanding, OperationState
from reconciler.planning.gates.judging import StageState, StageStatus
from schemas.files.canonical import digest
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.scheme import PUBLISH

_SIZES: dict[str, tuple[int, int, int]] = {}
"""Runs, files and bytes of editions by their digests: they never change, and each plan asks again."""
_MOST = 1000


def list_due_publications(connection: Connection, stages: Sequence[StageStatus]) -> Iterator[Operation]:
    """Yields the publications and withdrawals that wait for a person, sorted by edition or dataset.

    Of a dataset that a stage publishes, this is its newest edition; the dataset itself if that is published, or there is none.
    """
    begun = {
        (one.kind, one.subject): one
        for one in list_operations(connection, None, OperationKind.PUBLISH, OperationKind.WITHDRAW)
        if one.state is OperationState.INTENDED
    }
    found = {key: _describe_begun(one) for key, one in begun.items()}
    for status in stages:
        if status.stage.does != PUBLISH or not status.is_ready or status.state is StageState.PASSED:
            continue
        for name in status.unpublished:
            operation = _describe_due(connection, parse_dataset(name), status)
            found.setdefault((operation.kind, operation.subject), operation)
    for _, operation in sorted(found.items()):
        yield operation


def _describe_begun(one: StoredOperation) -> Operation:
    verb = "publish" if one.kind is OperationKind.PUBLISH else "withdraw"
    reason = "" if verb == "publish" else " --reason …"
    why = f"it has begun and not ended{f' ({one.told})' if one.told else ''}: `b2prod {verb} {one.subject}{reason}`"
    counted = (one.outputs, one.files, one.bytes)
    return Operation(one.kind, one.subject, one.reason, one.digest, *counted, OperationStanding.WAITING, why)


def _describe_due(connection: Connection, name: DatasetName, status: StageStatus) -> Operation:
    newest = _find_newest(connection, name)
    reason = f"the stage {status.name_gate()} publishes it"
    if newest is None:
        subject, sizes = name.dataset, (0, 0, 0)
        why = f"it is due: `b2prod dataset freeze {subject}`, then `b2prod publish {subject}:N`"
    else:
        subject, sizes = newest.name, _measure(connection, newest)
        why = f"it is due: `b2prod publish {subject}`"
    action = digest({"operation": OperationKind.PUBLISH.value, "edition": subject})
    datasets = (name.dataset,)
    return Operation(
        OperationKind.PUBLISH,
        subject,
        reason,
        action,
        *sizes,
        OperationStanding.WAITING,
        why,
        datasets=datasets,
    )


def _find_newest(connection: Connection, name: DatasetName) -> StoredEdition | None:
    """The newest edition of a dataset that was never published, or the one that is named; None if there is none."""
    known = {
        one.subject
        for one in list_operations(connection, None, OperationKind.PUBLISH)
        if one.state is OperationState.DONE
    }
    for one in reversed(list_editions(connection, name.dataset)):
        if name.edition in (None, one.number):
            return one if name.edition is not None or one.name not in known else None
    return None


def _measure(connection: Connection, edition: StoredEdition) -> tuple[int, int, int]:
    """The runs, files and bytes of an edition."""
    if edition.digest not in _SIZES:
        runs = files = size = 0
        for _, one in read_frozen(connection, edition.digest).stream():
            runs, files, size = runs + 1, files + len(one.files), size + one.bytes
        if len(_SIZES) >= _MOST:
            _SIZES.clear()
        _SIZES[edition.digest] = (runs, files, size)
    return _SIZES[edition.digest]
