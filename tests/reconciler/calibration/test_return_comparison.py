"""A tag after the upload: whether it differs from its base by just what was returned, in the examples of basf2 and in general."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.calibration.return_comparison import compare_return
from renderer.identity.payloads import find_payloads
from schemas.conditions.local_database import number_lines, settle_overlaps
from schemas.conditions.snapshot import LOCAL, Iov, freeze_tag, make_iov
from schemas.manifest.runs import run_key

RELEASE = "release-06-00-00"


def sum_of(revision):
    return f"{int(revision):032x}"


def tag(*lines, state="VALIDATED"):
    """A snapshot of `payload revision fe,fr,le,lr`; the checksum is the revision's."""
    iovs = []
    for number, line in enumerate(lines, 1):
        payload, revision, ends = line.split()
        one = make_iov(payload, revision, sum_of(revision), tuple(map(int, ends.split(","))))
        iovs.append(
            Iov(*(getattr(one, name) for name in ("payload", "revision", "checksum", "first", "end")), number)
        )
    if state == LOCAL:
        return freeze_tag("returned", LOCAL, number_lines(iovs))
    return freeze_tag(
        "tag", state, [Iov(one.payload, one.revision, one.checksum, one.first, one.end) for one in iovs]
    )


BASE = tag("A 1 0,0,-1,-1", "B 2 0,0,-1,-1")
RETURNED = tag("A 7 3,529,-1,-1", state=LOCAL)


def tell(pulled, base=BASE, returned=RETURNED):
    return [str(one) for one in compare_return(base, returned, pulled, RELEASE)]


@pytest.mark.parametrize(
    "pulled",
    [
        tag(
            "A 1 0,0,-1,-1", "A 7 3,529,-1,-1", "B 2 0,0,-1,-1"
        ),  # uploaded on top: the higher revision is used
        tag(
            "A 1 0,0,3,528", "A 7 3,529,-1,-1", "B 2 0,0,-1,-1"
        ),  # a running update: the former IoV was closed
        tag(
            "A 1 0,0,3,-1", "A 7 3,529,3,-1", "A 7 4,0,-1,-1", "B 2 0,0,5,8", "B 2 5,9,-1,-1"
        ),  # cut in other places
    ],
)
def test_just_what_was_returned(pulled):
    assert tell(pulled) == []


@pytest.mark.parametrize(
    ("pulled", "said"),
    [
        (BASE, [f"A, exp 3, run 529 - forever: the tag has {sum_of(1)}, and {sum_of(7)} was returned"]),
        (
            tag("A 1 0,0,3,528", "A 8 3,529,-1,-1", "B 2 0,0,-1,-1"),
            [f"A, exp 3, run 529 - forever: the tag has {sum_of(8)}, and {sum_of(7)} was returned"],
        ),
        (
            tag("A 1 0,0,3,528", "A 7 3,529,3,600", "B 2 0,0,-1,-1"),
            [f"A, exp 3, run 601 - forever: the tag has none, and {sum_of(7)} was returned"],
        ),
        (
            tag("A 1 0,0,3,500", "A 7 3,501,-1,-1", "B 2 0,0,-1,-1"),
            [f"A, exp 3, runs 501 - 528: the tag has {sum_of(7)}, and {sum_of(1)} is that of the base"],
        ),
        (
            tag("A 1 0,0,3,528", "A 7 3,529,-1,-1", "B 3 0,0,-1,-1"),
            [f"B, always: the tag has {sum_of(3)}, and {sum_of(2)} is that of the base"],
        ),
        (
            tag("A 1 0,0,3,528", "A 7 3,529,-1,-1"),
            [f"B, always: the tag has none, and {sum_of(2)} was in the base"],
        ),
        (
            tag("A 1 0,0,3,528", "A 7 3,529,-1,-1", "B 2 0,0,-1,-1", "C 4 3,1,3,9"),
            [f"C, exp 3, runs 1 - 9: the tag has {sum_of(4)}, which is neither in the base nor was returned"],
        ),
        (
            tag("A 1 0,0,3,528", "A 7 3,529,-1,-1", "A 5 3,600,3,700", "B 2 0,0,-1,-1"),
            [
                f"A, exp 3, runs 600 - 700: the tag also has {sum_of(5)}, which nobody handed in; a higher revision is used"
            ],
        ),
    ],
)
def test_what_else_the_tag_holds_or_lacks_is_said(pulled, said):
    assert tell(pulled) == said


def test_overlapping_lines_of_what_was_returned_count_as_the_release_reads_them():
    returned = tag("A 8 3,0,-1,-1", "A 7 3,529,-1,-1", state=LOCAL)
    uploaded = tag("A 1 0,0,2,-1", "A 8 3,0,3,528", "A 7 3,529,-1,-1", "B 2 0,0,-1,-1")
    assert tell(uploaded, returned=returned) == []
    highest = compare_return(BASE, returned, uploaded, "release-05-00-00")
    assert [(one.payload, one.kind) for one in highest] == [("A", "differs")]


iovs = st.builds(
    lambda name, revision, first, length: f"{name} {revision} 3,{first},3,{first + length}",
    st.sampled_from("AB"),
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(0, 9),
)


@given(st.lists(iovs, max_size=5), st.lists(iovs, min_size=1, max_size=4), st.lists(iovs, max_size=8))
def test_it_is_silent_exactly_where_every_run_gets_what_is_expected(base, returned, pulled):
    before, local, after = tag(*base), tag(*returned, state=LOCAL), tag(*pulled)
    found = [one for one in compare_return(before, local, after, RELEASE) if one.kind != "hides"]
    settled = settle_overlaps(local, RELEASE)
    for run in range(25):
        key = run_key(3, run)
        expected = {name: iov.checksum for name, iov in find_payloads((settled, before), key).items()}
        has = {name: iov.checksum for name, iov in find_payloads((after,), key).items()}
        told = {one.payload for one in found if one.first <= key < one.end}
        assert told == {name for name in {*expected, *has} if expected.get(name) != has.get(name)}
