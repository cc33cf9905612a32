"""Kills of the reconciler at chosen steps, for all engines."""

from __future__ import annotations

import os
from typing import Any

from reconciler.execution.tracking import publication
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.units import Ledger

KILLED = 137


def list_steps(engine: type) -> dict[str, tuple[Any, str]]:
    """The steps of a turn with a remote system: owner and name of each."""
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
    """Ends this process at a step: after it, or just before it."""
    whole = getattr(owner, name)

    def last(*arguments: Any, **words: Any) -> None:
        if after:
            whole(*arguments, **words)
        os._exit(KILLED)

    setattr(owner, name, last)
