"""Quantities of which histograms are made: an expression of branches, or a count of objects, and its bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.skims.cut_tree import Formula

EVENT, OBJECT = "event", "object"
"""What has an entry in a histogram."""

SHIFTER, EXPERT = "shifter", "expert"
"""For whom a histogram is. Experts see those of shifters, too."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of equal width: `low` belongs to the first, `high` is above the last."""

    number: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one histogram shows: `formula`, or how many objects or values the branch `count` has in an event.

    With `of`, the variables of the formula are members of these objects of basf2; without it, they are branches. `per` is
    EVENT or OBJECT. `title` and `shown_to` are for people, and change no histogram.
    """

    name: str
    bins: Bins
    per: str
    formula: Formula | None = None
    of: str | None = None
    count: str | None = None
    title: str = ""
    shown_to: str = ""

    def describe(self) -> dict[str, Any]:
        """What determines the histogram, as JSON data: the normal form of the formula, or the count; `bins` are number, low, high."""
        bins = [self.bins.number, float(self.bins.low), float(self.bins.high)]
        formula = None if self.formula is None else self.formula.describe()
        described = {"expression": formula, "of": self.of, "count": self.count, "bins": bins, "per": self.per}
        return {key: value for key, value in described.items() if value is not None}
