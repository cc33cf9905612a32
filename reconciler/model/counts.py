"""Compares the numbers of events that jobs read and kept with the registered numbers. Pure functions.

A job that read too few events is not done; a job that read too many read something else.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.states import FailureClass

Miscount = tuple[FailureClass, str]
"""The class of a failure, as job results have it, and its reason."""

Kept = tuple[str, int | None]
"""What was written, by name, and how many events it holds; None: not known."""


def judge_counts(who: str, registered: int | None, read: int | None, kept: Iterable[Kept]) -> Miscount | None:
    """Class and reason of a miscount of a job, or of all jobs of a unit together; None if the known counts agree.

    Args:
        who: the job or unit, as the reason names it.
        registered: the events that its input files are registered with.
        read: the events that it says it read.
        kept: its outputs, with the events that each holds.
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
    """Class and reason if a unit read more events than the run catalogue has for its run; else None.

    Fewer events are allowed: not every data level stores every event of a run.
    """
    if record is None or read is None or read <= record:
        return None
    return FailureClass.INPUT, f"{who} read {read:,} events, its run has {record:,} in the run catalogue"
