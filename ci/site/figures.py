"""What the plots show: luminosity and retention against run number, in at most some hundred points. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ci.site.run_states import Keys
from ci.site.run_table import RunTable, name_method
from reconciler.planning.production import Produced
from reconciler.planning.retention import ONE_SIGMA, bound_rates
from schemas.manifest.runs import format_run

POINTS = 400
"""The most points of a curve: of more runs, neighbours are taken together."""


def _name_runs(keys: Sequence[int]) -> list[str]:
    return [format_run(key) for key in keys]


def divide_runs(count: int) -> list[int]:
    """The places where groups of neighbouring runs begin, and `count`; at most `POINTS` groups of the same size."""
    size = max(1, -(-count // POINTS))
    return [*range(0, count, size), count]


def draw_luminosity(table: RunTable, done: Keys) -> list[dict[str, Any]]:
    """Cumulative luminosity of the runs that are done, in inverse nanobarn, one figure for each method that has values of them.

    A point is the last run of its group, with the sum of all runs up to it.
    """
    places = np.flatnonzero(np.isin(table.keys, done))
    edges = divide_runs(len(places))
    ends = [end - 1 for end in edges[1:]]
    figures = []
    for where, column in table.luminosity.items():
        values = np.array([column[place] for place in places.tolist()], np.float64)
        known = ~np.isnan(values)
        if not known.any():
            continue
        total = np.cumsum(np.where(known, values, 0.0))
        figures.append(
            {
                "name": name_method(where),
                "runs": _name_runs(table.keys[places[ends]].tolist()),
                "sum": total[ends].tolist(),
                "measured": int(known.sum()),
                "without": int((~known).sum()),
            }
        )
    return figures


def draw_retention(production: Produced) -> Iterator[dict[str, Any]]:
    """Retention against run number, one figure for each output of which events are counted.

    A point is a group of neighbouring runs: events kept over events read in all of them, with the ends of its interval.
    """
    columns: dict[tuple[str, str], list[tuple[int, int, int]]] = {place: [] for place in production.made}
    for head in production.heads:
        if head.read and head.kept is not None and head.kept <= head.read:
            columns.setdefault((head.step, head.output), []).append((head.run, head.read, head.kept))
    for (step, output), rows in columns.items():
        if not rows:
            continue
        keys, read, kept = (np.array(column, np.int64) for column in zip(*sorted(rows), strict=True))
        edges = divide_runs(len(keys))
        sums = [_add(column, edges) for column in (kept, read)]
        low, high = bound_rates(sums[0], sums[1], ONE_SIGMA)
        first, last = keys[edges[:-1]].tolist(), keys[[end - 1 for end in edges[1:]]].tolist()
        yield {
            "step": step,
            "output": output,
            "runs": _name_runs(first),
            "to": _name_runs(last),
            "kept": sums[0].tolist(),
            "read": sums[1].tolist(),
            "rate": (sums[0] / sums[1]).tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        }


def _add(column: NDArray[np.int64], edges: Sequence[int]) -> NDArray[np.int64]:
    """The sums of a column between the edges."""
    return np.add.reduceat(column, edges[:-1])
