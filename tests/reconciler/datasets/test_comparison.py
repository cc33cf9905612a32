"""Two datasets are compared as values: runs, reasons, events and bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.datasets.comparison import ADOPTED, DatasetValue, compare_datasets
from reconciler.datasets.contents import RunContent

ONE = RunContent(1, "aa", 2, 100, 10, "proc7/reco/mdst", 1, 1, "i1", "c1")
RECIPES = {
    1: {"release": "release-03-00-00", "application": "basf2", "output": {"level": "mdst", "cut": "a > 1"}},
    2: {"release": "release-03-00-01", "application": "basf2", "output": {"level": "mdst", "cut": "a > 1"}},
    3: {"release": "release-03-00-00", "application": "basf2", "output": {"level": "mdst", "cut": "a > 2"}},
}
PAYLOADS = {"c1": {"CDCTimeZeros": "1", "BeamSpot": "1"}, "c2": {"CDCTimeZeros": "2", "BeamSpot": "1"}}


def value(*contents):
    return DatasetValue("proc7/reco/mdst", {one.run: one for one in contents}, RECIPES, PAYLOADS)


REGISTERED = {"version": None, "recipe": None, "input": None, "conditions": None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe": 2}, "release changed: release-03-00-00 -> release-03-00-01"),
        ({"recipe": 3}, "cut changed: a > 1 -> a > 2"),
        ({"conditions": "c2"}, "payload CDCTimeZeros changed"),
        ({"conditions": "c3"}, "payloads changed"),
        ({"conditions": None}, "payloads changed"),
        ({"input": "i2"}, "made from another input"),
        (
            {"recipe": 3, "conditions": "c2", "input": "i2"},
            "cut changed: a > 1 -> a > 2; payload CDCTimeZeros changed; made from another input",
        ),
        (REGISTERED, ADOPTED),
    ],
)
def test_the_reason_is_what_was_different(changes, reason):
    other = replace(ONE, identity="bb", events=12, bytes=90, **changes)
    (changed,) = compare_datasets(value(ONE), value(other)).changed
    assert (changed.reason, changed.runs) == (reason, (1,))
    assert (changed.before.events, changed.after.events) == (10, 12)
    assert (changed.before.bytes, changed.after.bytes) == (100, 90)


def test_registered_files_differ_by_their_digest():
    old, new = (replace(ONE, identity=digest, **REGISTERED) for digest in ("aa", "bb"))
    assert [one.reason for one in compare_datasets(value(old), value(new)).changed] == [
        "other files are registered"
    ]


def test_runs_are_those_of_one_of_the_other_and_of_both():
    two, three, four = (replace(ONE, run=run) for run in (2, 3, 4))
    found = compare_datasets(value(ONE, two, three), value(two, replace(three, events=11), four))
    assert (found.removed, found.added, found.same, found.recounted) == ((1,), (4,), 2, (3,))
    assert not found.changed
    assert (found.before.runs, found.before.files, found.before.events) == (3, 6, 30)
    assert compare_datasets(value(ONE, two), value(two, ONE)).is_empty
    assert not found.is_empty


def test_events_that_were_not_counted_are_no_difference_and_are_told():
    unknown = replace(ONE, events=None)
    found = compare_datasets(value(ONE), value(unknown))
    assert found.is_empty
    assert (found.after.events, found.after.uncounted) == (0, 1)


def test_runs_that_differ_for_one_reason_are_told_together():
    before = [replace(ONE, run=run, identity=f"a{run}", input=f"i{run}") for run in range(1, 9)]
    after = [replace(one, identity=f"b{one.run}", recipe=3 if one.run % 2 else 2) for one in before]
    found = compare_datasets(value(*before), value(*after))
    assert [(one.reason[:3], one.runs) for one in found.changed] == [
        ("cut", (1, 3, 5, 7)),
        ("rel", (2, 4, 6, 8)),
    ]
