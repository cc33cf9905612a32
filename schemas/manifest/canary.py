"""Canaries: the runs of a campaign that are made before all others, and what the others then wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas.manifest.runs import RunSet, parse_runs

CONTINUE, HOLD, VERDICT = "continue", "hold", "verdict"
"""What follows a complete canary: the rest; a person who says `resume`; the verdict of a comparison with the reference."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Runs that are made first: the `first` ones, those that are `chosen`, or as many as `spread` says over the period.

    `by` are the criteria of the comparison. `against` is the reference: a campaign, a dataset or an edition; None if the
    campaign names another one as that with which it is compared, or which it supersedes.
    """

    first: int | None = None
    chosen: RunSet | None = None
    spread: int | None = None
    then: str = CONTINUE
    by: str | None = None
    against: str | None = None


def read_canary(data: Mapping[str, Any]) -> Canary:
    """The canary in the data of a manifest. Runs that cannot be parsed are none; a rule reports them."""
    runs = data.get("runs")
    chosen = None
    if isinstance(runs, str):
        try:
            chosen = parse_chosen(runs)
        except ValueError:
            chosen = RunSet()
    return Canary(
        first=runs if isinstance(runs, int) else None,
        chosen=chosen,
        spread=data.get("spread"),
        then=data.get("then", CONTINUE),
        by=data.get("by"),
        against=data.get("against"),
    )


def parse_chosen(text: str) -> RunSet:
    """The runs of a text as in "3:529-533, 3:600".

    Raises:
        ValueError: it is not a list of runs, or names a run twice or too many runs.
    """
    return parse_runs(" ".join(text.replace(", ", " ").split()), MOST)


MOST = 1000
"""The largest number of runs of a canary."""


def divide_period(runs: Sequence[int], count: int) -> list[Sequence[int]]:
    """The sorted runs in at most `count` parts, one after the other, whose sizes differ by at most one.

    >>> divide_period([1, 2, 3, 4, 5], 2)
    [[1, 2], [3, 4, 5]]
    """
    parts = min(count, len(runs))
    ends = [number * len(runs) // parts for number in range(parts + 1)] if parts else []
    return [runs[begin:end] for begin, end in pairwise(ends)]


def aim(number: int, parts: int, part: Sequence[int]) -> int:
    """The run of a part that a spread canary wants: of the first part its first, of the last its last, else one between.

    >>> parts = divide_period(range(10), 3)
    >>> [aim(number, 3, part) for number, part in enumerate(parts)]
    [0, 4, 9]
    """
    share = 0.5 if parts == 1 else number / (parts - 1)
    return part[int(share * (len(part) - 1))]
