"""The payloads that are valid for each run, after precedence, by walking the boundaries of the IoVs.

Between tags the first of the chain wins; within a tag the higher revision. The digest of a run's payload set is
a two-level tree (64 buckets by name), so that passing a boundary costs as much as the payloads that change there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from heapq import merge

from schemas.canonical import canonical_json
from schemas.snapshot import Iov, Snapshot

BUCKETS = 64


def digest_runs(chain: Sequence[Snapshot], keys: Sequence[int]) -> list[str]:
    """The digest of the payload set of each run in `keys` (sorted run keys); names and checksums count, tags do not."""
    digests: list[str] = []
    walk = _Walk()
    boundaries = _boundaries(chain)
    upcoming = next(boundaries, None)
    for key in keys:
        while upcoming is not None and upcoming[0] <= key:
            walk.step(*upcoming[1:])
            upcoming = next(boundaries, None)
        digests.append(walk.digest())
    return digests


def find_payloads(chain: Sequence[Snapshot], key: int) -> dict[str, Iov]:
    """The IoV that wins for each payload name at one run."""
    winners: dict[str, tuple[tuple[int, int, int], Iov]] = {}
    for place, snapshot in enumerate(chain):
        for iov in snapshot.iovs:
            if iov.first <= key < iov.end:
                rank = (place, *_revision_rank(iov.revision))
                if iov.payload not in winners or rank < winners[iov.payload][0]:
                    winners[iov.payload] = (rank, iov)
    return {name: iov for name, (_, iov) in sorted(winners.items())}


def _digest_bucket(pairs: Sequence[tuple[str, str]]) -> bytes:
    return hashlib.sha256(canonical_json(sorted(pairs))).digest()


@cache
def _bucket(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0] % BUCKETS


def _revision_rank(revision: str) -> tuple[int, int]:
    return -len(revision), -int(revision, 16)


def _boundaries(chain: Sequence[Snapshot]) -> Iterator[tuple[int, bool, int, Iov]]:
    starts = sorted(
        (iov.first, True, place, iov) for place, snapshot in enumerate(chain) for iov in snapshot.iovs
    )
    ends = sorted(
        (iov.end, False, place, iov) for place, snapshot in enumerate(chain) for iov in snapshot.iovs
    )
    return merge(ends, starts)


class _Walk:
    """The payload set at the current run."""

    def __init__(self) -> None:
        self.valid: dict[str, list[tuple[tuple[int, int, int], str]]] = {}
        self.buckets: list[dict[str, str]] = [{} for _ in range(BUCKETS)]
        self.digests = [_digest_bucket(())] * BUCKETS
        self.moved: set[int] = set(range(BUCKETS))
        self.whole = ""

    def step(self, begins: bool, place: int, iov: Iov) -> None:  # noqa: FBT001 -- the column of a boundary
        candidate = ((place, *_revision_rank(iov.revision)), iov.checksum)
        valid = self.valid.setdefault(iov.payload, [])
        if begins:
            valid.append(candidate)
        else:
            valid.remove(candidate)
        bucket = _bucket(iov.payload)
        if valid:
            self.buckets[bucket][iov.payload] = min(valid)[1]
        else:
            self.buckets[bucket].pop(iov.payload, None)
        self.moved.add(bucket)

    def digest(self) -> str:
        if self.moved:
            for bucket in self.moved:
                self.digests[bucket] = _digest_bucket(tuple(self.buckets[bucket].items()))
            self.moved.clear()
            self.whole = hashlib.sha256(b"".join(self.digests)).hexdigest()
        return self.whole
