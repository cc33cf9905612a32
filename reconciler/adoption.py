"""Adopting a job by an operator's word: only one that its engine has, under the attempt's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.engine import EngineUnavailable, Sighting
from reconciler.fleet import Fleet
from reconciler.guard import GuardRefused
from reconciler.ledger.database import SourceUnavailable
from reconciler.orders import Attempt

SEEN = (Sighting.PENDING, Sighting.RUNNING, Sighting.ENDED)


def check_reference(fleet: Fleet, attempt: Attempt, folder: Path, reference: str) -> None:
    """Ensures that the engine has an attempt's job under a reference; `folder` is the attempt's own.

    Raises:
        GuardRefused: it does not have it, or has it under another name.
        SourceUnavailable: the engine cannot be asked.
    """
    engine = fleet.engine(attempt.site)
    if (elsewhere := fleet.tell_elsewhere(attempt)) is not None:
        raise SourceUnavailable(elsewhere)
    ticket = replace(attempt.write_ticket(folder), reference=reference)
    try:
        seen = engine.query([ticket]).get(ticket.name)
    except EngineUnavailable as error:
        raise SourceUnavailable(f"{attempt.site} cannot be asked for job {reference}: {error}") from error
    if seen is None or seen.sighting not in SEEN:
        said = seen.reason or seen.sighting.value if seen else "nothing"
        raise GuardRefused(f"{attempt.site} has no job {reference} of {attempt.name}; it says: {said}")
