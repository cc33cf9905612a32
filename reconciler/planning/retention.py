"""Retention: how many of the events that were read were kept, and how well that tells the rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.ledger.reading.observation import Head

ONE_SIGMA = math.erf(1 / math.sqrt(2))
"""The probability within one standard deviation of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The events of one output, of one run (its key) or of all (None).

    `runs` is of how many runs both numbers are known, `uncounted` of how many more they are not; where they are known of
    none, `read` and `kept` are None. `low` and `high` bound the interval by Clopper and Pearson; they and `rate` are
    None where no rate can be told, because nothing was read, or more was kept than read.
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
    """The retention of each output, or of each output's every run, at a confidence between 0 and 1.

    They come in the order of `places` (step and output), outputs that are not in it last, by name; and by run.
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
    """The interval by Clopper and Pearson (Biometrika 26 (1934) 404) of each rate kept/read: its two ends.

    It covers the true rate with at least the probability `confidence`, with equal shares above and below; it begins at
    0 where nothing was kept, and ends at 1 where everything was. NaN where nothing was read, or more kept than read.
    """
    from scipy.special import betaincinv  # noqa: PLC0415 -- 0.2 s, which only those pay who ask for it

    share = (1 - confidence) / 2
    none, every = kept == 0, kept == read
    low = np.where(none, 0.0, betaincinv(np.where(none, 1, kept), read - kept + 1, share))
    high = np.where(every, 1.0, betaincinv(kept + 1, np.where(every, 1, read - kept), 1 - share))
    wrong = (read <= 0) | (kept > read)
    return np.where(wrong, np.nan, low), np.where(wrong, np.nan, high)
