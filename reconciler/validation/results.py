"""What checks conclude: verdicts, and how several of them make one. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ValidationVerdict(StrEnum):
    """The verdict of a check or a comparison, the worst first. What is inconclusive is worse than a warning: nobody has seen it."""

    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    WARN = "warn"
    PASS = "pass"  # noqa: S105 -- no password


Row = Mapping[str, Any]
"""A line of a check's table, as JSON data. It may have a verdict of its own."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict of a check, the reason in words, and the rows to look at, worst first."""

    check: str
    verdict: ValidationVerdict
    reason: str
    rows: tuple[Row, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The result as JSON data."""
        told = {"check": self.check, "verdict": self.verdict.value, "reason": self.reason}
        return {**told, "rows": [dict(row) for row in self.rows]}


def find_worst(verdicts: Iterable[ValidationVerdict]) -> ValidationVerdict:
    """The worst of the verdicts; inconclusive if there are none."""
    return min(verdicts, key=[*ValidationVerdict].index, default=ValidationVerdict.INCONCLUSIVE)


def judge_change(change: float, warn: float, fail: float) -> ValidationVerdict:
    """The verdict on a relative change, which may be infinite."""
    if abs(change) > fail:
        return ValidationVerdict.FAIL
    return ValidationVerdict.WARN if abs(change) > warn else ValidationVerdict.PASS


def count_verdicts(verdicts: Sequence[ValidationVerdict], what: tuple[str, str]) -> str:
    """How many there are of each verdict, in words; `what` is the word for one and for several."""
    counts = [(verdict, verdicts.count(verdict)) for verdict in ValidationVerdict]
    told = ", ".join(f"{verdict.value} {count:,}" for verdict, count in counts if count)
    return f"{len(verdicts):,} {what[len(verdicts) != 1]}{f': {told}' if told else ''}"


def sort_rows(rows: Iterable[Row], *sizes: str) -> tuple[Row, ...]:
    """The rows, worst verdict first; then by how far the numbers `sizes` are from 0, then in their order. Without one it is infinitely far."""

    def rank(row: Row) -> tuple[int, Sequence[float]]:
        far = [-math.inf if row.get(name) is None else -abs(row[name]) for name in sizes]
        return [*ValidationVerdict].index(ValidationVerdict(row["verdict"])), far

    return tuple(sorted(rows, key=rank))


def round_number(number: float) -> float | None:
    """A number with six significant digits, so that its text is the same on every machine; None if it is infinite or NaN."""
    return float(f"{number:.6g}") if math.isfinite(number) else None
