"""How numbers with uncertainties are written: to the digits that the uncertainties warrant."""

from __future__ import annotations

import math
from collections.abc import Iterable

MOST_DIGITS = 12
"""Behind the point, however small an uncertainty is."""


def count_digits(uncertainties: Iterable[float], *, two: bool = False) -> int:
    """Digits behind the point, for the smallest uncertainty: two of its digits if it begins with 1 or 2, else one.

    With `two`, two of its digits in any case. 1 where no uncertainty is greater than 0.
    """
    return max((_count(one, two=two) for one in uncertainties if one > 0), default=1)


def _count(uncertainty: float, *, two: bool) -> int:
    power = math.floor(math.log10(uncertainty))
    return min(MOST_DIGITS, max(0, -power + (two or uncertainty < 3 * 10.0**power)))


def format_rate(rate: float | None, low: float | None, high: float | None) -> str:
    """A rate and the ends of its interval in per cent, `8.33 +0.82 −0.76`; a dash where it is not known."""
    if rate is None or low is None or high is None:
        return "–"
    up, down = (max(0.0, 100 * distance) for distance in (high - rate, rate - low))
    digits = count_digits((up, down), two=True)
    return f"{100 * rate:.{digits}f} +{up:.{digits}f} −{down:.{digits}f}"
