"""Runs and files as the run catalogue has them, and the words that describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.manifest.dataset import hold_level
from schemas.manifest.runs import MC_EXPERIMENTS

RUN_TYPES = ("physics", "beam", "cosmic", "debug", "null", "hlttest", "mc", "unknown")
"""Types of runs: those of the run database, and `mc` for simulated events."""
NO_BEAM = "No Beam"
ENERGIES = (
    *("4S", "4S_offres", "4S_scan", "5S", "5S_offres", "5S_scan", "3S", "3S_offres"),
    *("Continuum", "Scan", NO_BEAM),
)
"""Labels of beam energies, on the grid and in local paths; no two labels count as the same."""
QUALITIES = ("good", "recoverable", "bad")
LEVELS = ("sroot", "raw", "cdst", "mdst", "dst", "udst", "ntuple")
"""Data levels that files are registered at."""
STORAGES = ("disk", "tape", "staging")


class Run(NamedTuple):  # an import makes a million of them; a dataclass would cost three times as much
    """A run that the detector recorded, or a run of simulated events. None and the type `unknown` mean "not known".

    Times are ISO 8601, UTC. `energy` is one of `ENERGIES`, `quality` one of `QUALITIES`; `files` is the number of the
    run's RAW files.
    """

    experiment: int
    run: int
    type: str = "unknown"
    events: int | None = None
    start: str | None = None
    stop: str | None = None
    energy: str | None = None
    quality: str | None = None
    files: int | None = None

    def settle_type(self) -> Run:
        """The run; its type is `mc` if it was `unknown` and the experiment number is for simulation."""
        if self.type == "unknown" and self.experiment in MC_EXPERIMENTS:
            return self._replace(type="mc")
        return self


@dataclass(frozen=True, slots=True)
class File:
    """A registered file of one run. `name` identifies it, `path` is its location; `checksum` names its algorithm.

    `storage` is one of `STORAGES`; it does not change what is made from the file. `simulated` says whether the file
    calls its events simulated; None if it does not say, or was not read. `dataset` names the dataset that it belongs to;
    if it is not given, this is the one that holds the files of its level of which nobody said whose they are.
    """

    experiment: int
    run: int
    level: str
    name: str
    path: str
    size: int
    checksum: str
    events: int | None = None
    storage: str = "disk"
    simulated: bool | None = None
    dataset: str = ""

    def __post_init__(self) -> None:
        if not self.dataset:
            object.__setattr__(self, "dataset", hold_level(self.level))
