"""Compares two datasets, run by run: which runs they have, what is not the same, and why. Pure: two values in, one value out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.datasets.contents import RunContent
from reconciler.datasets.totals import Totals
from renderer.identity.fingerprint import name_changes
from renderer.identity.payloads import name_payload_changes

ADOPTED = "one was adopted, and b2prod does not know how"
"""The reason for runs of which a unit made one side, and the other was imported."""
FORGOTTEN = "the ledger does not know any more how one was made"
"""The reason for runs of an edition whose outputs the ledger lacks, as after it was lost."""


@dataclass(frozen=True, slots=True)
class DatasetValue:
    """A dataset as it is at one moment: run key → what it has of the run.

    `recipes` maps the numbers of its recipes to their content, `payloads` the digests of its payload sets to name → checksum.
    Payload sets that the ledger does not have are not in it.
    """

    name: str
    runs: Mapping[int, RunContent]
    recipes: Mapping[int, Mapping[str, Any]]
    payloads: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Changed:
    """Runs that both have and that differ for the same reason; `runs` are sorted run keys, the totals are those of these runs."""

    reason: str
    runs: tuple[int, ...]
    before: Totals
    after: Totals


@dataclass(frozen=True, slots=True)
class DatasetDifference:
    """What differs between two datasets. `removed` are sorted run keys that only the first has, `added` those of the second.

    `same` is the number of runs with the same fingerprint, or the same registered files. `recounted` are those of them whose
    numbers of events differ all the same.
    """

    before: Totals
    after: Totals
    removed: tuple[int, ...]
    added: tuple[int, ...]
    same: int
    recounted: tuple[int, ...]
    changed: tuple[Changed, ...]

    @property
    def is_empty(self) -> bool:
        """Whether both have the same of the same runs."""
        return not (self.removed or self.added or self.recounted or self.changed)


def compare_datasets(before: DatasetValue, after: DatasetValue) -> DatasetDifference:
    """What differs between two datasets; reasons are in the order of the first run of each."""
    reasons: dict[str, list[int]] = {}
    recounted = []
    why = _Reasons(before, after)
    both = sorted(before.runs.keys() & after.runs.keys())
    for run in both:
        one, other = before.runs[run], after.runs[run]
        if one.identity != other.identity:
            reasons.setdefault(why.tell(one, other), []).append(run)
        elif None not in (one.events, other.events) and one.events != other.events:
            recounted.append(run)
    changed = tuple(
        Changed(reason, tuple(runs), *(Totals.of(side.runs[run] for run in runs) for side in (before, after)))
        for reason, runs in reasons.items()
    )
    return DatasetDifference(
        Totals.of(before.runs.values()),
        Totals.of(after.runs.values()),
        tuple(sorted(before.runs.keys() - after.runs.keys())),
        tuple(sorted(after.runs.keys() - before.runs.keys())),
        len(both) - sum(len(one.runs) for one in changed),
        tuple(recounted),
        changed,
    )


class _Reasons:
    """Why runs differ. Many of them differ by the same recipes and payload sets, which are compared once."""

    def __init__(self, before: DatasetValue, after: DatasetValue) -> None:
        self._before, self._after = before, after
        self._known: dict[tuple[object, ...], str] = {}

    def tell(self, before: RunContent, after: RunContent) -> str:
        made = (before.version is None, after.version is None)
        pair = (
            made,
            before.recipe,
            after.recipe,
            before.conditions,
            after.conditions,
            before.input == after.input,
        )
        if pair not in self._known:
            self._known[pair] = "; ".join(self._compare(before, after))
        return self._known[pair]

    def _compare(self, before: RunContent, after: RunContent) -> Iterator[str]:
        if before.recipe is None or after.recipe is None:
            registered = (before.version is None) + (after.version is None)
            yield (FORGOTTEN, ADOPTED, "other files are registered")[registered]
            return
        if before.recipe != after.recipe:
            yield from name_changes(self._before.recipes[before.recipe], self._after.recipes[after.recipe])
        if before.conditions != after.conditions:
            old = self._before.payloads.get(before.conditions or "")
            new = self._after.payloads.get(after.conditions or "")
            yield "payloads changed" if old is None or new is None else name_payload_changes(old, new)
        if before.input != after.input:
            yield "made from another input"
