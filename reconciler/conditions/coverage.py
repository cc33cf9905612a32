"""Checks whether a global tag can be used for given runs: its state, gaps, overlaps, payloads that only another tag has."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from renderer.identity.units import Chains
from schemas.conditions.iov import ALWAYS, Interval, merge_intervals, subtract_all
from schemas.conditions.snapshot import LOCAL, USABLE_STATES, Iov, Snapshot, rank_revision
from schemas.manifest.step import Step
from schemas.repository import Repository

NAMED = 3
"""The most revisions that an overlap names; thousands may overlap if IoVs are never closed."""

FlawKind = Literal["gap", "missing", "overlap"]


@dataclass(frozen=True, slots=True)
class CoverageFlaw:
    """A flaw of one payload for run keys from `first` up to, without, `end`; it concerns `runs[lower:upper]`.

    gap: the tag has the payload, but neither tag has it for these runs. missing: only the other tag has it for them.
    overlap: several contents are valid, and jobs take the highest revision; `revisions` are the `NAMED` highest.
    """

    kind: FlawKind
    payload: str
    first: int
    end: int
    lower: int
    upper: int
    revisions: tuple[str, ...] = ()


def is_usable(state: str) -> bool:
    """Whether jobs may use a tag in this state; they never use OPEN or INVALID tags."""
    return state in (*USABLE_STATES, LOCAL)


def find_flaws(
    snapshot: Snapshot, runs: Sequence[int], against: Snapshot | None = None
) -> tuple[CoverageFlaw, ...]:
    """The gaps and overlaps for `runs` (sorted run keys), and the payloads that only `against` has for them.

    Sorted by payload and run. Overlapping IoVs of the same content are not a flaw.
    """
    own = _group(snapshot)
    other = {} if against is None else _group(against)
    flaws: list[CoverageFlaw] = []
    for payload in sorted({*own, *other}):
        iovs = own.get(payload, [])
        covered = _cover(iovs)
        elsewhere = _cover(other.get(payload, []))
        stretches: list[tuple[FlawKind, Interval, tuple[str, ...]]]
        stretches = [("missing", part, ()) for part in subtract_all(elsewhere, covered)]
        if iovs:
            stretches += [("gap", part, ()) for part in subtract_all((ALWAYS,), covered + elsewhere)]
        stretches += [("overlap", part, revisions) for part, revisions in _find_overlaps(iovs)]
        for kind, part, revisions in sorted(stretches, key=lambda stretch: stretch[1]):
            lower, upper = bisect_left(runs, part.first), bisect_left(runs, part.end)
            if lower < upper:
                flaws.append(CoverageFlaw(kind, payload, part.first, part.end, lower, upper, revisions))
    return tuple(flaws)


def find_uncovered(repository: Repository, step: Step, chains: Chains, runs: Sequence[int]) -> dict[int, str]:
    """Run key → `no NAME in TAGS`, for each of the sorted `runs` whose chain lacks a payload that the step reads.

    If the step's template does not list its payloads, the step needs at least one payload.
    """
    needed = repository.templates[step.template].payloads if step.template else None
    lacking: dict[int, str] = {}
    for chain, here in chains.divide(runs):
        iovs: dict[str, list[Iov]] = {name: [] for name in needed or ("",)}
        for snapshot in chain:
            for iov in snapshot.iovs:
                iovs.get(iov.payload if needed is not None else "", []).append(iov)
        tags = ", ".join(snapshot.name for snapshot in chain)
        for payload, found in sorted(iovs.items()):
            for part in subtract_all((ALWAYS,), _cover(found)):
                for run in here[bisect_left(here, part.first) : bisect_left(here, part.end)]:
                    lacking.setdefault(run, f"no {payload or 'payload'} in {tags}")
    return lacking


def _group(snapshot: Snapshot) -> Mapping[str, list[Iov]]:
    grouped: dict[str, list[Iov]] = defaultdict(list)
    for iov in snapshot.iovs:
        grouped[iov.payload].append(iov)
    return grouped


def _cover(iovs: Iterable[Iov]) -> tuple[Interval, ...]:
    return merge_intervals(Interval(iov.first, iov.end) for iov in iovs)


def _find_overlaps(iovs: Sequence[Iov]) -> Iterator[tuple[Interval, tuple[str, ...]]]:
    """The intervals in which several contents are valid, with their highest revisions, the highest first."""
    borders: dict[int, list[tuple[Iov, int]]] = defaultdict(list)
    for iov in iovs:
        borders[iov.first].append((iov, 1))
        borders[iov.end].append((iov, -1))
    contents: Counter[str] = Counter()
    valid: list[tuple[tuple[int, int], str]] = []
    for first, end in pairwise(sorted(borders)):
        for iov, step in borders[first]:
            ranked = rank_revision(iov.revision), iov.revision
            contents[iov.checksum] += step
            if step > 0:
                insort(valid, ranked)
            else:
                del valid[bisect_left(valid, ranked)]
            if not contents[iov.checksum]:
                del contents[iov.checksum]
        if len(contents) > 1:
            revisions = dict.fromkeys(revision for _, revision in reversed(valid[-NAMED:]))
            yield Interval(first, end), tuple(revisions)
