"""Old versions of outputs: a retirement names them, and they go only as far as the pinned retention lets them go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from reconciler.model.operations import Operation, OperationKind, OperationStanding
from reconciler.planning.operations.action_digests import digest_action, measure_files
from reconciler.planning.retained.reading import RetainedPart
from schemas.manifest.variant import find_declared
from schemas.policy.retirement import Retirement
from schemas.repository import Repository

SUBJECT = "retention/"
"""What the subjects begin with of what the retention lets go; the dataset follows."""


def judge_versions(
    operation: Operation, retirement: Retirement, published: Sequence[int], parts: Sequence[RetainedPart]
) -> Operation:
    """The operation of a retirement of old versions, refused if the retention does not let all that is `published` of them go."""
    if operation.kind is not OperationKind.TRASH:
        return operation
    campaigns = {one.campaign for one in retirement.datasets}
    old = {one.output.number for part in parts for one in part.wanted if not one.kept}
    days = max((part.rule.quarantine_days for part in parts if part.name.campaign in campaigns), default=0)
    why = ""
    if any(one.keep_versions is None for one in retirement.datasets):
        why = "old versions and whole datasets go by two retirements: the retention decides about the former"
    elif kept := {*published} - old:
        told = "not enough newer ones are there, for long enough, or validated; or no rule is about them"
        why = f"the retention keeps {len(kept):,} of these versions: {told}"
    elif (retirement.quarantine_days or 0) < days:
        why = f"the retention keeps old versions for {days} days in the trash"
    return replace(operation, standing=OperationStanding.REFUSED, why=why) if why else operation


def list_old_versions(
    connection: Connection, repository: Repository, parts: Sequence[RetainedPart]
) -> Iterator[Operation]:
    """Yields, for each dataset with old versions that no retirement names, what could go; it waits for a person."""
    named = {
        (one.campaign, one.step)
        for retirement in repository.retirements.values()
        for one in retirement.datasets
    }
    for part in parts:
        numbers = tuple(sorted(one.output.number for one in part.wanted if not one.kept))
        name = part.name
        if not numbers or named & {(name.campaign, None), (name.campaign, find_declared(name.step))}:
            continue
        files, size = measure_files(connection, numbers)
        yield Operation(
            OperationKind.TRASH,
            f"{SUBJECT}{name.dataset}",
            f"the retention keeps {part.rule.versions} of the versions of an output",
            digest_action(connection, OperationKind.TRASH, name.dataset, numbers),
            len(numbers),
            files,
            size,
            OperationStanding.WAITING,
            f"a retirement with `keep_versions: {part.rule.versions}` of {name.campaign}/{find_declared(name.step)} lets them go, once it is signed",
            (),
            (name.dataset,),
            (part.storage,),
            numbers,
        )
