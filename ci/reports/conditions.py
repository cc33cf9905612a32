"""Global tags and their differences, as lines of text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.conditions.comparison import PayloadUse, Segment
from reconciler.conditions.coverage import CoverageFlaw, is_usable
from schemas.conditions.iov import name_ends
from schemas.conditions.snapshot import Iov, Snapshot
from schemas.manifest.runs import format_runs

SHOWN_RANGES = 6
"""The largest number of run ranges in a line."""

SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def name_change(change: PayloadUse, keys: Sequence[int]) -> tuple[str, ...]:
    """The columns of a line about a change. `keys` are the run keys of the comparison."""
    revisions = " → ".join(
        "nothing" if side is None else f"r{side.revision}" for side in (change.before, change.after)
    )
    return (
        SIGNS[change.kind],
        change.payload,
        revisions,
        name_iov(change.first, change.end),
        name_runs(keys, change.lower, change.upper) if keys else "",
    )


def describe_change(change: PayloadUse, keys: Sequence[int]) -> dict[str, Any]:
    """A change as JSON. `keys` are the run keys of the comparison."""

    def describe(side: Segment | None) -> dict[str, str] | None:
        return None if side is None else {"revision": side.revision, "checksum": side.checksum}

    return {
        "payload": change.payload,
        "kind": change.kind,
        "iov": name_iov(change.first, change.end),
        "before": describe(change.before),
        "after": describe(change.after),
        **_describe_runs(keys, change.lower, change.upper),
    }


def describe_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON, without its IoVs."""
    return {
        "name": snapshot.name,
        "id": snapshot.id,
        "state": snapshot.state,
        "usable": is_usable(snapshot.state),
        "source": snapshot.source or None,
        "retrieved": snapshot.retrieved or None,
        "digest": snapshot.digest,
        "payloads": len({one.payload for one in snapshot.iovs}),
        "iovs": len(snapshot.iovs),
    }


def describe_iov(one: Iov) -> dict[str, Any]:
    """An IoV as JSON."""
    return {
        "payload": one.payload,
        "revision": one.revision,
        "checksum": one.checksum,
        "iov": name_iov(one.first, one.end),
    }


def name_iov(first: int, end: int) -> str:
    """The run keys from `first` (included) to `end` (excluded), written as an IoV with both ends included: `3,5,3,-1`."""
    return ",".join(map(str, name_ends(first, end)))


def name_runs(keys: Sequence[int], lower: int, upper: int) -> str:
    """The number of the runs `keys[lower:upper]`, and their ranges."""
    if lower == upper:
        return "no run"
    count = upper - lower
    return f"{count} run{'s' * (count > 1)}: {format_runs(keys[lower:upper], SHOWN_RANGES)}"


def name_flaw(flaw: CoverageFlaw, keys: Sequence[int]) -> tuple[str, ...]:
    """The columns of a line about a flaw. `keys` are the run keys that were checked."""
    return (
        flaw.kind,
        flaw.payload,
        name_iov(flaw.first, flaw.end),
        name_runs(keys, flaw.lower, flaw.upper),
        " over ".join(f"r{revision}" for revision in flaw.revisions),
    )


def describe_flaw(flaw: CoverageFlaw, keys: Sequence[int]) -> dict[str, Any]:
    """A flaw as JSON. `keys` are the run keys that were checked."""
    return {
        "kind": flaw.kind,
        "payload": flaw.payload,
        "iov": name_iov(flaw.first, flaw.end),
        "revisions": list(flaw.revisions),
        **_describe_runs(keys, flaw.lower, flaw.upper),
    }


def _describe_runs(keys: Sequence[int], lower: int, upper: int) -> dict[str, Any]:
    return {"runs": format_runs(keys[lower:upper]), "count": upper - lower}
