"""Toy histograms of runs: tracks of an event, their azimuths and the energies of clusters, with changes of known size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from reconciler.validation.histogram_contents import Histogram, HistogramPairs, RunHistograms, pair_histograms
from schemas.manifest.runs import run_key
from schemas.skims.quantity import EVENT, OBJECT, Bins, Quantity

QUANTITIES = (
    Quantity("tracks", Bins(30, 0, 30), EVENT, count="Tracks", title="Tracks per event", shown_to="shifter"),
    Quantity("phi", Bins(50, -180, 180), OBJECT, count="phi", title="Azimuth of tracks", shown_to="expert"),
    Quantity("energy", Bins(100, 0, 5), OBJECT, count="E", title="Energies of clusters", shown_to="shifter"),
)
"""The quantities; by which branches is of no matter to a comparison."""

SHARES = {
    "tracks": np.array([0.0, *stats.poisson.pmf(np.arange(30), 8), stats.poisson.sf(29, 8)]),
    "phi": np.array([0.0, *np.full(50, 0.02), 0.0]),
    "energy": np.array([0.0, *np.diff(stats.expon.cdf(np.linspace(0, 5, 101), scale=0.6)), np.exp(-5 / 0.6)]),
}
"""The shares of entries below the bins, in each bin, and above."""

RUNS = 20

OBJECTS = {"tracks": 1, "phi": 8, "energy": 10}
"""Entries of an event."""

Change = Callable[[str, int, np.ndarray], np.ndarray]
"""Quantity, number of the run and shares → shares."""


def keep(_name: str, _run: int, shares: np.ndarray) -> np.ndarray:
    """No change."""
    return shares


def make_runs(
    chance: np.random.Generator, events: int, runs: int, change: Change = keep
) -> list[RunHistograms]:
    """The histograms of some runs; a share that is lost by `change` lowers the number of entries."""
    made = []
    for run in range(runs):
        found = {}
        for one in QUANTITIES:
            shares = change(one.name, run, SHARES[one.name])
            entries = chance.poisson(shares * events * OBJECTS[one.name])
            found[one.name] = Histogram(one.describe(), entries.astype(np.int64))
        made.append(RunHistograms(events, found, checksums=(str(found["tracks"].entries),)))
    return made


def pair_toys(seed: int, events: int, runs: int = RUNS, change: Change = keep) -> HistogramPairs:
    """A production with a change and its reference, of the runs 3:500 and on."""
    chance = np.random.default_rng(seed)
    one, other = make_runs(chance, events, runs, change), make_runs(chance, events, runs)
    keys = [run_key(3, 500 + number) for number in range(runs)]
    return pair_histograms(
        zip(keys, one, other, strict=True), QUANTITIES, ("proc8/reco/mdst", "proc7/reco/mdst")
    )


def lose_tracks(share: float) -> Change:
    """Each track is lost with this probability, wherever it is."""
    kept = stats.poisson.pmf(np.arange(30), 8 * (1 - share))

    def change(name: str, _run: int, shares: np.ndarray) -> np.ndarray:
        if name == "tracks":
            return np.array([0.0, *kept, 1 - kept.sum()])
        return shares * (1 - share) if name == "phi" else shares

    return change


def lose_region(share: float, bins: int) -> Change:
    """In a region of so many bins of azimuth this share of tracks is lost."""

    def change(name: str, _run: int, shares: np.ndarray) -> np.ndarray:
        if name != "phi":
            return shares
        lost = shares.copy()
        lost[1 : 1 + bins] *= 1 - share
        return lost

    return change


def cut_energy(low: float) -> Change:
    """Clusters below this energy in GeV, a border of bins, are left out."""

    def change(name: str, _run: int, shares: np.ndarray) -> np.ndarray:
        if name != "energy":
            return shares
        cut = shares.copy()
        cut[1 : 1 + round(low / 0.05)] = 0
        return cut

    return change


def scale_energy(factor: float, run: int | None = None) -> Change:
    """Energies are larger by a factor, in all runs or in one."""

    def change(name: str, number: int, shares: np.ndarray) -> np.ndarray:
        if name != "energy" or number != (number if run is None else run):
            return shares
        scale = 0.6 * factor
        within = np.diff(stats.expon.cdf(np.linspace(0, 5, 101), scale=scale))
        return np.array([0.0, *within, np.exp(-5 / scale)])

    return change
