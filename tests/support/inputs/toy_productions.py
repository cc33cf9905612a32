"""Toy productions: what is known of the runs of a dataset and of five skims of it, with changes of known size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from reconciler.validation.event_pairs import EventPairing, EventPairs
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
        runs = self._list_runs(read, **changed)
        kept = {
            skim: self.chance.binomial(read, np.clip(change(skim, rates), 0, 1))
            for skim, rates in self.rates.items()
        }
        return self._tell(name, runs, kept, read)

    def process_twice(
        self,
        change: Callable[[str, np.ndarray], np.ndarray] = lambda _skim, rates: rates,
        churn: float = 0.01,
    ) -> tuple[ProductionFacts, ProductionFacts, EventPairs]:
        """Two productions that read the same events, and the events that only one of them kept of each skim.

        `change` gives the rates of the first one, which are not larger. Of what the second kept, the first has lost this share
        `churn` for reasons of its own, and got as many others.
        """
        here, there, pairings = {}, {}, {}
        for skim, rates in self.rates.items():
            there[skim] = self.chance.binomial(self.read, rates)
            lost = churn if RATES[skim] < 1 else 0.0
            factor = change(skim, rates) / rates
            both = self.chance.binomial(there[skim], (1 - lost) * factor)
            others = np.divide(factor * rates * lost, 1 - rates, out=np.zeros(rates.size), where=rates < 1)
            gained = self.chance.binomial(self.read - there[skim], others)
            here[skim] = both + gained
            alone = zip(gained.tolist(), (there[skim] - both).tolist(), strict=True)
            pairings[skim] = EventPairing(dict(zip(self.keys, alone, strict=True)))
        sides = (("proc8/reco/mdst", here), ("proc7/reco/mdst", there))
        one, other = (self._tell(name, self._list_runs(self.read), kept, self.read) for name, kept in sides)
        return one, other, EventPairs(pairings)

    def _list_runs(self, read: np.ndarray, **changed: np.ndarray) -> dict[int, RunFacts]:
        """What is known of the runs of a production."""
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
        return dict(zip(self.keys, (RunFacts(*row) for row in rows), strict=True))

    def _tell(
        self, name: str, runs: Mapping[int, RunFacts], kept: Mapping[str, np.ndarray], read: np.ndarray
    ) -> ProductionFacts:
        """A production that kept these events of each skim."""
        skims = {
            ("skims", skim): dict(zip(self.keys, zip(some.tolist(), read.tolist(), strict=True), strict=True))
            for skim, some in kept.items()
        }
        return ProductionFacts(name, "0" * 64, runs, skims, keeps_all=True)
