"""The states of the ledger's records, the actions of a plan, the classes of failures and the kinds of pauses.

The texts are in the tables, the plans and the results of jobs, so a text never changes its meaning. The job's
runtime (`renderer/runtime`) runs alone on a worker node and writes the failure classes as plain texts.
"""

from __future__ import annotations

from enum import StrEnum


class AttemptState(StrEnum):
    """The state of an attempt: one submission of a job."""

    INTENT = "intent"
    """It is written down, and its submission may be under way."""
    UNCERTAIN = "uncertain"
    """It is not known whether the engine took it; it is searched by its name."""
    SUBMITTED = "submitted"
    """The engine took it and gave it an id."""
    RUNNING = "running"
    """The engine said that its job runs."""
    VERIFIED = "verified"
    """It ended, and its outputs are what its result states."""
    FAILED = "failed"
    """It ended with a failure, which has a class and a reason."""
    LOST = "lost"
    """Its engine does not know it any more, and it left no result; it may still come back."""
    CANCELLED = "cancelled"
    """It ended because somebody cancelled it."""
    DISCARDED = "discarded"
    """It ended well, but another attempt or unit made the same before."""
    DEFERRED = "deferred"
    """The site had no room for it, so it never began."""


LIVE = (AttemptState.INTENT, AttemptState.UNCERTAIN, AttemptState.SUBMITTED, AttemptState.RUNNING)
"""The states of an attempt that may still come to a result."""


class IntentState(StrEnum):
    """The state of an intent: that a unit is to make certain outputs."""

    OPEN = "open"
    """Its unit is to be made."""
    PRODUCED = "produced"
    """All its outputs are published."""
    QUARANTINED = "quarantined"
    """Nothing more is tried until a person decides."""
    RELEASED = "released"
    """It was quarantined, and a person allowed the unit a new start."""
    ABANDONED = "abandoned"
    """The unit is to make something else, or another unit makes the same."""


class OutputState(StrEnum):
    """The state of an output of an intent."""

    INTENDED = "intended"
    """It has a version and a final place, and no verified files yet."""
    PUBLISHING = "publishing"
    """Its files are verified, and are moved to their final place."""
    PRODUCED = "produced"
    """It is published: readers may trust it."""
    LOST = "lost"
    """It was published, and its files are gone or changed."""
    ABANDONED = "abandoned"
    """It is not made any more; its version number is not used again."""
    TRASHED = "trashed"
    """It was published, and its files are in the trash or on the way there or back: they can be restored."""
    PURGED = "purged"
    """It was published, and its files were deleted: the ledger keeps what they were."""


COMING = (OutputState.INTENDED, OutputState.PUBLISHING)
"""The states of an output that is not published yet."""

CLAIMING = (*COMING, OutputState.PRODUCED)
"""The states of an output that nobody else may make: it exists, or it is coming."""


class PlanAction(StrEnum):
    """What a plan says of a unit, in the order in which plans show it. The last three are only listed."""

    SUBMIT = "+"
    """It was not produced, and its jobs are submitted."""
    RESTATE = "~"
    """It was produced with another fingerprint, and is made again."""
    REUSE = "="
    """Another campaign made the same at the same storage."""
    BLOCKED = "!"
    """A rule, a limit or a hold forbids it."""
    UNKNOWN = "?"
    """It cannot be judged now, so it is left alone."""
    OBSOLETE = "-"
    """It was produced, and is no longer declared."""
    IN_FLIGHT = "in flight"
    """An attempt of it may still come to a result."""
    WAITING = "waiting"
    """Its input is not there yet."""
    QUARANTINED = "quarantined"
    """It waits for a person to let it be tried again."""

    @property
    def word(self) -> str:
        """The action as plans and messages write it."""
        return self.name.lower().replace("_", " ")


MAKING = (PlanAction.SUBMIT, PlanAction.RESTATE)
"""The actions by which jobs are submitted."""


class FailureClass(StrEnum):
    """The class of a failure, which decides what follows; `schemas/result.schema.json` has the same."""

    TRANSIENT = "transient"
    """It may not happen again: the job is tried again."""
    INFRASTRUCTURE = "infrastructure"
    """Something of the site or of the transport failed: the job is tried again."""
    PERMANENT = "permanent"
    """It would happen again: the unit waits for a person."""
    INPUT = "input"
    """The input is not what was registered: the unit waits for a person."""
    UNCLASSIFIED = "unclassified"
    """The application failed and nobody can tell why: the job is tried again."""

    @property
    def is_final(self) -> bool:
        """Whether another attempt would fail in the same way."""
        return self in (FailureClass.PERMANENT, FailureClass.INPUT)


class PauseKind(StrEnum):
    """The kind of a pause: why nothing begins in its scope."""

    OPERATOR = "operator"
    """A person paused it."""
    BREAKER = "breaker"
    """Several jobs failed with the same error."""
    CANARY = "canary"
    """The canary of a campaign is complete, and a person wants to look at it."""
    ALARM = "alarm"
    """Very many things seem to have gone wrong at once; a person must say whether that is true."""
    PRECONDITION = "precondition"
    """A site is not ready; the pause ends by itself when it is."""
    FULL = "full"
    """The queue of a site is full. This pause stops nothing; it ends with the first job that the site takes."""
    CATALOGUE = "catalogue"
    """A catalogue has something else under the name of an output of the campaign."""
