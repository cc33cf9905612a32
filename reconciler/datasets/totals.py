"""Sums over the runs of datasets. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.datasets.contents import RunContent


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over runs; `events` are those of runs that were counted, `uncounted` is the number of the others."""

    runs: int
    files: int
    bytes: int
    events: int
    uncounted: int

    @classmethod
    def of(cls, contents: Iterable[RunContent]) -> Totals:
        """The sums over these runs."""
        listed = list(contents)
        counted = [one.events for one in listed if one.events is not None]
        size, files = sum(one.bytes for one in listed), sum(one.files for one in listed)
        return cls(len(listed), files, size, sum(counted), len(listed) - len(counted))
