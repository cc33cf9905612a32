"""Retention: the fraction of the events read that an output keeps, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.ledger.reading.heads import Head

ONE_SIGMA = math.erf(1 / math.sqrt(2))
"""The probability within one standard deviation of the mean of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The events of one output, for one run (`run` is its key) or for all runs (`run` is None).

    `runs` is the number of runs for which both counts are known, `uncounted` the number of the others. `read` and `kept` are
    None if no run has counts. `low` and `high` are the ends of the Clopper-Pearson interval; they and `rate` are None if
    nothing was read, or more was kept than read.
    """

    step: str
    output: str
    run: int | None
    runs: int
    uncounted: int
    read: int | None
    kept: int | None
    rate: float | None
    low: float | None
    high: float | None


def measure_retention(
    heads: Iterable[Head],
    places: Sequence[tuple[str, str]],
    *,
    by_run: bool = False,
    confidence: float = ONE_SIGMA,
) -> list[Retention]:
    """The retention of each output, or of each output and run with `by_run`. `confidence` lies between 0 and 1.

    The result has the order of `places` (step and output), then other outputs by name; then the order of runs.
    """
    order = {place: number for number, place in enumerate(places)}
    sums: dict[tuple[str, str, int | None], list[int]] = {}
    for head in heads:
        total = sums.setdefault((head.step, head.output, head.run if by_run else None), [0, 0, 0, 0])
        if head.read is None or head.kept is None:
            total[1] += 1
        else:
            total[0] += 1
            total[2] += head.read
            total[3] += head.kept
    keys = sorted(sums, key=lambda key: (order.get(key[:2], len(order)), key[:2], key[2] or 0))
    counts = np.array([sums[key] for key in keys], dtype=np.int64).reshape(-1, 4)
    low, high = bound_rates(counts[:, 3], counts[:, 2], confidence)
    found = []
    for key, *ends in zip(keys, low.tolist(), high.tolist(), strict=True):
        runs, uncounted, read, kept = sums[key]
        events = (read, kept) if runs else (None, None)
        interval = (None, None, None) if math.isnan(ends[0]) else (kept / read, *ends)
        found.append(Retention(*key, runs, uncounted, *events, *interval))
    return found


def bound_rates(
    kept: NDArray[np.int64], read: NDArray[np.int64], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the lower and upper ends of the Clopper-Pearson interval (Biometrika 26 (1934) 404) of each rate kept/read.

    It covers the true rate at least with the probability `confidence`, with equal tails. The lower end is 0 if nothing was
    kept, the upper end is 1 if everything was. Both are NaN if nothing was read, or more was kept than read.
    """
    from scipy.special import betaincinv  # noqa: PLC0415 -- takes 0.2 s, and few commands need it

    share = (1 - confidence) / 2
    none, every = kept == 0, kept == read
    low = np.where(none, 0.0, betaincinv(np.where(none, 1, kept), read - kept + 1, share))
    high = np.where(every, 1.0, betaincinv(kept + 1, np.where(every, 1, read - kept), 1 - share))
    wrong = (read <= 0) | (kept > read)
    return np.where(wrong, np.nan, low), np.where(wrong, np.nan, high)
