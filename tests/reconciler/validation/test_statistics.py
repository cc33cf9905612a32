"""The tests of a comparison, against published numbers and against what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.validation.statistics import (
    Rates,
    bound_difference,
    find_discoveries,
    measure_significance,
    measure_stability,
)

counts = st.integers(1, 5000).flatmap(lambda read: st.tuples(st.integers(0, read), st.just(read)))


def rates(*pairs):
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Rates(columns[:, 0], columns[:, 1])


NEWCOMBE = [
    ((56, 70), (48, 80), (0.0524, 0.3339)),
    ((9, 10), (3, 10), (0.1705, 0.8090)),
    ((6, 7), (2, 7), (0.0582, 0.8062)),
    ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ((0, 10), (0, 10), (-0.2775, 0.2775)),
    ((10, 10), (0, 20), (0.6791, 1.0000)),
    ((10, 10), (0, 10), (0.6075, 1.0000)),
]
"""Table II of Stat. Med. 17 (1998) 873, method 10."""


@pytest.mark.parametrize(("one", "other", "interval"), NEWCOMBE)
def test_intervals_are_those_that_newcombe_published(one, other, interval):
    low, high = bound_difference(rates(one), rates(other), 0.05)
    assert (low[0], high[0]) == (pytest.approx(interval[0], abs=6e-5), pytest.approx(interval[1], abs=6e-5))


@given(counts, counts)
def test_the_interval_at_the_level_of_the_significance_ends_at_zero(one, other):
    (significance,) = measure_significance(rates(one), rates(other))
    if one[0] * other[1] == other[0] * one[1]:
        assert significance == 1
    elif significance > 1e-200:
        low, high = bound_difference(rates(one), rates(other), significance)
        assert min(abs(low[0]), abs(high[0])) == pytest.approx(0, abs=1e-6)
        assert low[0] <= 1e-6
        assert high[0] >= -1e-6


@given(counts, counts)
def test_which_side_is_first_changes_only_the_sign(one, other):
    assert measure_significance(rates(one), rates(other)) == measure_significance(rates(other), rates(one))
    low, high = bound_difference(rates(one), rates(other), 0.01)
    down, up = bound_difference(rates(other), rates(one), 0.01)
    assert (low[0], high[0]) == (pytest.approx(-up[0]), pytest.approx(-down[0]))


@pytest.mark.parametrize(("read", "rate"), [(200, 0.05), (200, 0.5), (20_000, 0.002), (20_000, 0.3)])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_equal_rates_are_called_different_at_most_as_often_as_stated(read, rate, level):
    chance = np.random.default_rng(1)
    one, other = (Rates(chance.binomial(read, rate, 10_000), np.full(10_000, read)) for _ in range(2))
    assert level / 2 < np.mean(measure_significance(one, other) <= level) < level * 1.15


def test_discoveries_are_those_of_benjamini_and_hochberg():
    found = find_discoveries(np.array([0.001, 0.0179, 0.9, 0.015, 0.03]), 0.03)
    assert found.tolist() == [True, True, False, True, False]  # up to the third of 0.006, 0.012, 0.018, …
    assert find_discoveries(np.zeros(0), 0.05).size == 0


def test_one_run_of_many_stands_out_and_does_not_move_the_others():
    one, other = (rates(*[(3000, 10_000)] * 20) for _ in range(2))
    one.kept[4] = 2000
    found = measure_stability(one, other)
    assert np.flatnonzero(found.change).tolist() == [4]
    assert found.change[4] == pytest.approx(-1 / 3)
    assert found.significance[4] < 1e-20
    assert (found.significance[np.arange(20) != 4] == 1).all()
    assert found.dispersion == 0


def test_what_moves_all_runs_together_lets_none_stand_out():
    one, other = rates(*[(2700, 10_000)] * 20), rates(*[(3000, 10_000)] * 20)
    assert (measure_stability(one, other).significance > 0.999).all()


def test_where_all_runs_spread_a_run_must_spread_more():
    chance = np.random.default_rng(2)
    read = np.full(200, 50_000)
    other = Rates(chance.binomial(read, 0.2), read)
    one = Rates(chance.binomial(read, 0.2 * chance.normal(1, 0.1, 200)), read)
    found = measure_stability(one, other)
    assert found.dispersion == pytest.approx(
        0.1**2 / 4, rel=0.35
    )  # a share of a half, moved by a quarter of the change
    assert np.median(np.abs(found.pull)) == pytest.approx(0.6745, rel=0.01)
    assert not find_discoveries(found.significance, 0.001).any()


@pytest.mark.parametrize("vanished", [0, 1])
def test_a_skim_that_one_side_lost_stands_out_where_it_is_still_there(vanished):
    sides = [rates(*[(300, 1000)] * 5), rates(*[(0, 1000)] * 4, (300, 1000))]
    found = measure_stability(sides[1 - vanished], sides[vanished])
    assert np.isfinite(found.pull[:4]).all()
    assert (found.significance[:4] > 0.999).all()
    assert found.significance[4] < 1e-6
