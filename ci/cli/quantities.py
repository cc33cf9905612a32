"""Numbers with uncertainties, with as many digits as the uncertainties justify, and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable

MOST_DIGITS = 12
"""The largest number of digits behind the point."""


def count_digits(uncertainties: Iterable[float], *, two: bool = False) -> int:
    """The digits after the point: for the smallest uncertainty, two digits if it begins with 1 or 2, else one.

    With `two`, always two. The result is 1 if no uncertainty is greater than 0.
    """
    return max((_count(one, two=two) for one in uncertainties if one > 0), default=1)


def _count(uncertainty: float, *, two: bool) -> int:
    power = math.floor(math.log10(uncertainty))
    return min(MOST_DIGITS, max(0, -power + (two or uncertainty < 3 * 10.0**power)))


def format_rate(rate: float | None, low: float | None, high: float | None) -> str:
    """A rate and the ends of its interval in per cent, `8.33 +0.82 −0.76`; a dash if it is not known."""
    if rate is None or low is None or high is None:
        return "–"
    up, down = (max(0.0, 100 * distance) for distance in (high - rate, rate - low))
    digits = count_digits((up, down), two=True)
    return f"{100 * rate:.{digits}f} +{up:.{digits}f} −{down:.{digits}f}"


def format_bytes(size: int) -> str:
    """A size with three digits, in powers of 1000 as storages are sold: `1.23 TB`."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
    power = min(len(units) - 1, max(0, len(str(size)) - 1) // 3)
    if power == 0:
        return f"{size} bytes"
    return f"{size / 1000**power:.3g} {units[power]}"
