"""The tests of two rates of the same events: McNemar's, as scipy computes it, and the interval that goes with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconciler.validation.event_pairs import deduce_alone
from reconciler.validation.paired_statistics import bound_paired_difference, measure_paired_significance
from reconciler.validation.statistics import Rates, bound_difference, measure_significance

NUMBERS = st.integers(0, 3000)
TABLES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).filter(any)
"""Events kept by both, by the new side alone, by the reference alone, and by none."""


def read_table(table):
    both, one, other, neither = (np.array([number]) for number in table)
    read = both + one + other + neither
    return Rates(both + one, read), Rates(both + other, read), np.array([one, other])


def turn(table):
    both, one, other, neither = table
    return both, other, one, neither


@given(TABLES)
def test_the_p_value_is_that_of_scipy(table):
    _, one, other, _ = table
    (p,) = measure_paired_significance(np.array([[one], [other]]))
    expected = stats.binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert p == pytest.approx(expected, rel=1e-9)


@given(TABLES)
def test_pairs_that_are_exchanged_have_the_same_p_value_and_the_opposite_interval(table):
    here, there = read_table(table), read_table(turn(table))
    assert measure_paired_significance(here[2]) == measure_paired_significance(there[2])
    low, high = bound_paired_difference(*here, 0.05)
    other_low, other_high = bound_paired_difference(*there, 0.05)
    assert low == pytest.approx(-other_high)
    assert high == pytest.approx(-other_low)
    assert low <= here[0].rate - here[1].rate + 1e-12
    assert high >= here[0].rate - here[1].rate - 1e-12


@given(TABLES)
def test_pairs_agree_with_independent_samples_on_the_direction_and_are_sharper_where_both_keep_the_same(
    table,
):
    one, other, alone = read_table(table)
    low, high = bound_paired_difference(one, other, alone, 0.05)
    wide_low, wide_high = bound_difference(one, other, 0.05)
    both, only_one, only_other, neither = table
    if both * neither > only_one * only_other:
        assert low >= wide_low - 1e-12
        assert high <= wide_high + 1e-12
    if wide_low > 0 and both * neither > only_one * only_other:
        assert low > 0
    if high < 0:
        assert one.rate < other.rate


def test_a_few_events_that_only_one_side_kept_are_seen_by_pairs_alone():
    one, other, alone = read_table((10_000, 10, 60, 90_000))
    assert measure_paired_significance(alone)[0] < 1e-8
    assert measure_significance(one, other)[0] > 0.5


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    chance = np.random.default_rng(7)
    tables = chance.multinomial(2000, [0.08, 0.002, 0.006, 0.912], size=4000).T
    both, one, other, _ = tables
    read = tables.sum(axis=0)
    low, high = bound_paired_difference(
        Rates(both + one, read), Rates(both + other, read), np.array([one, other]), 0.05
    )
    covered = np.mean((low <= -0.004) & (high >= -0.004))
    assert 0.93 < covered < 0.98


def test_no_events_of_either_side_alone_say_nothing_against_equal_rates():
    for table in ((0, 0, 0, 10), (10, 0, 0, 0), (5, 0, 0, 5)):
        one, other, alone = read_table(table)
        assert measure_paired_significance(alone)[0] == 1.0
        low, high = bound_paired_difference(one, other, alone, 0.05)
        assert low <= 0 <= high
        assert high < 0.5


@given(TABLES)
def test_what_the_numbers_tell_of_the_events_is_what_they_are(table):
    both, one, other, neither = table
    found = deduce_alone((both + one, both + other), both + one + other + neither)
    assert found in (None, (one, other))
    told = not (both + one) or not (both + other) or not (other + neither) or not (one + neither)
    assert (found is not None) == told
