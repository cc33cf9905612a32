"""What the criteria of this repository conclude on toy productions: equal ones, and ones with changes of known size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reconciler.validation.branch_checks import BranchPairs, RunBranches
from reconciler.validation.comparison import compare_productions
from schemas.json_schema.validation import read_valid
from schemas.manifest.runs import run_key
from schemas.policy.validation import VALIDATIONS, read_validation
from tests.support.inputs.toy_productions import Detector

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/validation.md").read_text()
FILE = ROOT / VALIDATIONS / "production.yaml"
CRITERIA = read_validation("production", read_valid(FILE.name, FILE.read_bytes(), "validation"))[0]

RUN = RunBranches(frozenset({"EventMetaData"}))
BRANCHES = BranchPairs(("proc8/reco/mdst", "proc7/reco/mdst"), {run_key(3, 500): (RUN, RUN)})

LARGE, SMALL = 200_000, 20_000
"""Events of a run."""


def compare(detector, change=lambda _skim, rates: rates):
    one, other = (
        detector.process("proc8/reco/mdst", change),
        detector.process("proc7/reco/mdst"),
    )
    return compare_productions(one, other, CRITERIA, {}, branches=BRANCHES)


def lose_tracks(share):
    """Each track is lost with this probability: the skims that ask for two, or for three of several, keep fewer events."""
    tracks = np.arange(40)
    many = stats.poisson.pmf(tracks, 5)
    kept = stats.binom.sf(2, tracks, 1 - share) @ many / (stats.binom.sf(2, tracks, 1) @ many)
    factors = {"hlt_bhabha": (1 - share) ** 2, "hlt_mumu": (1 - share) ** 2, "hlt_hadron": kept}
    return lambda skim, rates: rates * factors.get(skim, 1)


def shift_cut(by):
    """The cut on an energy with an exponential spectrum, in units of its mean, moves in one skim."""
    return lambda skim, rates: rates * np.exp(-by) if skim == "hlt_gamma_gamma" else rates


def spoil_run(factor):
    """One run was made with a bad calibration: each skim that needs tracks keeps so much less of it."""

    def change(skim, rates):
        spoilt = rates.copy()
        if skim in ("hlt_bhabha", "hlt_mumu", "hlt_hadron"):
            spoilt[7] *= factor
        return spoilt

    return change


def spell(verdicts, toys):
    return ", ".join(
        f"{verdict} {round(100 * count / toys)} %" for verdict, count in sorted(verdicts.items())
    )


@pytest.mark.slow
def test_of_a_thousand_pairs_of_equal_productions_fewer_than_ten_fail():
    verdicts = Counter(compare(Detector(seed, read=LARGE)).verdict.value for seed in range(1000))
    assert verdicts["fail"] < 10
    assert verdicts["warn"] < 10
    assert verdicts["pass"] > 980
    assert f"| none, 1,000 pairs | {LARGE:,} | {spell(verdicts, 1000)} |" in PAGE


CHANGES = [
    ("2 % of all tracks lost", lose_tracks(0.02), LARGE, "retention", "fail"),
    ("1 % of all tracks lost", lose_tracks(0.01), LARGE, "retention", "warn"),
    ("2 % of all tracks lost", lose_tracks(0.02), SMALL, "retention", "fail"),
    ("a cut shifted by 5 % of the mean", shift_cut(0.05), LARGE, "retention", "fail"),
    ("a cut shifted by 1 % of the mean", shift_cut(0.01), LARGE, "retention", "warn"),
    ("one run loses 30 %", spoil_run(0.7), LARGE, "stability", "fail"),
    ("one run loses 30 %", spoil_run(0.7), SMALL, "stability", "fail"),
    ("one run loses 10 %", spoil_run(0.9), LARGE, "stability", "warn"),
]
"""What was changed, in productions of how large runs, the check that has to find it, and its verdict."""


@pytest.mark.parametrize(("what", "change", "read", "check", "verdict"), CHANGES)
def test_a_change_of_known_size_is_found_with_the_power_that_is_stated(what, change, read, check, verdict):
    toys = 50
    found = [compare(Detector(seed, read=read), change) for seed in range(toys)]
    verdicts = Counter(one.verdict.value for one in found)
    results = [result for one in found for result in one.results if result.check == check]
    worst = [result for result in results if result.verdict.value in ("fail", verdict)]
    told = f"| {what} | {read:,} | {spell(verdicts, toys)} | `{check}`: {verdict} in {2 * len(worst)} % |"
    assert told in PAGE, told
    assert len(worst) > 0.8 * toys
    assert "pass" not in verdicts
    if check == "stability":
        assert all(row["run"] == "3:507" for result in worst for row in result.rows)


def compare_events(detector, change=lambda _skim, rates: rates):
    """By the same criteria, of the same events: as independent samples, and event by event."""
    one, other, events = detector.process_twice(change)
    known = {"branches": BRANCHES}
    return (
        compare_productions(one, other, CRITERIA, {}, **known),
        compare_productions(one, other, CRITERIA, {}, **known, events=events),
    )


PAIRED = [
    ("none, 1,000 pairs", lambda _skim, rates: rates, 4_000, "retention", "fail", 1000),
    ("1 % of all tracks lost", lose_tracks(0.01), 2_000, "retention", "warn", 50),
    ("a cut shifted by 5 % of the mean", shift_cut(0.05), 2_000, "retention", "fail", 50),
    ("a cut shifted by 1 % of the mean", shift_cut(0.01), 2_000, "retention", "warn", 50),
    ("a cut shifted by 1 % of the mean", shift_cut(0.01), 20_000, "retention", "warn", 50),
    ("one run loses 10 %", spoil_run(0.9), 4_000, "run_retention", "warn", 50),
]
"""As `CHANGES`, of productions that read the same events, with the number of toys."""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "change", "read", "check", "verdict", "toys"), PAIRED)
def test_the_same_events_find_a_change_with_fewer_of_them(what, change, read, check, verdict, toys):
    found = [compare_events(Detector(seed, read=read), change) for seed in range(toys)]
    cells = []
    for side in zip(*found, strict=True):
        verdicts = [result.verdict.value for one in side for result in one.results if result.check == check]
        cells.append((spell(Counter(verdicts), toys), sum(one in ("fail", verdict) for one in verdicts)))
    (unpaired, some), (paired, most) = cells
    assert f"| {what} | {read:,} | {unpaired} | {paired} |" in PAGE, (unpaired, paired)
    if toys == 1000:
        assert most < 10
        assert all(one.verdict.value != "fail" for _, one in found)
    else:
        assert most > 0.8 * toys > some


@pytest.mark.parametrize(
    ("runs", "read"), [(3, LARGE), (40, 100), (40, 2000)], ids=["few runs", "few events", "some events"]
)
def test_too_little_is_never_a_pass(runs, read):
    verdicts = Counter(compare(Detector(seed, runs, read)).verdict.value for seed in range(50))
    assert verdicts["inconclusive"] >= 49
    assert verdicts["pass"] == 0
