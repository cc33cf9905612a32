"""The tests of a comparison: rates of two samples, many of them at once, and rates over runs. Pure, and on whole columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]

_MOST_SIGMAS = 38.0
"""More standard deviations have no probability that a float can hold."""
_HALVINGS = 50
_LEAST = 1e-6
"""The least variance of a count, where none can vary."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Events kept of events read, entry by entry; of each entry at least one event was read, and no more was kept than read."""

    kept: Counts
    read: Counts

    @property
    def rate(self) -> Numbers:
        """The fractions that were kept."""
        return self.kept / self.read


def bound_difference(one: Rates, other: Rates, level: float) -> tuple[Numbers, Numbers]:
    """Returns the ends of Newcombe's hybrid score interval of the difference of the rates, `one` minus `other`.

    The samples are independent (Stat. Med. 17 (1998) 873, method 10). It covers the true difference with the probability
    1 - `level`, and its ends lie between -1 and 1.
    """
    from scipy.stats import norm  # noqa: PLC0415 -- takes half a second, and few commands need it

    sigmas = np.full(one.read.shape, norm.isf(level / 2))
    down, up = _bound_difference(one, other, sigmas), _bound_difference(other, one, sigmas)
    difference = one.rate - other.rate
    return difference - down, difference + up


def measure_significance(one: Rates, other: Rates) -> Numbers:
    """The p-values of equal rates: the largest levels at which Newcombe's interval leaves out zero; two-sided.

    The interval that is shown and the test that decides never contradict each other.
    """
    from scipy.stats import norm  # noqa: PLC0415 -- as above

    difference = one.rate - other.rate
    swap = difference < 0
    above = Rates(np.where(swap, other.kept, one.kept), np.where(swap, other.read, one.read))
    below = Rates(np.where(swap, one.kept, other.kept), np.where(swap, one.read, other.read))
    low, high = np.zeros(difference.shape), np.full(difference.shape, _MOST_SIGMAS)
    for _ in range(_HALVINGS):  # the interval grows with the number of standard deviations
        middle = (low + high) / 2
        outside = _bound_difference(above, below, middle) < np.abs(difference)
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return np.where(difference == 0, 1.0, np.minimum(1.0, 2 * norm.sf(low)))


def _bound_difference(one: Rates, other: Rates, sigmas: Numbers) -> Numbers:
    """The distance from the difference of the rates to the lower end of its interval."""
    low, high = bound_rate(one, sigmas)[0], bound_rate(other, sigmas)[1]
    distance: Numbers = np.hypot(one.rate - low, high - other.rate)
    return distance


def bound_rate(rates: Rates, sigmas: Numbers) -> tuple[Numbers, Numbers]:
    """The ends of Wilson's score intervals of rates (J. Am. Stat. Assoc. 22 (1927) 209), `sigmas` standard deviations wide to each side."""
    squared = sigmas**2
    middle = rates.kept + squared / 2
    width = sigmas * np.sqrt(rates.kept * (1 - rates.rate) + squared / 4)
    low, high = (middle - width) / (rates.read + squared), (middle + width) / (rates.read + squared)
    return np.where(rates.kept == 0, 0.0, low), np.where(rates.kept == rates.read, 1.0, high)


def find_discoveries(significance: Numbers, level: float) -> NDArray[np.bool_]:
    """Which of many p-values are significant at the false discovery rate `level`, by Benjamini and Hochberg."""
    from scipy.stats import false_discovery_control  # noqa: PLC0415 -- as above

    if not significance.size:
        return np.zeros(0, dtype=np.bool_)
    found: NDArray[np.bool_] = false_discovery_control(significance) <= level
    return found


@dataclass(frozen=True, slots=True)
class Stability:
    """How the ratio of two rates moves over runs: run by run the change against all runs, the pull, and its p-value.

    `change` is relative, infinite for a run of which `other` kept nothing. `dispersion` is the correlation of two events of a
    run in the beta-binomial distribution: 0 if the runs spread no more than chance.
    """

    change: Numbers
    pull: Numbers
    significance: Numbers
    dispersion: float


def measure_stability(one: Rates, other: Rates) -> Stability:
    """How the ratio of the rates, `one` over `other`, moves over runs; of each run at least one event was kept on a side.

    Of the events that both kept of a run, a share is `one`'s. Expected is that of the ratio of all runs, their median weighted
    with the kept events, so that what a few runs do does not move it. The share spreads as a beta-binomial distribution; its
    dispersion makes the median of the squared pulls that of a normal distribution, for the same reason.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 -- as above
    from scipy.stats import chi2, norm  # noqa: PLC0415 -- as above

    together = one.kept + other.kept
    with np.errstate(divide="ignore"):
        ratio = one.rate / other.rate
    typical = _find_weighted_median(ratio, together)
    exposure = typical * one.read
    share = exposure / (exposure + other.read) if np.isfinite(typical) else np.ones(exposure.shape)
    # If `typical` is 0 or infinite, one side has lost the whole skim: what a run has all the same is beyond any spread.
    variance = np.maximum(together * share * (1 - share), _LEAST)
    squared = (one.kept - together * share) ** 2 / variance
    wanted = chi2.median(1)

    def exceed(dispersion: float) -> float:
        return float(np.median(squared / (1 + (together - 1) * dispersion)) - wanted)

    dispersion = 0.0 if exceed(0.0) <= 0 else 1.0 if exceed(1.0) >= 0 else float(brentq(exceed, 0.0, 1.0))
    pull = np.sign(one.kept - together * share) * np.sqrt(squared / (1 + (together - 1) * dispersion))
    change = ratio / typical - 1 if 0 < typical < np.inf else np.where(ratio == typical, 0.0, np.inf)
    return Stability(change, pull, 2 * norm.sf(np.abs(pull)), dispersion)


def _find_weighted_median(values: Numbers, weights: Counts) -> float:
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])
