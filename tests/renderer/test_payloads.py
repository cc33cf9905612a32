"""Payload sets by run: the walk along the boundaries against a look at every IoV for every run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from renderer.identity.payloads import digest_runs, find_payloads
from schemas.conditions.snapshot import FOREVER, Iov, Snapshot
from schemas.manifest.runs import run_key

ENDS = [run_key(experiment, run) for experiment in range(3) for run in range(9)]
keys = st.sampled_from(ENDS)
names = st.sampled_from(["CDC_T0s", "CDCTimeZeros", "ECLCrystalEnergy", "BeamSpot"])


@st.composite
def iovs(draw):
    first = draw(keys)
    end = draw(st.sampled_from([*(key for key in ENDS if key > first), FOREVER]))
    revision = draw(st.integers(1, 30))
    return Iov(draw(names), str(revision), f"{revision:032x}", first, end)


snapshots = st.lists(iovs(), max_size=12).map(lambda found: Snapshot("tag", "PUBLISHED", "", tuple(found)))


def digest_payloads(checksums):
    """The digest of one payload set as its definition has it: 64 buckets by name, a digest of each, a digest of all."""
    buckets = [[] for _ in range(64)]
    for name, checksum in sorted(checksums.items()):
        buckets[hashlib.sha256(name.encode()).digest()[0] % 64].append([name, checksum])
    inner = b"".join(
        hashlib.sha256(json.dumps(one, separators=(",", ":")).encode()).digest() for one in buckets
    )
    return hashlib.sha256(inner).hexdigest()


def brute_force(chain, key):
    """name → checksum, by looking at everything: the first tag wins, in it the highest revision."""
    best = {}
    for place, snapshot in enumerate(chain):
        for iov in snapshot.iovs:
            if iov.first <= key < iov.end:
                rank = (-place, int(iov.revision))
                if iov.payload not in best or rank > best[iov.payload][0]:
                    best[iov.payload] = (rank, iov.checksum)
    return {name: checksum for name, (_, checksum) in best.items()}


@given(st.lists(snapshots, max_size=3), st.lists(keys, unique=True, min_size=1).map(sorted))
def test_the_walk_finds_what_a_look_at_every_iov_finds(chain, runs):
    expected = [digest_payloads(brute_force(chain, key)) for key in runs]
    assert digest_runs(chain, runs) == expected
    for key in runs:
        assert {name: iov.checksum for name, iov in find_payloads(chain, key).items()} == brute_force(
            chain, key
        )


@given(st.lists(snapshots, min_size=1, max_size=2), st.lists(keys, unique=True, min_size=1).map(sorted))
def test_names_of_tags_do_not_count(chain, runs):
    renamed = [replace(snapshot, name="other", digest="x") for snapshot in chain]
    assert digest_runs(chain, runs) == digest_runs(renamed, runs)


def test_the_digest_of_a_set_is_pinned():
    always = [Iov("CDC_T0s", "1", "0" * 32, 0, FOREVER), Iov("BeamSpot", "2", "1" * 32, 0, FOREVER)]
    (found,) = digest_runs([Snapshot("tag", "PUBLISHED", "", tuple(always))], [run_key(3, 529)])
    assert found == "80c7241d81ac246ee5a6fd200134393b817aa1b97c7e0f615fcaeb7ebcfc1691"
