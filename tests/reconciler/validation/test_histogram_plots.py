"""Plots of a comparison: which there are, in which order, and that odd histograms are drawn too."""

from __future__ import annotations

import numpy as np
import pytest

from ci.reports.comparison_plots import draw_comparison
from reconciler.validation.comparison import compare_productions
from reconciler.validation.histogram_contents import Histogram, RunHistograms, pair_histograms
from schemas.json_schema.values import read_value
from schemas.policy.validation import Checks, Validation
from schemas.skims.quantity import OBJECT, Bins, Quantity
from tests.support.inputs.toy_histograms import QUANTITIES, lose_tracks, pair_toys
from tests.support.inputs.toy_productions import Detector

STATED = {
    "histograms": {
        "p": {"warn": 1e-3, "fail": 1e-5},
        "difference": {"warn": 0.01, "fail": 0.05},
        "shift": {"warn": 0.01, "fail": 0.03},
        "min_runs": 1,
        "min_entries": 10,
    },
    "retention": {"level": 0.001, "warn": 0.02, "fail": 0.1, "min_runs": 10, "min_events": 100},
}


def compare(stated, histograms, quantities=QUANTITIES, runs=20):
    detector = Detector(1, runs, 20_000)
    validation = Validation("tracking", "Tracks", read_value(Checks, stated), stated, quantities)
    sides = detector.process("proc8/reco/mdst"), detector.process("proc7/reco/mdst")
    return compare_productions(*sides, validation, {}, histograms)


@pytest.mark.slow
def test_the_worst_come_first_and_what_is_for_experts_may_be_left_out(tmp_path):
    found = compare(STATED, pair_toys(1, 20_000, change=lose_tracks(0.02)))
    names = draw_comparison(found, tmp_path / "all")
    assert names[0] == "01-fail-tracks"
    assert sorted(name[3:] for name in names[1:3]) == ["pass-energy", "pass-phi"]
    assert {name.partition("-pass-")[2] for name in names[3:]} == {
        f"retention-{skim}" for skim in ("all", "hlt_bhabha", "hlt_gamma_gamma", "hlt_hadron", "hlt_mumu")
    }
    written = sorted(file.name for file in (tmp_path / "all").iterdir())
    assert written == sorted(f"{name}.{ending}" for name in names for ending in ("png", "svg"))
    few = draw_comparison(found, tmp_path / "few", "shifter")
    assert [name.partition("-")[2] for name in few] == [
        name.partition("-")[2] for name in names if not name.endswith("phi")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0, 5, 0, 0], [0, 0, 7, 0]),
        ([1, 1, 0, 0], [0, 1, 0, 9]),
        ([0, 10**15, 1, 0], [0, 1, 10**15, 0]),
        ([0, 3, 3, 0], [0, 3, 3, 0]),
    ],
    ids=["nothing in common", "one entry", "steep", "equal"],
)
def test_odd_histograms_and_titles_are_drawn(tmp_path, one, other):
    odd = Quantity("odd", Bins(2, -1, 1), OBJECT, count="odd", title="a $ and a \\ and ∞", shown_to="shifter")
    sides = (
        RunHistograms(9, {"odd": Histogram(odd.describe(), np.array(side, dtype=np.int64))})
        for side in (one, other)
    )
    found = pair_histograms([(Detector(1, 1).keys[0], *sides)], [odd], ("a", "b"))
    stated = {"histograms": STATED["histograms"]}
    names = draw_comparison(compare(stated, found, (odd,), runs=1), tmp_path)
    assert sum(name.endswith("-odd") for name in names) == 1


def test_what_has_no_entry_on_one_side_has_no_plot(tmp_path):
    odd = Quantity("odd", Bins(2, -1, 1), OBJECT, count="odd")
    sides = (
        RunHistograms(9, {"odd": Histogram(odd.describe(), np.array(side, dtype=np.int64))})
        for side in ([0, 0, 0, 0], [0, 5, 0, 0])
    )
    found = pair_histograms([(Detector(1, 1).keys[0], *sides)], [odd], ("a", "b"))
    stated = {"histograms": STATED["histograms"]}
    assert not any(
        "odd" in name for name in draw_comparison(compare(stated, found, (odd,), runs=1), tmp_path)
    )
