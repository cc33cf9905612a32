"""Operations: actions on datasets for which no job runs, as values; their kinds, states and standing.

An operation is intended, done, read back, and then recorded as done, in the same plan and journal as jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class OperationKind(StrEnum):
    """The kind of an operation. The texts are in the ledger and in plans."""

    PUBLISH = "publish"
    """Readers are given an edition: in a catalogue, as a list, or in a final folder."""
    MOVE = "move"
    """Files get another place on disk."""
    ARCHIVE = "archive"
    """Files are copied to tape, and the copies are read back; then the disk may be released."""
    RELEASE = "release"
    """The copies on disk of files that are on tape are removed."""
    RECALL = "recall"
    """Files are copied from tape to disk."""
    TRASH = "trash"
    """Files are put aside, on the same file system; readers no longer find them, and they can be restored."""
    RESTORE = "restore"
    """Files come back from the trash."""
    PURGE = "purge"
    """Files in the trash are deleted; the ledger keeps what they were."""
    WITHDRAW = "withdraw"
    """What was published is taken back, with the reason."""
    ANNOUNCE = "announce"
    """A release note of an edition is sent."""
    HAND_OVER = "hand_over"
    """Editions are handed over to calibration."""


SIGNED = frozenset({OperationKind.TRASH, OperationKind.PURGE})
"""The kinds that are always signed, by the digest of their action."""


class OperationState(StrEnum):
    """The state of an operation, and of each of its outputs."""

    INTENDED = "intended"
    """It is written down, and its effect may be under way."""
    DONE = "done"
    """Its effect was read back."""
    REFUSED = "refused"
    """It was not done, or was undone; it says why."""


class OperationStanding(StrEnum):
    """Whether an operation of a plan may be done now."""

    READY = "ready"
    """It is done when the plan is applied, if it is approved."""
    WAITING = "waiting"
    """It is due later, or behind something."""
    REFUSED = "refused"
    """A reference needs the files, or a rule forbids it."""
    UNKNOWN = "unknown"
    """Something that must be read could not be read."""


class CopyKind(StrEnum):
    """Where a copy of an output lies."""

    DISK = "disk"
    TAPE = "tape"
    TRASH = "trash"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a plan: what is done to which files, why, and who reads them.

    `subject` is `retirement/NAME`, an edition or a dataset. `digest` is that of the action with all its outputs, which people
    sign where `signed` is true; `why` says why it is not `ready`. `readers` are steps and editions that read the files or refer
    to them; `datasets` are those that the outputs are of. `numbers` are the outputs in the ledger, sorted, and `storages` where
    they lie; they are not in the plan's data, since `digest` covers them.
    """

    kind: OperationKind
    subject: str
    reason: str
    digest: str
    outputs: int
    files: int
    bytes: int
    standing: OperationStanding = OperationStanding.READY
    why: str = ""
    readers: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    storages: tuple[str, ...] = field(default=(), repr=False, compare=False)
    numbers: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @property
    def is_ready(self) -> bool:
        """Whether it is done when the plan is applied, if it is approved."""
        return self.standing is OperationStanding.READY

    @property
    def signed(self) -> bool:
        """Whether it is always signed."""
        return self.kind in SIGNED

    def data(self) -> Mapping[str, Any]:
        """The operation as JSON data."""
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "reason": self.reason,
            "action": self.digest,
            "outputs": self.outputs,
            "files": self.files,
            "bytes": self.bytes,
            "datasets": list(self.datasets),
            "standing": self.standing.value,
            **({"why": self.why} if self.why else {}),
            **({"readers": list(self.readers)} if self.readers else {}),
        }


Watch = Callable[[Operation, int], None]
"""Is told of an operation how many more files were moved, copied or deleted."""


def ignore_progress(operation: Operation, files: int) -> None:
    """A watch that does nothing."""
