"""The options of a turn: who permits it, what it waits for, and its clock."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.ledger.writing.lease import SECONDS
from reconciler.ledger.writing.transaction import Step
from reconciler.model.launch_permission import MERGED, LaunchPermission
from reconciler.outside.clock import CLOCK, Clock


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """The options of a turn.

    `permits` decides which campaigns may be launched. A turn waits for the jobs of this machine; with `patient` for all
    jobs; with `bound` for no longer than that many seconds. `lease` is the length of its lease in seconds. `closed` is the
    reason why only units that began before may go on; None where all may begin. `step` is called after each write.
    """

    permits: LaunchPermission = MERGED
    patient: bool = False
    bound: float | None = None
    lease: float = SECONDS
    clock: Clock = CLOCK
    closed: str | None = None
    step: Step | None = None


PLAIN = TurnOptions()
