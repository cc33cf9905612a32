"""Counts: the events that were read and kept, held against those that are registered. Pure.

Who read a part of its input is not done, and who read more than there is read something else. Every reason says which
number is whose.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.states import FailureClass

Miscount = tuple[FailureClass, str]
"""The class of a failure, as job results have it, and its reason."""

Kept = tuple[str, int | None]
"""What was written, by name, and how many events it holds; None: not known."""


def judge_counts(who: str, registered: int | None, read: int | None, kept: Iterable[Kept]) -> Miscount | None:
    """What is wrong with the counts of a job, or of the jobs of a unit together; None where they agree as far as known.

    Args:
        who: the job or unit, as the reason names it.
        registered: the events that its input files are registered with.
        read: the events that it says it read.
        kept: its outputs.
    """
    if registered is not None and read is not None and read != registered:
        reason = f"{who} read {read:,} events, its input files are registered with {registered:,}"
        return FailureClass.INPUT, reason
    bound, whose = read, f"{who} read"
    if bound is None:
        bound, whose = registered, "its input files are registered with"
    for name, events in kept:
        if bound is not None and events is not None and events > bound:
            return FailureClass.PERMANENT, f"{name} holds {events:,} events, {whose} {bound:,}"
    return None


def judge_record(who: str, record: int | None, read: int | None) -> Miscount | None:
    """The same of the events that a unit read of its run, and of those that the run has in the run catalogue.

    Fewer are not a fault: not every event of a run is stored at every level.
    """
    if record is None or read is None or read <= record:
        return None
    return FailureClass.INPUT, f"{who} read {read:,} events, its run has {record:,} in the run catalogue"
