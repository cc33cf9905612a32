"""Toy productions: what is known of the runs of a dataset and of five skims of it, with changes of known size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from reconciler.validation.production_facts import ProductionFacts, RunFacts
from schemas.manifest.runs import run_key

RATES = {"hlt_bhabha": 0.3, "hlt_gamma_gamma": 0.1, "hlt_hadron": 0.15, "hlt_mumu": 0.05, "all": 1.0}
"""The mean rates of the skims."""

RUNS = 40
READ = 20_000
"""The mean number of events of a run."""


class Detector:
    """Runs with numbers of events, and rates that move with the beams by a tenth, the same for all who process them."""

    def __init__(self, seed: int, runs: int = RUNS, read: int = READ) -> None:
        self.chance = np.random.default_rng(seed)
        self.keys = [run_key(3, 500 + number) for number in range(runs)]
        self.read = 1 + self.chance.poisson(read * self.chance.lognormal(0, 0.5, runs))
        self.rates = {
            skim: np.minimum(1.0, rate * self.chance.normal(1, 0.1, runs).clip(0.5))
            if rate < 1
            else np.ones(runs)
            for skim, rate in RATES.items()
        }

    def process(
        self,
        name: str,
        change: Callable[[str, np.ndarray], np.ndarray] = lambda _skim, rates: rates,
        **changed: np.ndarray,
    ) -> ProductionFacts:
        """A production of these runs as `name`. `change` gives rates from those of a skim; `changed` are columns of runs."""
        read = changed.get("read", self.read)
        columns: Mapping[str, np.ndarray] = {
            "bytes": (read * 5000 * self.chance.normal(1, 0.01, read.size)).astype(np.int64),
            "events": read,
            "read": read,
            "cpu_seconds": read * 2.0 * self.chance.normal(1, 0.1, read.size).clip(0.1),
            **changed,
        }
        rows = zip(
            *(columns[one].tolist() for one in ("bytes", "events", "read", "cpu_seconds")), strict=True
        )
        skims = {}
        for skim, rates in self.rates.items():
            kept = self.chance.binomial(read, np.clip(change(skim, rates), 0, 1))
            skims["skims", skim] = dict(
                zip(self.keys, zip(kept.tolist(), read.tolist(), strict=True), strict=True)
            )
        runs = dict(zip(self.keys, (RunFacts(*row) for row in rows), strict=True))
        return ProductionFacts(name, "0" * 64, runs, skims, keeps_all=True)
