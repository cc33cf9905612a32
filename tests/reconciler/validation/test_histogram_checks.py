"""The tests of two histograms, and what the checks conclude from them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ci.reports.comparison import format_comparison, format_comparison_markdown
from reconciler.validation.comparison import compare_productions
from reconciler.validation.histogram_checks import check_histograms, check_run_histograms
from reconciler.validation.histogram_contents import (
    Histogram,
    RunHistograms,
    pair_histograms,
    parse_histograms,
)
from reconciler.validation.histogram_statistics import compare_means, compare_shapes, merge_bins
from schemas.json_schema.values import read_value
from schemas.manifest.runs import run_key
from schemas.policy.validation import Checks, Validation, WarnAndFail
from schemas.skims.quantity import Bins
from tests.support.inputs.toy_histograms import (
    QUANTITIES,
    keep,
    lose_region,
    lose_tracks,
    make_runs,
    pair_toys,
)
from tests.support.inputs.toy_productions import Detector

SIZES = {"difference": {"warn": 0.01, "fail": 0.05}, "shift": {"warn": 0.01, "fail": 0.03}}
STATED = {
    "histograms": {"p": {"warn": 1e-3, "fail": 1e-5}, **SIZES, "min_runs": 10, "min_entries": 1000},
    "run_histograms": {"level": 1e-3, **SIZES, "min_runs": 10, "min_entries": 1000},
}
CHECKS = read_value(Checks, STATED)
NAMES = ("proc8/reco/mdst", "proc7/reco/mdst")
KEYS = [run_key(3, 500 + number) for number in range(20)]
COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=40)


def entries(*counts):
    return np.array(counts, dtype=np.int64)


def pair(one, other):
    return pair_histograms(zip(KEYS, one, other, strict=True), QUANTITIES, NAMES)


def toys(events=20_000, change=keep, seed=1):
    return make_runs(np.random.default_rng(seed), events, len(KEYS), change)


def check(found, **p):
    result = check_histograms(found, CHECKS.histograms, p)
    return result, {row["quantity"]: row for row in result.rows}


@given(COUNTS, st.integers(1, 100))
def test_merged_bins_have_enough_entries_and_lose_none(counts, least):
    together = entries(*counts)
    begins = merge_bins(together, least)
    merged = np.add.reduceat(together, begins)
    assert merged.sum() == together.sum()
    assert begins[0] == 0
    assert (np.diff(begins) > 0).all()
    if begins.size > 1:
        assert merged.min() >= least
    # of each merged bin but the last, the last part was needed
    for begin, end in pairwise(begins):
        assert together[begin : end - 1].sum() < least


@given(st.lists(st.tuples(st.integers(20, 5000), st.integers(20, 5000)), min_size=2, max_size=30))
def test_the_shape_is_tested_as_a_contingency_table_is(pairs):
    one, other = (entries(*column) for column in zip(*pairs, strict=True))
    begins = merge_bins(one + other, 10 * (one + other).sum() / min(one.sum(), other.sum()))
    found = compare_shapes(one, other)
    assert found.freedom == begins.size - 1
    if found.freedom:
        expected = stats.chi2_contingency(
            [np.add.reduceat(one, begins), np.add.reduceat(other, begins)], correction=False
        )
        assert found.squared == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)


@given(COUNTS.filter(any), COUNTS.filter(any), st.integers(1, 5))
def test_neither_side_nor_the_number_of_entries_makes_a_difference(one, other, factor):
    size = max(len(one), len(other))
    here, there = (entries(*side, *[0] * (size - len(side))) for side in (one, other))
    assert compare_shapes(here, there).squared == pytest.approx(compare_shapes(there, here).squared)
    assert compare_shapes(here, factor * here).squared == pytest.approx(0, abs=1e-6)
    assert compare_shapes(here, factor * here).difference == 0


def test_the_difference_is_that_of_the_contents_of_bins_and_has_no_chance_in_it():
    here = entries(0, *[1_100_000] * 5, *[900_000] * 5, 0)
    there = entries(0, *[1_000_000] * 10, 0)
    assert compare_shapes(here, there).difference == pytest.approx(0.1, rel=0.01)
    chance = np.random.default_rng(1)
    found = [
        compare_shapes(chance.poisson(1000, 50), chance.poisson(1000, 50)).difference for _ in range(200)
    ]
    assert np.median(found) < 0.01  # a single bin differs by 4 %


def test_p_values_of_equal_histograms_are_flat():
    chance = np.random.default_rng(2)
    shapes, means = [], []
    for _ in range(1000):
        one, other = (chance.poisson(np.linspace(0, mean, 32)).astype(np.int64) for mean in (50, 150))
        shapes.append(compare_shapes(one, other).p)
        means.append(compare_means(one, other, Bins(30, 0, 1)).p)
    assert stats.kstest(shapes, "uniform").pvalue > 0.001
    assert stats.kstest(means, "uniform").pvalue > 0.001


def test_the_shift_of_the_mean_is_in_units_of_the_rms_of_the_reference():
    one, other = entries(0, 0, 500, 500, 0), entries(0, 500, 500, 0, 0)
    found = compare_means(one, other, Bins(3, 0, 3))
    assert (found.one, found.other) == (2, 1)
    assert found.shift == pytest.approx(1 / np.sqrt(0.25 + 1 / 12))
    assert found.p < 1e-9


def test_all_entries_in_one_bin_have_a_finite_shift():
    found = compare_means(entries(0, 9, 0, 0), entries(0, 0, 9, 0), Bins(2, 0, 2))
    assert found.shift == pytest.approx(-np.sqrt(12))


def test_the_same_against_itself_passes():
    result, rows = check(pair(toys(), toys()))
    assert result.verdict == "pass"
    assert {row["difference"] for row in rows.values()} == {0}
    assert check_run_histograms(pair(toys(), toys()), CHECKS.run_histograms).verdict == "pass"


def test_with_a_hundred_million_entries_a_significant_trifle_passes_and_a_large_change_fails():
    found, rows = check(pair_toys(1, 10_000_000, change=lose_tracks(0.0005)))
    assert rows["tracks"]["p_mean"] < 1e-9
    assert found.verdict == "pass"
    assert check(pair_toys(1, 10_000_000, change=lose_tracks(0.02)))[1]["tracks"]["verdict"] == "fail"


def test_a_large_change_of_few_entries_is_no_fail_and_no_pass():
    result, rows = check(pair_toys(1, 30, change=lose_tracks(0.05)))
    assert result.verdict == "inconclusive"
    assert rows["tracks"]["reason"] == "too few entries"


def test_a_quantity_has_p_values_of_its_own():
    found = pair_toys(1, 3000, change=lose_tracks(0.02))
    assert check(found)[1]["tracks"]["verdict"] == "fail"
    assert check(found, tracks=WarnAndFail(1e-15, 1e-40))[1]["tracks"]["verdict"] == "warn"


def spoil(runs, place, **changed):
    return [replace(one, **changed) if number == place else one for number, one in enumerate(runs)]


def test_a_run_of_which_a_file_is_not_known_is_left_out_told_and_inconclusive():
    found = pair(spoil(toys(), 3, unknown="the file is gone"), toys())
    result, rows = check(found)
    assert result.verdict == "inconclusive"
    assert "left out: proc8/reco/mdst: the file is gone in 1 run (3:503)" in result.reason
    assert {row["runs"] for row in rows.values()} == {19}
    result = check_run_histograms(found, CHECKS.run_histograms)
    assert result.verdict == "inconclusive"
    assert "the file is gone in 1 run (3:503)" in result.reason


def test_a_fail_stays_one_where_something_else_is_not_known():
    found = pair(spoil(toys(change=lose_tracks(0.02)), 3, unknown="the file is gone"), toys())
    assert check(found)[0].verdict == "fail"


def test_a_quantity_that_is_missing_or_made_otherwise_is_inconclusive_with_the_reason():
    other = toys()
    changed = dict(other[0].found)
    del changed["phi"]
    changed["tracks"] = Histogram(
        {**changed["tracks"].definition, "bins": [15, 0.0, 30.0]}, np.zeros(17, int)
    )
    _, rows = check(pair(toys(), spoil(other, 0, found=changed)))
    expected = "proc7/reco/mdst: it has no such histogram in 1 run (3:500)"
    assert (rows["phi"]["verdict"], rows["phi"]["reason"]) == ("inconclusive", expected)
    assert rows["tracks"]["reason"] == (
        "proc7/reco/mdst: made with other `bins` than the criteria's in 1 run (3:500)"
    )
    assert rows["energy"]["verdict"] == "pass"


def empty(runs):
    zeros = {one.name: Histogram(one.describe(), np.zeros(one.bins.number + 2, int)) for one in QUANTITIES}
    return [replace(one, found=zeros) for one in runs]


def test_no_entries_on_one_side_fail_where_there_were_events_and_are_else_inconclusive():
    result, rows = check(pair(empty(toys()), toys()))
    assert {(row["verdict"], row["reason"]) for row in rows.values()} == {("fail", "no entries on one side")}
    runs = check_run_histograms(
        pair(spoil(toys(), 2, found=empty(toys())[2].found), toys()), CHECKS.run_histograms
    )
    assert {(row["run"], row["reason"]) for row in runs.rows} == {("3:502", "no entries on one side")}
    nothing = [replace(one, events=0) for one in empty(toys())]
    assert check(pair(nothing, toys()))[0].verdict == "inconclusive"
    result, rows = check(pair(empty(toys()), empty(toys())))
    assert result.verdict == "inconclusive"
    assert rows["tracks"]["reason"] == "no entries on either side"


def test_entries_outside_of_the_bins_are_compared_and_told():
    moved = [
        replace(one, found={name: Histogram(h.definition, move(h.entries)) for name, h in one.found.items()})
        for one in toys()
    ]
    _, rows = check(pair(moved, toys()))
    assert rows["energy"]["outside"] > 0.07
    assert rows["energy"]["against"]["outside"] < 0.001
    assert rows["energy"]["verdict"] == "fail"


def move(contents):
    """The entries of the first bin are below it."""
    return np.concatenate([contents[:1] + contents[1:2], [0], contents[2:]])


def test_what_moves_all_runs_together_lets_none_stand_out_and_one_run_alone_does():
    everywhere = pair_toys(1, 20_000, change=lose_tracks(0.05))
    assert check(everywhere)[0].verdict == "fail"
    assert check_run_histograms(everywhere, CHECKS.run_histograms).rows == ()
    one = spoil(toys(), 7, found=toys(change=lose_tracks(0.05))[7].found)
    result = check_run_histograms(pair(one, toys(seed=2)), CHECKS.run_histograms)
    assert result.verdict == "fail"
    assert {row["run"] for row in result.rows} == {"3:507"}
    assert "most often 3:507" in result.reason


def test_histograms_are_read_only_from_what_is_one():
    good = {"schema": "histograms/1", "experiment": 3, "run": 5, "events": 9, "quantities": {}}
    one = {"bins": [2, 0.0, 1.0], "below": 0, "counts": [1, 2], "above": 0}
    read = parse_histograms({**good, "quantities": {"a": one}}, 3, 5)
    assert (read.events, read.found["a"].entries.tolist()) == (9, [0, 1, 2, 0])
    assert read.found["a"].definition == {"bins": [2, 0.0, 1.0]}
    assert read.flagged is None
    assert parse_histograms({**good, "error_flagged": 0}, 3, 5).flagged == 0
    for wrong in (
        [],
        None,
        {**good, "run": 6},
        {**good, "schema": "histograms/2"},
        {**good, "events": -1},
        {**good, "error_flagged": 10},
        {**good, "error_flagged": True},
        {**good, "error_flagged": "none"},
        {**good, "quantities": {"a": {**one, "counts": [1]}}},
        {**good, "quantities": {"a": {**one, "counts": [1, -2]}}},
        {**good, "quantities": {"a": {**one, "counts": [1, 2.5]}}},
        {**good, "quantities": {"a": {**one, "counts": [1, True]}}},
        {**good, "quantities": {"a": {**one, "counts": [1, 2**60]}}},
        {**good, "quantities": {"a": {"bins": []}}},
        {**good, "quantities": 5},
    ):
        with pytest.raises(ValueError, match=r"^its? "):
            parse_histograms(wrong, 3, 5)


def compare(change=keep, seed=1):
    detector = Detector(1, len(KEYS), 20_000)
    validation = Validation(
        "tracking", "Tracks", CHECKS, STATED, QUANTITIES, {"phi": WarnAndFail(1e-4, 1e-6)}
    )
    sides = detector.process(NAMES[0]), detector.process(NAMES[1])
    return compare_productions(*sides, validation, {}, pair_toys(seed, 20_000, change=change))


def test_the_comparison_has_the_quantities_and_what_was_read_and_is_the_same_every_time():
    found = compare(lose_tracks(0.02))
    told = json.loads(found.content)
    assert compare(lose_tracks(0.02)).content == found.content
    assert told["validation"]["quantities"]["phi"]["p"] == {"warn": 1e-4, "fail": 1e-6}
    assert told["compared"]["histograms"] != told["against"]["histograms"]
    assert told["verdict"] == "fail"


def test_tables_have_titles_and_leave_out_what_is_for_experts_where_that_is_wished():
    found = compare(lose_tracks(0.02))
    told = json.loads(found.content)
    text = format_comparison(told, found.digest)
    assert re.search(r"^  tracks +\w+ +Tracks per event", text, re.MULTILINE)
    begin = text.index("\nhistograms:")
    assert max(len(line) for line in text[begin:].splitlines() if line.startswith("  ")) <= 100
    assert "Azimuth of tracks" in text
    few = format_comparison(told, found.digest, "shifter")
    assert "Azimuth of tracks" not in few
    assert "Tracks per event" in few
    assert "| tracks | Tracks per event |" in format_comparison_markdown(told, found.digest)


def test_a_long_table_is_folded_in_markdown():
    found = compare(lose_tracks(0.02))
    told = json.loads(found.content)
    (result, *_) = told["results"]
    assert "<summary>histograms</summary>" not in format_comparison_markdown(told, found.digest)
    result["rows"] *= 5
    assert "<summary>histograms</summary>" in format_comparison_markdown(told, found.digest)


def test_a_run_that_was_not_read_is_no_histogram_of_nothing():
    assert RunHistograms(unknown="the file is gone").found == {}
    result, _ = check(pair([RunHistograms(unknown="the file is gone")] * 20, toys()))
    assert result.verdict == "inconclusive"


def test_histograms_that_nobody_read_are_inconclusive_and_not_left_out():
    detector = Detector(1, len(KEYS), 20_000)
    validation = Validation("tracking", "Tracks", CHECKS, STATED, QUANTITIES)
    found = compare_productions(detector.process(NAMES[0]), detector.process(NAMES[1]), validation, {})
    assert {result.check: result.verdict.value for result in found.results} == {
        "histograms": "inconclusive",
        "run_histograms": "inconclusive",
    }


def test_the_difference_of_a_run_does_not_depend_on_how_many_billions_of_entries_it_has():
    found = []
    for events in (10**6, 10**9):
        spoilt = toys(events, change=lose_region(0.5, 8))[7].found
        result = check_run_histograms(
            pair(spoil(toys(events), 7, found=spoilt), toys(events, seed=2)), CHECKS.run_histograms
        )
        (row,) = result.rows
        assert (row["quantity"], row["run"]) == ("phi", "3:507")
        found.append(row["difference"])
    assert found[0] == pytest.approx(found[1], rel=0.01)
