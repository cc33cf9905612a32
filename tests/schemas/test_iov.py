"""IoVs: the algebra against sets of runs, the texts against the conventions of the conditions database."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.conditions.iov import (
    ALWAYS,
    NUMBER_LIMIT,
    Interval,
    make_interval,
    merge_intervals,
    parse_iov,
    subtract_all,
    touches_any,
)
from schemas.manifest.runs import run_key

EXPERIMENTS, RUNS = 4, 6
WORLD = [(exp, run) for exp in range(EXPERIMENTS + 1) for run in range(RUNS + 3)]
"""Every run that an IoV below can tell apart; experiment 4 and runs 7, 8 are beyond all numbers written."""

firsts = st.tuples(st.integers(0, EXPERIMENTS - 1), st.integers(0, RUNS))
finals = st.one_of(st.just((-1, -1)), st.tuples(st.integers(0, EXPERIMENTS - 1), st.integers(-1, RUNS)))


def holds(numbers, exp, run):
    """The conditions database's own rule for (exp, run), straight from the four numbers."""
    fe, fr, le, lr = numbers
    begun = fe < exp or (fe == exp and fr <= run)
    return begun and (le < 0 or le > exp or (le == exp and (lr < 0 or lr >= run)))


four = st.builds(lambda first, final: (*first, *final), firsts, finals).filter(
    lambda numbers: any(holds(numbers, *one) for one in WORLD)
)


def model(*intervals):
    return {one for one in WORLD if any(run_key(*one) in interval for interval in intervals)}


@given(four)
def test_an_interval_holds_for_the_runs_of_its_numbers(numbers):
    interval = make_interval(*numbers)
    assert model(interval) == {one for one in WORLD if holds(numbers, *one)}
    assert str(interval) == ",".join(map(str, numbers))
    assert parse_iov(str(interval)) == interval == parse_iov(interval.describe())


@given(st.lists(four, max_size=7), st.lists(four, max_size=3))
def test_many_intervals_are_as_their_sets_of_runs(several, others):
    found, taken = [make_interval(*n) for n in several], [make_interval(*n) for n in others]
    merged = merge_intervals(found)
    assert model(*merged) == model(*found)
    assert all(before.end < after.first for before, after in pairwise(merged))
    assert model(*subtract_all((ALWAYS,), found)) == set(WORLD) - model(*found)
    left = subtract_all(found, taken)
    assert model(*left) == model(*found) - model(*taken)
    assert all(before.end < after.first for before, after in pairwise(left))
    for interval in taken:
        assert touches_any(interval.first, interval.end, merged) == bool(model(interval) & model(*found))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("0,0,-1,-1", "always"),
        ("3,0,3,-1", "exp 3"),
        ("3,5,3,5", "exp 3, run 5"),
        ("3,5,3,-1", "exp 3, runs 5+"),
        ("3,5,3,9", "exp 3, runs 5 - 9"),
        ("3,5,-1,-1", "exp 3, run 5 - forever"),
        ("3,0,-1,-1", "exp 3 - forever"),
        ("3,0,5,-1", "exp 3-5, all runs"),
        ("3,5,4,7", "exp 3, run 5 - exp 4, run 7"),
        ("3,5,4,-1", "exp 3, run 5 - exp 4, all runs"),
    ],
)
def test_readable_forms(numbers, words):
    assert parse_iov(numbers).describe() == words
    assert str(parse_iov(words)) == numbers


@given(firsts, st.integers(-9, -1), st.integers(-9, -1))
def test_every_end_below_0_is_unlimited_and_is_written_as_minus_1(first, experiment, run):
    assert str(make_interval(*first, experiment, run)) == f"{first[0]},{first[1]},-1,-1"
    assert str(make_interval(*first, first[0], run)) == f"{first[0]},{first[1]},{first[0]},-1"


@pytest.mark.parametrize("text", ["3,0,-2,-2", "3,0,-1,-3", " 3, 0, -3, -1 ", "exp 3 - forever"])
def test_what_has_no_end_is_the_same_however_it_is_written(text):
    assert parse_iov(text) == make_interval(3, 0, -1, -1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3,5,3,4", "ends before it begins"),
        ("4,0,3,-1", "ends before it begins"),
        ("-1,0,3,-1", "begins at a negative"),
        ("3,-1,3,-1", "begins at a negative"),
        ("3,0,-1,5", "of no experiment"),
        ("3,0,-2,5", "of no experiment"),
        (f"3,0,{NUMBER_LIMIT + 1},-1", "beyond"),
        ("3,5,3", "not an IoV"),
        ("3:5", "not an IoV"),
        ("exp 3, runs 9 - 5", "ends before it begins"),
        ("exp 3-5", "not an IoV"),
        ("٣,0,3,-1", "not an IoV"),
        ("9" * 5000 + ",0,-1,-1", "not an IoV"),
        ("", "not an IoV"),
    ],
)
def test_what_is_no_iov_is_refused_with_a_reason(text, says):
    with pytest.raises(ValueError, match=says):
        parse_iov(text)


def test_an_interval_without_a_run_is_refused():
    with pytest.raises(ValueError, match="no run"):
        Interval(5, 5)
