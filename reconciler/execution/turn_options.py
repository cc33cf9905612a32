"""The options of a turn of the reconciler."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.execution.launch.canary_verdict import CanaryMemory
from reconciler.ledger.writing.lease import SECONDS
from reconciler.ledger.writing.transaction import Step
from reconciler.model.launch_permission import MERGED, LaunchPermission
from reconciler.model.operations import Watch, ignore_progress
from reconciler.outside.clock import CLOCK, Clock


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """The options of a turn.

    `permits` decides which campaigns may be launched. A turn waits for the jobs of this machine; with `patient`, for all
    jobs; with `bound`, at most that many seconds. `lease` is the length of the turn's lease in seconds. If `closed` is set,
    only units that began earlier may continue, and `closed` is the reason. `step` is called after each write. `canaries` are the
    comparisons that earlier turns of the process made. `operates`: operations on datasets are done too, and `watch` is told how far
    each of them is.
    """

    permits: LaunchPermission = MERGED
    patient: bool = False
    bound: float | None = None
    lease: float = SECONDS
    clock: Clock = CLOCK
    closed: str | None = None
    step: Step | None = None
    canaries: CanaryMemory = field(default_factory=CanaryMemory)
    operates: bool = True
    watch: Watch = ignore_progress


PLAIN = TurnOptions()
