"""The tests of two histograms with the same bins: of their shape, and of their mean. Pure.

A histogram is an array of numbers of entries: those below the bins, those of each bin, and those above.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.skims.quantity import Bins

Entries = NDArray[np.int64]

LEAST_EXPECTED = 10.0
"""Bins are merged until equal histograms would have so many entries in each, on either side."""

_POWER = 0.95
"""The probability with which a change that fails has to be found, before it counts as absent."""


@dataclass(frozen=True, slots=True)
class Resemblance:
    """The homogeneity test of the shapes of two histograms: χ² with `freedom` degrees of freedom.

    `effective` is the product of the numbers of entries over their sum.
    """

    squared: float
    freedom: int
    effective: float

    @property
    def p(self) -> float:
        """The probability that equal shapes differ as much, or more."""
        from scipy.special import chdtrc  # noqa: PLC0415 -- takes half a second, and few commands need it

        return float(chdtrc(self.freedom, self.squared)) if self.freedom else 1.0

    @property
    def difference(self) -> float:
        """How much the contents of merged bins differ, relative to them: the root of the mean square over entries.

        The part that chance has in it is subtracted.
        """
        return math.sqrt(max(0.0, self.squared - self.freedom) / self.effective)


@dataclass(frozen=True, slots=True)
class MeanShift:
    """The means of the entries within the bins; `shift` and its standard deviation `error` are in units of the reference's rms."""

    one: float
    other: float
    shift: float
    error: float

    @property
    def p(self) -> float:
        """The probability that equal means differ as much, or more."""
        from scipy.special import ndtr  # noqa: PLC0415 -- as above

        return float(2 * ndtr(-abs(self.shift / self.error)))


def merge_bins(together: Entries, least: float) -> NDArray[np.intp]:
    """Where merged bins begin: neighbours are merged from below until each has `least` entries; the last one takes the rest."""
    sums = np.cumsum(together).tolist()  # of few numbers, lists are faster
    begins, before = [0], 0
    while True:
        end = bisect_left(sums, before + least)  # with this bin there is enough
        if end >= len(sums) or sums[-1] - sums[end] < least:
            break
        begins.append(end + 1)
        before = sums[end]
    return np.array(begins, dtype=np.intp)


def compare_shapes(one: Entries, other: Entries) -> Resemblance:
    """Tests whether two histograms, each with at least one entry, are of one distribution.

    This is Pearson's test of homogeneity for unweighted histograms, as in N. Gagunashvili, Nucl. Instrum. Methods A 614 (2010)
    287: the numbers of entries may differ. Which bins are merged depends on the sums of both sides alone, so that it takes no
    side.
    """
    together = one + other
    here, there = int(one.sum()), int(other.sum())
    begins = merge_bins(together, LEAST_EXPECTED * (here + there) / min(here, there))
    mine, theirs, both = (np.add.reduceat(side, begins).astype(np.float64) for side in (one, other, together))
    squared = float(np.sum((there * mine - here * theirs) ** 2 / np.maximum(both, 1.0))) / here / there
    return Resemblance(squared, begins.size - 1, here * there / (here + there))


def compare_means(one: Entries, other: Entries, bins: Bins) -> MeanShift:
    """Compares the means of two histograms, each with at least one entry within the bins, as if each had many.

    Entries are spread evenly over their bin, so that no rms is 0.
    """
    width = (bins.high - bins.low) / bins.number
    places = bins.low + width * (np.arange(bins.number) + 0.5)
    (mean, variance, entries), (reference, wanted, against) = (
        _measure(side[1:-1], places, width) for side in (one, other)
    )
    error = math.sqrt(variance / entries + wanted / against)
    rms = math.sqrt(wanted)
    return MeanShift(mean, reference, (mean - reference) / rms, error / rms)


def _measure(counts: Entries, places: NDArray[Any], width: float) -> tuple[float, float, int]:
    entries = int(counts.sum())
    mean = float(counts @ places) / entries
    return mean, float(counts @ (places - mean) ** 2) / entries + width**2 / 12, entries


def can_see(found: Resemblance, p: float, difference: float, shift: float) -> bool:
    """Whether histograms with so many entries would show a difference and a shift of this size.

    They would if such a change has a p-value below `p` with 95 % probability.
    """
    from scipy.stats import chi2, ncx2, norm  # noqa: PLC0415 -- as above

    freedom = max(found.freedom, 1)
    shape = ncx2.sf(chi2.isf(p, freedom), freedom, found.effective * difference**2)
    mean = norm.sf(norm.isf(p / 2) - shift * math.sqrt(found.effective))
    return bool(shape >= _POWER and mean >= _POWER)


@dataclass(frozen=True, slots=True)
class Excess:
    """How much single runs differ beyond the typical one: the difference of the contents and the shift of the mean, with p-values."""

    difference: NDArray[np.float64]
    p: NDArray[np.float64]
    shift: NDArray[np.float64]
    p_mean: NDArray[np.float64]


def measure_excess(
    squared: NDArray[np.float64],
    freedom: NDArray[np.float64],
    effective: NDArray[np.float64],
    shift: NDArray[np.float64],
    error: NDArray[np.float64],
) -> Excess:
    """How much runs, one in each entry, differ beyond the median of all: what moves all runs together lets none stand out.

    A run that differs as the typical one has a noncentral χ². What a few runs do does not move the median.
    """
    from scipy.stats import chi2, ncx2, norm  # noqa: PLC0415 -- as above

    beyond = (squared - freedom) / effective
    typical = max(0.0, float(np.median(beyond))) if beyond.size else 0.0
    free = np.maximum(freedom, 1.0)
    p = ncx2.sf(squared, free, effective * typical) if typical else chi2.sf(squared, free)
    moved = shift - (np.median(shift) if shift.size else 0.0)
    return Excess(
        np.sqrt(np.maximum(0.0, beyond - typical)),
        np.where(freedom > 0, p, 1.0),
        moved,
        2 * norm.sf(np.abs(moved) / error),
    )
