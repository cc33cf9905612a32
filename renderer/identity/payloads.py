"""Finds the payloads that are valid for each run, after precedence.

The first tag of a chain wins over later ones; within a tag the higher revision wins. The digest of a payload set is
the digest of the digests of 64 buckets: when payloads change, only the digests of their buckets are computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from schemas.conditions.snapshot import Iov, Rank, Snapshot, rank_iov

BUCKETS = 64


@dataclass(frozen=True, slots=True, order=True)
class Payload:
    """A payload as a run uses it. `checksum` is the md5 of its content."""

    name: str
    revision: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """The payloads of a set whose names fall into one of the `BUCKETS`, and the digest of their names and checksums."""

    digest: bytes
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class PayloadSet:
    """The payloads of a run, in buckets by name; `digest` is the one that `digest_runs` returns."""

    digest: str
    buckets: tuple[Bucket, ...]


def digest_runs(chain: Sequence[Snapshot], keys: Sequence[int]) -> list[str]:
    """The digest of each run's payload set, from names and checksums alone; `keys` are sorted run keys."""
    walk = Walk(chain)
    return [walk.advance(key).digest() for key in keys]


def find_payloads(chain: Sequence[Snapshot], key: int) -> dict[str, Iov]:
    """For one run: payload name → the IoV that wins, sorted by name."""
    winners: dict[str, tuple[Rank, Iov]] = {}
    for place, snapshot in enumerate(chain):
        for iov in snapshot.iovs:
            if iov.first <= key < iov.end:
                rank = rank_iov(iov, place)
                if iov.payload not in winners or rank < winners[iov.payload][0]:
                    winners[iov.payload] = (rank, iov)
    return {name: iov for name, (_, iov) in sorted(winners.items())}


def collect_payloads(chain: Sequence[Snapshot], key: int) -> PayloadSet:
    """The payload set of one run, as the ledger keeps it."""
    sorted_out: list[list[Payload]] = [[] for _ in range(BUCKETS)]
    for name, iov in find_payloads(chain, key).items():
        sorted_out[_bucket(name)].append(Payload(name, iov.revision, iov.checksum))
    buckets = tuple(
        Bucket(_digest_bucket([(one.name, one.checksum) for one in payloads]), tuple(payloads))
        for payloads in sorted_out
    )
    return PayloadSet(_digest_set([bucket.digest for bucket in buckets]), buckets)


def name_payload_changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What differs between two payload sets (name → checksum), in words: three payloads, then how many more.

    >>> name_payload_changes({"CDCTimeZeros": "1", "BeamSpot": "1"}, {"CDCTimeZeros": "2"})
    'payload CDCTimeZeros changed, BeamSpot removed'
    """
    both = sorted(before.keys() & after.keys())
    words = [f"{name} changed" for name in both if before[name] != after[name]]
    words += [f"{name} added" for name in sorted(after.keys() - before.keys())]
    words += [f"{name} removed" for name in sorted(before.keys() - after.keys())]
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return f"payload {', '.join(words[:3])}{more}" if words else "payloads changed"


def _digest_bucket(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The digest of the pairs as canonical JSON, written by hand for speed; names need no escapes."""
    listed = ",".join([f'["{name}","{checksum}"]' for name, checksum in sorted(pairs)])
    return hashlib.sha256(f"[{listed}]".encode()).digest()


def _digest_set(buckets: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(buckets)).hexdigest()


@cache
def _bucket(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0] % BUCKETS


class Walk:
    """The payload sets of a chain at growing run keys: it passes each boundary of an IoV once."""

    def __init__(self, chain: Sequence[Snapshot]) -> None:
        placed = [(place, iov) for place, snapshot in enumerate(chain) for iov in snapshot.iovs]
        starts = ((iov.first, True, place, iov) for place, iov in placed)
        ends = ((iov.end, False, place, iov) for place, iov in placed)
        self._boundaries = iter(sorted([*starts, *ends]))
        self._upcoming = next(self._boundaries, None)
        self._valid: dict[str, list[tuple[Rank, str]]] = {}
        self._buckets: list[dict[str, str]] = [{} for _ in range(BUCKETS)]
        self._digests = [_digest_bucket(())] * BUCKETS
        self._moved: set[int] = set(range(BUCKETS))
        self._whole = ""

    def advance(self, key: int) -> Walk:
        """Moves on to the run `key`, which must not be before the last one; returns itself."""
        while self._upcoming is not None and self._upcoming[0] <= key:
            self._step(*self._upcoming[1:])
            self._upcoming = next(self._boundaries, None)
        return self

    def digest(self) -> str:
        """The digest of the current run's payload set."""
        if self._moved:
            for bucket in self._moved:
                self._digests[bucket] = _digest_bucket(self._buckets[bucket].items())
            self._moved.clear()
            self._whole = _digest_set(self._digests)
        return self._whole

    def checksums(self) -> dict[str, str]:
        """Name → checksum of the current run's payloads."""
        return {name: checksum for bucket in self._buckets for name, checksum in bucket.items()}

    def _step(self, begins: bool, place: int, iov: Iov) -> None:  # noqa: FBT001 -- a boundary is a tuple of these values
        candidate = (rank_iov(iov, place), iov.checksum)
        valid = self._valid.setdefault(iov.payload, [])
        if begins:
            valid.append(candidate)
        else:
            valid.remove(candidate)
        bucket = _bucket(iov.payload)
        if valid:
            self._buckets[bucket][iov.payload] = min(valid)[1]
        else:
            self._buckets[bucket].pop(iov.payload, None)
        self._moved.add(bucket)
