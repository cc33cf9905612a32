"""Kills of the reconciler at chosen steps, for all engines."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from reconciler.execution.tracking import publication
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.units import Ledger
from tests.support.worlds.processes import run_forked

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


def kill_at(step: tuple[Any, str], work: Callable[[], int], *, after: bool) -> None:
    """Does some work in a process of its own that ends at a step: after it, or just before it."""

    def doomed() -> None:
        die_at(*step, after=after)
        os._exit(work())

    assert run_forked(doomed) == KILLED
