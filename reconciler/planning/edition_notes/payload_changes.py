"""Which payloads changed between two datasets, detector by detector. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.datasets.comparison import DatasetValue

DETECTORS: Mapping[str, str] = {
    **{name: name for name in ("PXD", "SVD", "VXD", "CDC", "TOP", "ARICH", "ECL", "KLM", "TRG")},
    "BKLM": "KLM",
    "EKLM": "KLM",
}
"""How the names of basf2's payloads begin → the detector. BKLM and EKLM are parts of the KLM, VXD is PXD and SVD together."""

OTHER = "other"
"""What belongs to no detector: BeamSpot, Geometry, MagneticField and so on."""

CHANGED, ADDED, REMOVED = "changed", "added", "removed"


@dataclass(frozen=True, slots=True, order=True)
class ChangedPayload:
    """What happened to a payload, and in how many runs: `change` is changed, added or removed."""

    name: str
    change: str
    runs: int


@dataclass(frozen=True, slots=True)
class ChangedPayloads:
    """The payload changes over the runs of both datasets; `detectors` are in the order of `DETECTORS`.

    `runs` is the number of runs of which the payloads are known on both sides, `unknown` that of the others.
    """

    runs: int
    unknown: int
    detectors: Mapping[str, tuple[ChangedPayload, ...]]

    def describe(self) -> dict[str, Any]:
        """The changes as JSON data."""
        told = {
            detector: [{"name": one.name, "change": one.change, "runs": one.runs} for one in changes]
            for detector, changes in self.detectors.items()
        }
        return {"runs": self.runs, "unknown": self.unknown, "detectors": told}


def find_detector(payload: str) -> str:
    """The detector of a payload, by the beginning of its name.

    >>> find_detector("EKLMDisplacement"), find_detector("CDCTimeZeros"), find_detector("BeamSpot")
    ('KLM', 'CDC', 'other')
    """
    return next((detector for begin, detector in DETECTORS.items() if payload.startswith(begin)), OTHER)


def compare_payloads(before: DatasetValue, after: DatasetValue) -> ChangedPayloads:
    """The payloads that changed, were added or removed in the runs that both datasets have."""
    pairs: Counter[tuple[str, str]] = Counter()
    unknown = 0
    for run in before.runs.keys() & after.runs.keys():
        old, new = before.runs[run].conditions or "", after.runs[run].conditions or ""
        if old in before.payloads and new in after.payloads:
            pairs[old, new] += 1
        else:
            unknown += 1
    found: Counter[tuple[str, str]] = Counter()
    for (old, new), runs in pairs.items():
        for key in _list_changes(before.payloads[old], after.payloads[new]) if old != new else ():
            found[key] += runs
    grouped: dict[str, list[ChangedPayload]] = {}
    for (name, change), runs in found.items():
        grouped.setdefault(find_detector(name), []).append(ChangedPayload(name, change, runs))
    order = dict.fromkeys([*DETECTORS.values(), OTHER])
    detectors = {one: tuple(sorted(grouped[one])) for one in order if one in grouped}
    return ChangedPayloads(pairs.total(), unknown, detectors)


def _list_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The payloads that differ between two payload sets (name → checksum), each with what happened to it."""
    for name in before.keys() | after.keys():
        if name not in before:
            yield name, ADDED
        elif name not in after:
            yield name, REMOVED
        elif before[name] != after[name]:
            yield name, CHANGED
