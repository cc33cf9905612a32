"""Run ranges and their texts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest.runs import (
    fold_runs,
    format_run,
    format_runs,
    gather_runs,
    list_experiments,
    parse_ranges,
    parse_runs,
    run_key,
    split_key,
)

keys = st.builds(run_key, st.integers(0, 40), st.integers(0, 60))


@given(st.lists(keys, unique=True).map(sorted))
def test_format_and_parse_are_inverse(runs):
    assert tuple(parse_runs(format_runs(runs))) == tuple(runs)


@given(keys, keys)
def test_keys_sort_as_experiment_and_run_do(a, b):
    assert (a < b) == (split_key(a) < split_key(b))


@given(
    (st.sets(st.integers(0, 60)) | st.sets(st.integers(0, 200), min_size=50)).map(sorted),
    st.sampled_from([list, tuple, iter]),
)
def test_ranges_are_the_longest_of_consecutive_numbers(numbers, form):
    found = [(one.first, one.last) for one in fold_runs(form(numbers))]
    assert [number for first, last in found for number in range(first, last + 1)] == numbers
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))


@given(st.lists(keys, unique=True).map(sorted))
def test_experiments_are_those_of_the_runs(runs):
    assert list_experiments(runs) == sorted({split_key(run)[0] for run in runs})


def test_a_run_is_written_as_people_write_it():
    assert format_run(run_key(3, 529)) == "3:529"


def test_a_long_list_is_cut_and_counted():
    runs = [run_key(3, 2 * number) for number in range(100)]
    assert format_runs(runs, most=2) == "3:0,2 and 98 more"


def test_ranges_include_both_ends():
    (found,), problems = parse_ranges("529-613")
    assert (found.first, found.last, len(found)) == (529, 613, 85)
    assert not problems


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("613-529", "BP401", 0),
        ("1, 613-529", "BP401", 3),
        ("529–613", "BP402", 0),
        ("529..613", "BP402", 0),
        ("529-", "BP402", 0),
        ("3:529", "BP402", 0),
        ("0529", "BP402", 0),
        ("529,,530", "BP402", 4),
        ("", "BP402", 0),
        ("٥٢٩", "BP402", 0),
        ("100000000", "BP403", 0),
        ("1" * 5000, "BP403", 0),
        ("529-613, 600", "BP404", 9),
        ("600, 529-613", "BP404", 0),
    ],
)
def test_what_is_no_range_is_said_with_its_place(text, code, column):
    _, problems = parse_ranges(text)
    assert [(problem.code, problem.column) for problem in problems] == [(code, column)]


def test_a_billion_runs_cost_nothing_to_refuse():
    with pytest.raises(ValueError, match="at most 10,000,000"):
        parse_runs("3:0-99999999")


@given(st.sets(keys), st.sets(keys))
def test_a_set_of_runs_is_what_python_says_of_one(some, others):
    found = gather_runs(sorted(some))
    assert list(found) == sorted(some)
    assert len(found) == len(some)
    assert bool(found) == bool(some)
    assert {key for key in some | others if key in found} == some
    assert set(found.subtract(gather_runs(sorted(others)).intervals)) == some - others
    assert found.subtract(gather_runs(sorted(others)).intervals) == gather_runs(sorted(some - others))
    assert parse_runs(format_runs(found)) == found


@pytest.mark.parametrize("text", ["3:5,5", "3:1-9 3:9", "3:1-9 3:1-20", "3 5", "x:5", "٣:5"])
def test_a_text_that_is_no_set_is_refused(text):
    with pytest.raises(ValueError, match=r"twice|is not a list|at most"):
        parse_runs(text)


def test_what_is_left_out_of_a_list_is_counted_in_runs():
    keys = [run_key(3, run) for run in (*range(1, 6), 8, *range(10, 20))]
    assert format_runs(keys, 2) == "3:1-5,8 and 10 more"


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_what_is_chosen_of_sorted_runs_is_what_is_in_the_set(some, runs):
    ordered = sorted(some)
    assert gather_runs(sorted(runs)).choose(ordered) == [run for run in ordered if run in runs]
