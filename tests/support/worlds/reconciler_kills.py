"""Deaths of the reconciler at chosen steps, whatever the engine: what the tests of kills share."""

from __future__ import annotations

import os
from typing import Any

from reconciler.execution.tracking import publication
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.units import Ledger

KILLED = 137


def list_steps(engine: type) -> dict[str, tuple[Any, str]]:
    """The steps of a turn with a system that is not this machine: whose they are, and their names there."""
    return {
        "attempts are written": (AttemptLedger, "begin"),
        "the batch is submitted": (engine, "submit"),
        "its ids are recorded": (AttemptLedger, "record_submitted"),
        "the jobs are asked for": (engine, "query"),
        "a result is recorded": (AttemptLedger, "record_verified"),
        "outputs are moved": (publication, "publish"),
        "a unit is produced": (Ledger, "record_produced"),
    }


def die_at(owner: Any, name: str, *, after: bool) -> None:
    """Makes a step the last of this process: it is taken, or just not."""
    whole = getattr(owner, name)

    def last(*arguments: Any, **words: Any) -> None:
        if after:
            whole(*arguments, **words)
        os._exit(KILLED)

    setattr(owner, name, last)
