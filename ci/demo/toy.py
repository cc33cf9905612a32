"""A toy sample: e⁺e⁻ events with the variables of the high-level trigger, in runs of different luminosities.

These are not Belle II data and not a simulation: values have simple distributions, so that each skim of the menu selects mostly
the process for which it is made. The same seed gives the same events.

    python -m ci.demo.toy FOLDER [--runs N] [--size FACTOR]
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rich_click as click
import uproot

from schemas.files.times import format_time

EXPERIMENT = 12
RUNS = 24
EVENTS_PER_INVERSE_NANOBARN = 120.0
SHARES: Mapping[str, float] = {
    "bhabha": 0.46,
    "gamma_gamma": 0.09,
    "mumu": 0.10,
    "hadron": 0.14,
    "tautau": 0.06,
    "beam_background": 0.15,
}
"""Process → share of the events."""

Columns = dict[str, npt.NDArray[np.float64]]


def write_sample(folder: Path, seed: int = 2019, runs: int = RUNS, size: float = 1.0) -> Path:
    """Writes one ROOT file per run and the run list beside them; returns the path of the run list.

    There are `size` times as many events as usual.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    start = datetime(2020, 3, 1, tzinfo=UTC)
    rows = []
    for run in range(1, runs + 1):
        luminosity = float(random.gamma(4.0, 2.0))  # nb⁻¹
        count = int(random.poisson(luminosity * EVENTS_PER_INVERSE_NANOBARN * size))
        columns = draw_events(random, count)
        identity: dict[str, npt.NDArray[Any]] = {
            "experiment": np.full(count, EXPERIMENT, dtype=np.int32),
            "run": np.full(count, run, dtype=np.int32),
            "event": np.arange(1, count + 1, dtype=np.int64),
        }
        with uproot.recreate(folder / f"toy.{EXPERIMENT:04d}.{run:05d}.root") as file:
            branches = {**identity, **columns}
            file.mktree("events", {name: column.dtype for name, column in branches.items()})
            file["events"].extend(branches)
        stop = start + timedelta(minutes=6 * luminosity)
        rows.append([EXPERIMENT, run, "physics", count, format_time(start), format_time(stop)])
        start = stop + timedelta(minutes=5)
    listed = folder / "runs.csv"
    with listed.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["experiment", "run", "type", "events", "start", "stop"])
        writer.writerows(rows)
    return listed


def draw_events(random: np.random.Generator, count: int) -> Columns:
    """Toy events: the variables that the skims of the menu use, one value per event."""
    kind = random.choice(len(SHARES), size=count, p=list(SHARES.values()))
    bhabha, photons, muons, hadron, tau, background = (kind == number for number in range(len(SHARES)))
    tracks = np.select(
        [bhabha | muons, photons, hadron, tau],
        [2, 0, 3 + random.poisson(3.5, count), 2 + 2 * random.binomial(1, 0.15, count)],
        random.poisson(0.8, count),
    ) - random.binomial(1, np.where(bhabha | muons, 0.12, 0.0))
    leptons, shower = bhabha | muons, bhabha | photons
    electrons = np.where(bhabha, tracks, np.where(tau, random.binomial(1, 0.3, count), 0))
    momentum = np.where(leptons, random.normal(0.98, 0.03, count), random.beta(2.0, 4.0, count))
    second = momentum * np.where(leptons, random.normal(0.98, 0.02, count), random.beta(4.0, 2.0, count))
    first_energy = np.where(shower, random.normal(5.1, 0.2, count), random.gamma(2.0, 0.4, count))
    first_energy = np.where(muons, random.normal(0.2, 0.03, count), first_energy)
    second_energy = first_energy * np.where(
        shower, random.normal(0.97, 0.02, count), random.beta(3, 2, count)
    )
    angle = np.where(leptons, random.normal(3.08, 0.04, count), random.uniform(0.2, 3.1, count))
    angle = np.where(tracks < 2, -10.0, np.minimum(angle, np.pi))
    total = first_energy + second_energy + np.where(hadron, random.gamma(6.0, 0.5, count), 0.0)
    momenta = np.where(tracks > 0, momentum, 0.0), np.where(tracks > 1, second, 0.0)
    is_bhabha = (tracks >= 2) & (angle > 2.88) & (electrons >= 1) & (momenta[1] > 0.35) & (total > 4)
    is_pair = (tracks <= 1) & (electrons == 0) & photons
    return {
        name: np.asarray(values, dtype=np.float64)
        for name, values in {
            "nTracksLE": tracks,
            "nEidLE": electrons,
            "P1CMSBhabhaLE": 5.29 * momenta[0],
            "P1OEbeamCMSBhabhaLE": momenta[0],
            "P2OEbeamCMSBhabhaLE": momenta[1],
            "EC1CMSLE": first_energy,
            "EC2CMSLE": second_energy,
            "EC12CMSLE": first_energy + second_energy,
            "G1CMSBhabhaLE": np.where(photons | background, first_energy, 0.4 * second_energy),
            "EtotLE": total,
            "VisibleEnergyLE": total + 5.29 * (momenta[0] + momenta[1]) * ~bhabha,
            "maxAngleTTLE": angle,
            "Bhabha2Trk": is_bhabha,
            "GG": is_pair,
        }.items()
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="How many runs.")
@click.option("--size", type=click.FloatRange(0.01), default=1.0, help="How many times as many events.")
def toy(folder: Path, runs: int, size: float) -> None:
    """Write a toy sample into FOLDER: a ROOT file for each run, and their list."""
    print(f"wrote {runs} runs; they are listed in {write_sample(folder, runs=runs, size=size)}")


if __name__ == "__main__":
    toy()
