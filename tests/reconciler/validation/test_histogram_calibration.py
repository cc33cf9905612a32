"""What the criteria of this repository conclude on toy histograms: equal ones, and ones with changes of known size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from reconciler.validation.histogram_checks import check_histograms, check_run_histograms
from reconciler.validation.results import find_worst
from schemas.json_schema.validation import read_valid
from schemas.policy.validation import VALIDATIONS, read_validation
from tests.support.inputs.toy_histograms import (
    cut_energy,
    keep,
    lose_region,
    lose_tracks,
    pair_toys,
    scale_energy,
)

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/validation.md").read_text()
FILE = ROOT / VALIDATIONS / "tracking.yaml"
CHECKS = read_validation("tracking", read_valid(FILE.name, FILE.read_bytes(), "validation"))[0].checks

LARGE, SMALL = 20_000, 2_000
"""Events of a run."""


def compare(seed, events, change=keep, **runs):
    """The verdict of both checks by name, and the worst of them as `all`."""
    found = pair_toys(seed, events, change=change, **runs)
    results = (
        check_histograms(found, CHECKS.histograms, {}),
        check_run_histograms(found, CHECKS.run_histograms),
    )
    verdicts = {result.check: result.verdict.value for result in results}
    rows = {row["run"] for row in results[1].rows}
    return {**verdicts, "all": find_worst(result.verdict for result in results).value, "runs": rows}


def spell(verdicts, toys):
    return ", ".join(f"{verdict} {100 * count / toys:.3g} %" for verdict, count in sorted(verdicts.items()))


@pytest.mark.slow
def test_of_a_thousand_pairs_of_equal_histograms_fewer_than_ten_fail():
    verdicts = Counter(compare(seed, LARGE)["all"] for seed in range(1000))
    assert verdicts["fail"] < 10
    assert verdicts["warn"] < 20
    assert verdicts["pass"] > 970
    told = f"| none, 1,000 pairs | {LARGE:,} | {spell(verdicts, 1000)} |"
    assert told in PAGE, told


CHANGES = [
    ("2 % of all tracks lost", lose_tracks(0.02), LARGE, "histograms", "fail"),
    ("2 % of all tracks lost", lose_tracks(0.02), SMALL, "histograms", "fail"),
    ("1 % of all tracks lost", lose_tracks(0.01), LARGE, "histograms", "warn"),
    ("2 % of the tracks lost in a sixth of the azimuth", lose_region(0.02, 8), LARGE, "histograms", "warn"),
    ("a region with 2 % of the tracks is dead", lose_region(1, 1), LARGE, "histograms", "fail"),
    ("a region with 2 % of the tracks is dead", lose_region(1, 1), SMALL, "histograms", "fail"),
    ("a cut on energies at 0.05 GeV", cut_energy(0.05), SMALL, "histograms", "fail"),
    ("energies larger by 3 %", scale_energy(1.03), LARGE, "histograms", "warn"),
    ("energies larger by 10 % in one run", scale_energy(1.1, 7), SMALL, "run_histograms", "warn"),
    ("energies larger by 20 % in one run", scale_energy(1.2, 7), LARGE, "run_histograms", "fail"),
]
"""What was changed, in productions of how large runs, the check that has to find it, and its verdict."""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "change", "events", "check", "verdict"), CHANGES)
def test_a_change_of_known_size_is_found_with_the_power_that_is_stated(what, change, events, check, verdict):
    toys = 50
    found = [compare(seed, events, change) for seed in range(toys)]
    verdicts = Counter(one["all"] for one in found)
    power = sum(one[check] in ("fail", verdict) for one in found)
    told = f"| {what} | {events:,} | {spell(verdicts, toys)} | `{check}`: {verdict} in {2 * power} % |"
    assert told in PAGE, told
    assert power > 0.8 * toys
    assert "pass" not in verdicts
    if check == "run_histograms":
        assert all("3:507" in one["runs"] for one in found if one[check] in ("fail", verdict))


@pytest.mark.parametrize(("events", "runs"), [(100, 20), (20_000, 3)], ids=["few events", "few runs"])
def test_too_few_entries_or_runs_are_never_a_pass(events, runs):
    verdicts = Counter(compare(seed, events, runs=runs)["histograms"] for seed in range(10))
    assert verdicts == {"inconclusive": 10}
