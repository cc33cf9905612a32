"""Snapshot files: what is written is read again, the same tag gives the same bytes, and what is edited is found."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.conditions.snapshot import (
    FOREVER,
    LOCAL,
    Iov,
    freeze_tag,
    make_iov,
    read_snapshot,
    write_snapshot,
)
from tests.support.worlds.builders import snapshot as text_of

ends = st.sampled_from(
    [(0, 0, -1, -1), (3, 0, 3, -1), (3, 5, 3, 9), (3, 5, 4, 2), (10, 7, -1, -1), (9, 0, 9, 0)]
)
revisions = st.one_of(st.integers(1, 4000).map(str), st.sampled_from(["0c1baa", "cacd04", "1e5"]))
iovs = st.builds(
    lambda name, revision, numbers: make_iov(
        name, revision, hashlib.md5(revision.encode()).hexdigest(), numbers
    ),
    st.sampled_from(["CDC_T0s", "CDCTimeZeros", "Beam-Spot.v1", "a:b"]),
    revisions,
    ends,
)


@given(st.lists(iovs, max_size=12), st.permutations(range(12)))
def test_what_is_written_is_read_and_order_does_not_matter(found, order):
    tag = freeze_tag("tag", "PUBLISHED", found, tag_id=2464, source="where", retrieved="2020-01-01T00:00:00Z")
    content = write_snapshot(tag)
    assert read_snapshot("tag.iov", "tag", content) == (tag, ())
    shuffled = [found[index] for index in order if index < len(found)]
    again = freeze_tag(
        "tag", "PUBLISHED", [*shuffled, *found[:2]], tag_id=2464, source="x", retrieved="2021-01-01T00:00:00Z"
    )
    assert again.digest == tag.digest
    kept = [line for line in content.splitlines() if not line.startswith((b"# source", b"# retrieved"))]
    assert [
        line
        for line in write_snapshot(again).splitlines()
        if not line.startswith((b"# source", b"# retrieved"))
    ] == kept


def test_the_bytes_are_pinned():
    found = [Iov("B", "12", "1" * 32, 5 << 32, FOREVER), Iov("A", "9", "0" * 32, 0, 4 << 32)]
    lines = ["A 9 " + "0" * 32 + " 0,0,3,-1", "B 12 " + "1" * 32 + " 5,0,-1,-1"]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    header = ["# b2prod snapshot/1", "# name: tag", "# id: 7", "# state: RUNNING", f"# digest: {digest}"]
    assert write_snapshot(freeze_tag("tag", "RUNNING", found, tag_id=7)).decode() == "\n".join(
        [*header, *lines, ""]
    )


def test_a_source_cannot_smuggle_lines_into_a_header():
    tag = freeze_tag("tag", "INVALID", (), source="x\n# state: PUBLISHED\nA 1 " + "0" * 32 + " 0,0,-1,-1")
    found, findings = read_snapshot("tag.iov", "tag", write_snapshot(tag), any_state=True)
    assert not findings
    assert (found.state, found.iovs) == ("INVALID", ())


@pytest.mark.parametrize("state", ["OPEN", "INVALID", "NEW", "", "published"])
def test_a_state_that_no_job_may_use_is_a_finding_but_can_be_shown(state):
    content = write_snapshot(freeze_tag("tag", state, ()))
    snapshot, findings = read_snapshot("tag.iov", "tag", content)
    assert snapshot is None
    assert [finding.code for finding in findings] == ["BP502"]
    assert read_snapshot("tag.iov", "tag", content, any_state=True)[0].state == state


@pytest.mark.parametrize("state", ["TESTING", "VALIDATED", "PUBLISHED", "RUNNING", LOCAL])
def test_states_that_jobs_use(state):
    assert read_snapshot("tag.iov", "tag", write_snapshot(freeze_tag("tag", state, ())))[1] == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("CDCGeometry 1 ", "CDCGeometry 2 "), "digest"),
        (lambda text: text.replace("# name: tag", "# name: other"), "holds the tag 'other'"),
        (lambda text: text.replace("# b2prod snapshot/1", "# b2prod snapshot/2"), "not a snapshot"),
        (lambda text: text.replace("0,0,-1,-1", "3,5,3,4"), "not an IoV"),
        (lambda text: text.replace("0,0,-1,-1", "3,5,-1,4"), "not an IoV"),
        (lambda text: text.replace("0,0,-1,-1", "9" * 5000 + ",0,-1,-1"), "not an IoV"),
        (lambda text: text + "A 1 " + "0" * 32 + " 0,0,-1,-1\n", "not sorted"),
        (lambda text: text.replace("# state:", "# id: seven\n# state:"), "id"),
        (lambda _: "", "not a snapshot"),
        (lambda _: "\0\xff", "not a snapshot"),
    ],
)
def test_what_was_edited_is_found(change, says):
    content = change(text_of("tag")).encode("latin-1")
    snapshot, findings = read_snapshot("tag.iov", "tag", content, any_state=True)
    assert snapshot is None
    assert any(says in finding.message for finding in findings), findings


def test_a_snapshot_of_the_builders_is_read():
    snapshot, findings = read_snapshot("tag.iov", "tag", text_of("tag").encode())
    assert findings == ()
    assert (snapshot.id, snapshot.source, snapshot.retrieved) == (None, "", "")
    assert write_snapshot(freeze_tag("tag", "PUBLISHED", snapshot.iovs)).decode() == text_of("tag")


@pytest.mark.parametrize(
    "wrong", [("a b", "1", "0" * 32), ("a", "r1", "0" * 32), ("a", "1", "0" * 31), ("a", "", "")]
)
def test_what_could_not_be_read_again_is_not_made(wrong):
    with pytest.raises(ValueError, match="is no"):
        make_iov(*wrong, (0, 0, -1, -1))


def test_fifty_thousand_iovs_are_read_in_well_under_a_second():
    found = [
        Iov(
            f"Payload{n % 500}",
            str(n // 500 + 1),
            f"{n:032x}",
            n // 100 << 32 | n,
            (n // 100 << 32 | n) + 100,
        )
        for n in range(50_000)
    ]
    tag = freeze_tag("tag", "PUBLISHED", found)
    content = write_snapshot(replace(tag, source="generated"))
    before = time.process_time()
    snapshot, findings = read_snapshot("tag.iov", "tag", content)
    took = time.process_time() - before
    assert not findings
    assert len(snapshot.iovs) == 50_000
    assert took < 8, f"{took:.2f} s"
