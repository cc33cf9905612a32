"""The difference of two datasets, as text and as JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ci.cli.console import count_things
from ci.cli.rows import align_rows
from reconciler.datasets.comparison import DatasetDifference
from reconciler.datasets.totals import Totals
from schemas.manifest.runs import format_runs

_RANGES = 20
"""The largest number of run ranges in a line."""


def describe_dataset_difference(difference: DatasetDifference, names: tuple[str, str]) -> dict[str, Any]:
    """The difference as JSON data; sizes are in bytes."""
    listed = {name: format_runs(getattr(difference, name)) for name in ("removed", "added", "recounted")}
    return {
        "before": {"dataset": names[0], **asdict(difference.before)},
        "after": {"dataset": names[1], **asdict(difference.after)},
        "same": difference.same,
        **listed,
        "changed": [{**asdict(one), "runs": format_runs(one.runs)} for one in difference.changed],
    }


def format_dataset_difference(difference: DatasetDifference, names: tuple[str, str]) -> str:
    """The difference as text: the totals of both, the runs that only one has, and the runs that differ, by reason."""
    rows: list[tuple[str, ...]] = [("", "runs", "files", "events", "bytes")]
    pair = (difference.before, difference.after)
    rows += [(name, *_list_totals(one)) for name, one in zip(names, pair, strict=True)]
    lines = [*align_rows(rows), ""]
    lines.append(
        f"{count_things(difference.same, 'run')} with the same fingerprint, or the same registered files"
    )
    for name, runs in zip(names, (difference.removed, difference.added), strict=True):
        if runs:
            lines.append(f"{count_things(len(runs), 'run')} only in {name}: {format_runs(runs, _RANGES)}")
    for one in difference.changed:
        lines.append(f"{count_things(len(one.runs), 'run')}: {one.reason}: {format_runs(one.runs, _RANGES)}")
        before, after = _list_totals(one.before)[2:], _list_totals(one.after)[2:]
        told = zip(("events", "bytes"), before, after, strict=True)
        lines.append("  " + ", ".join(f"{what} {old} -> {new}" for what, old, new in told))
    if difference.recounted:
        count = count_things(len(difference.recounted), "run")
        lines.append(
            f"{count} made alike with other numbers of events: {format_runs(difference.recounted, _RANGES)}"
        )
    return "".join(f"{line}\n" for line in lines)


def _list_totals(totals: Totals) -> tuple[str, ...]:
    """Runs, files, events and bytes in digits."""
    events = "not counted" if totals.runs and totals.uncounted == totals.runs else f"{totals.events:,}"
    more = "≥ " if 0 < totals.uncounted < totals.runs else ""
    return f"{totals.runs:,}", f"{totals.files:,}", f"{more}{events}", f"{totals.bytes:,}"
