"""Runs and files as the run catalogue has them, and the words that describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.manifest.runs import MC_EXPERIMENTS

RUN_TYPES = ("physics", "beam", "cosmic", "debug", "null", "hlttest", "mc", "unknown")
"""What a run is of: the run database's types, and `mc` for simulated events."""
NO_BEAM = "No Beam"
ENERGIES = (
    *("4S", "4S_offres", "4S_scan", "5S", "5S_offres", "5S_scan", "3S", "3S_offres"),
    *("Continuum", "Scan", NO_BEAM),
)
"""Labels of beam energies as the field has them, of the grid and of local paths; none is taken for another."""
QUALITIES = ("good", "recoverable", "bad")
LEVELS = ("sroot", "raw", "cdst", "mdst", "dst", "udst", "ntuple")
"""Data levels that files are registered at."""
STORAGES = ("disk", "tape", "staging")


class Run(NamedTuple):  # made and compared a million times an import, at a third of what a dataclass costs
    """A run that the detector recorded, or one of simulated events. None, and the type `unknown`: not known.

    Times are ISO 8601, UTC. `energy` is one of `ENERGIES`, `quality` of `QUALITIES`; `files` is how many RAW files the
    run was written to.
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
        """The run with the type `mc`, where nobody states its type and its experiment number is one of simulation."""
        if self.type == "unknown" and self.experiment in MC_EXPERIMENTS:
            return self._replace(type="mc")
        return self


@dataclass(frozen=True, slots=True)
class File:
    """A registered file of one run. `name` identifies it, `path` is where it lies; `checksum` names its algorithm.

    `storage` is one of `STORAGES`, and of no consequence for what is made from the file. `simulated` is what the file
    says of its events, None where it says nothing, or was not read.
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
