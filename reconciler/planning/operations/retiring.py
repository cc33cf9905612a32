"""Retirements as operations: into the trash, and after the quarantine out of it, if nothing refers to the files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from reconciler.datasets.operations.stored import StoredOperation
from reconciler.model.operations import Operation, OperationKind, OperationStanding, OperationState
from reconciler.model.states import OutputState
from reconciler.planning.operations.references import Reference
from reconciler.planning.operations.retired_outputs import SUBJECT, RetiredOutputs
from schemas.files.times import format_time, read_time
from schemas.policy.retirement import Retirement

_SHOWN = 5


def plan_retirement(
    retirement: Retirement,
    retired: RetiredOutputs,
    before: Sequence[StoredOperation],
    references: Sequence[Reference] | None,
    now: str,
    doubt: str = "",
) -> Operation | None:
    """What is next for a retirement; None if nothing is left of its data.

    `before` are the operations that were begun for it, in order. `references` is None if they could not be read, for the reason
    `doubt`. `now` is the time, UTC.
    """
    published, trashed = retired.list_in(OutputState.PRODUCED), retired.list_in(OutputState.TRASHED)
    if not published and not trashed:
        return None
    trashing = [one for one in before if one.kind is OperationKind.TRASH]
    open_trash = bool(trashing) and trashing[-1].state is OperationState.INTENDED
    into_trash = bool(published) or open_trash
    numbers = (*published, *trashed) if into_trash else trashed
    standing, why = _judge(retirement, retired, before, references, doubt)
    if not into_trash and standing is OperationStanding.READY:
        due = _find_end(retirement, trashing)
        if now < due:
            standing, why = OperationStanding.WAITING, f"in quarantine until {due[:10]}"
    return Operation(
        OperationKind.TRASH if into_trash else OperationKind.PURGE,
        f"{SUBJECT}{retirement.name}",
        retirement.reason or retirement.title,
        retired.digest,
        retired.outputs,
        retired.files,
        retired.size,
        standing,
        why,
        tuple(sorted({one.who for one in references or ()})),
        tuple(sorted(retired.makers)),
        tuple(sorted(retired.storages)),
        numbers,
    )


def _judge(
    retirement: Retirement,
    retired: RetiredOutputs,
    before: Sequence[StoredOperation],
    references: Sequence[Reference] | None,
    doubt: str,
) -> tuple[OperationStanding, str]:
    """Whether it may be done, quarantine aside, and why not."""
    refused = OperationStanding.REFUSED
    restored = [one for one in before if one.kind is OperationKind.RESTORE and one.digest == retired.digest]
    if restored:
        told = f"it was restored on {restored[-1].begun[:10]}: {restored[-1].reason}"
        return refused, f"{told}; take the manifest away, or say anew what goes and why"
    if retired.files > retirement.max_delete:
        told = f"{retired.files:,} files would go, and its `max_delete` is {retirement.max_delete:,}"
        return refused, told
    if references is None:
        return OperationStanding.UNKNOWN, doubt
    holding = [one for one in references if one.holds]
    if not holding:
        return OperationStanding.READY, ""
    told = "; ".join(f"{one.who}: {one.why}" for one in holding[:_SHOWN])
    more = f"; and {len(holding) - _SHOWN} more" if len(holding) > _SHOWN else ""
    return refused, told + more


def _find_end(retirement: Retirement, trashing: Sequence[StoredOperation]) -> str:
    """When the quarantine is over: the longest that was asked counts from the last move into the trash."""
    last = max((one.ended or one.begun for one in trashing), default="")
    days = timedelta(days=retirement.quarantine_days or 0)
    return format_time(read_time(last) + days) if last else ""
