"""The tests of two rates of the same events: each event is kept by both sides, by one of them, or by none. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconciler.validation.statistics import Counts, Numbers, Rates, bound_rate


def measure_paired_significance(alone: NDArray[np.int64]) -> Numbers:
    """The p-values of equal rates, by the exact test of McNemar (Psychometrika 12 (1947) 153); two-sided.

    `alone` has the numbers of events that only one side kept: those of the new side, and those of the reference. If the rates are
    equal, each of these events is as likely to be one's as the other's. Their smaller number has a binomial distribution, which
    is symmetric, so that the p-value is twice its lower tail, and at most 1.
    """
    from scipy.stats import binom  # noqa: PLC0415 -- takes half a second, and few commands need it

    p: Numbers = np.minimum(1.0, 2 * binom.cdf(alone.min(axis=0), alone.sum(axis=0), 0.5))
    return p


def bound_paired_difference(
    one: Rates, other: Rates, alone: NDArray[np.int64], level: float
) -> tuple[Numbers, Numbers]:
    """Returns the ends of Newcombe's hybrid score interval of the difference of paired rates, `one` minus `other`.

    Both read the same events (Stat. Med. 17 (1998) 2635, method 10); `alone` is as above. It covers the true difference with
    the probability 1 - `level`. Where the correlation of both is 0, it is the interval of independent samples.
    """
    from scipy.stats import norm  # noqa: PLC0415 -- as above

    sigmas = np.full(one.read.shape, norm.isf(level / 2))
    (low, high), (other_low, other_high) = bound_rate(one, sigmas), bound_rate(other, sigmas)
    down, up = one.rate - low, high - one.rate
    other_down, other_up = other.rate - other_low, other_high - other.rate
    correlation = _correlate(one, other, alone)
    difference = (alone[0] - alone[1]) / one.read
    return (
        difference - _add(down, other_up, correlation),
        difference + _add(up, other_down, correlation),
    )


def _add(one: Numbers, other: Numbers, correlation: Numbers) -> Numbers:
    """The length of the difference of two distances that are correlated."""
    squared: Numbers = one**2 + other**2 - 2 * correlation * one * other
    return np.sqrt(np.maximum(squared, 0.0))


def _correlate(one: Rates, other: Rates, alone: Counts) -> Numbers:
    """The correlation of both sides' decisions, with Newcombe's correction for continuity; 0 if one side decides always alike."""
    read = one.read.astype(np.float64)
    both = one.kept - alone[0]
    neither = one.read - both - alone.sum(axis=0)
    product = both.astype(np.float64) * neither - alone[0].astype(np.float64) * alone[1]
    corrected = np.where(product > 0, np.maximum(product - read / 2, 0.0), product)
    spread = np.sqrt(one.rate * (1 - one.rate) * other.rate * (1 - other.rate)) * read**2
    correlation: Numbers = np.divide(corrected, spread, out=np.zeros(read.shape), where=spread > 0)
    return correlation
