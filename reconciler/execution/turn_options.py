"""How a turn is made: by whose leave, for what it waits, and by which clock."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.ledger.writing.lease import SECONDS
from reconciler.ledger.writing.transaction import Step
from reconciler.model.launch_permission import MERGED, LaunchPermission
from reconciler.outside.clock import CLOCK, Clock


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How a turn is made: by whose leave, for what it waits, how long its lease is, in seconds, by which clock, seen by whom.

    A turn waits for the jobs of this machine; with `patient` for all; with `bound`, for none longer than so many seconds.
    `closed` is why nothing begins now but what was begun before; None: all may.
    `step` is told of each write that succeeded.
    """

    permits: LaunchPermission = MERGED
    patient: bool = False
    bound: float | None = None
    lease: float = SECONDS
    clock: Clock = CLOCK
    closed: str | None = None
    step: Step | None = None


PLAIN = TurnOptions()
