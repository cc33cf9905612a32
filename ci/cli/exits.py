"""Exit codes, and two exceptions that end a command with one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from schemas.findings.finding import Finding


class Exit(IntEnum):
    """The meanings of exit codes; they are stable, so that pipelines can rely on them."""

    FINE = 0
    FINDINGS = 1
    CHANGES = 2
    USAGE = 3
    UNAVAILABLE = 4
    REFUSED = 5
    PARTLY = 6
    DEFECT = 70
    INTERRUPTED = 130


class FoundProblems(Exception):
    """There are findings for the author."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = tuple(findings)


class WrongUse(Exception):
    """The command cannot do what was asked; the text says what to do instead."""
