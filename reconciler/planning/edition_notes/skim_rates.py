"""What skims keep of an edition: of the skims that were made from just its outputs, or of the edition if it is a skim. Only reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from reconciler.ledger.schema.rows import COPIED, divide
from reconciler.ledger.schema.tables import outputs, recipes
from reconciler.model.states import OutputState
from reconciler.planning.retention import ONE_SIGMA, bound_rates
from schemas.manifest.dataset import name_dataset
from schemas.manifest.runs import run_key

PUBLISHED = (OutputState.PRODUCED, OutputState.LOST, OutputState.TRASHED, OutputState.PURGED)
"""The states of an output that was published, whatever became of its files since."""


@dataclass(frozen=True, slots=True)
class SkimRate:
    """A skim over some runs of an edition: how it selects, and how many of the events that were read it kept.

    `selects` has one mapping for each way in which it was made. `runs` is the number of runs with both counts, `uncounted` that
    of the other runs that it has. The rate and the ends of its interval of one standard deviation are None if nothing was read.
    """

    dataset: str
    skim: str
    selects: tuple[Mapping[str, Any], ...]
    runs: int
    uncounted: int
    read: int
    kept: int
    rate: float | None
    low: float | None
    high: float | None

    def describe(self) -> dict[str, Any]:
        """The rate as JSON data."""
        numbers = ("dataset", "skim", "runs", "uncounted", "read", "kept", "rate", "low", "high")
        return {
            **{name: getattr(self, name) for name in numbers},
            "selects": [dict(one) for one in self.selects],
        }


_COLUMNS = ("campaign", "step", "output", "experiment", "run", "version", "recipe", "input", "fingerprint")
_COUNTS = ("events_read", "events")


def measure_skims(
    connection: Connection, editions: Sequence[Mapping[int, str]]
) -> list[tuple[SkimRate, ...]]:
    """The skims of each edition, sorted by dataset. An edition maps its run keys to the identity of what it has of the run.

    A skim counts if the edition is made of its outputs, or if its outputs were made from those of the edition; of a run that was
    made several times from the same, the newest version counts.
    """
    made_by = _read_skims(connection)
    query = select(*(outputs.c[name] for name in (*_COLUMNS, *_COUNTS)))
    # edition → dataset → run key → version, recipe, events read and kept
    found: list[dict[str, dict[int, tuple[Any, ...]]]] = [{} for _ in editions]
    for part in divide(sorted(made_by)):
        published = query.where(outputs.c.recipe.in_(part), outputs.c.state.in_(PUBLISHED))
        rows = connection.execute(published.execution_options(yield_per=COPIED))
        for campaign, step, output, experiment, run, version, recipe, read_from, made, *counts in rows:
            key = run_key(experiment, run)
            for skims, edition in zip(found, editions, strict=True):
                identity = edition.get(key)
                if identity is not None and (identity == read_from or identity == made.hex()):
                    runs = skims.setdefault(name_dataset(campaign, step, output), {})
                    if key not in runs or runs[key][0] < version:
                        runs[key] = (version, recipe, *counts)
    return [_sum(skims, made_by) for skims in found]


def _sum(
    skims: Mapping[str, Mapping[int, tuple[Any, ...]]], made_by: Mapping[int, Mapping[str, Any]]
) -> tuple[SkimRate, ...]:
    """The rates of skims, of which each has the version, the recipe and the events read and kept of its runs."""
    sums: dict[tuple[str, str], list[int]] = {}
    how: dict[tuple[str, str], set[int]] = {}
    for dataset, runs in skims.items():
        for _, recipe, read, kept in runs.values():
            key = (dataset, made_by[recipe]["skim"])
            how.setdefault(key, set()).add(recipe)
            total = sums.setdefault(key, [0, 0, 0, 0])
            if read is None or kept is None:
                total[1] += 1
            else:
                total[0] += 1
                total[2] += read
                total[3] += kept
    return _bound(sums, {key: [made_by[one] for one in sorted(found)] for key, found in how.items()})


def _read_skims(connection: Connection) -> dict[int, Mapping[str, Any]]:
    """Number of a recipe → what it says of its output, for all recipes of skims."""
    query = select(recipes.c.id, recipes.c.content)
    found = {number: json.loads(content)["output"] for number, content in connection.execute(query)}
    return {number: output for number, output in found.items() if "skim" in output}


def _bound(
    sums: Mapping[tuple[str, str], list[int]], how: Mapping[tuple[str, str], list[Mapping[str, Any]]]
) -> tuple[SkimRate, ...]:
    keys = sorted(sums)
    counts = np.array([sums[key] for key in keys], dtype=np.int64).reshape(-1, 4)
    low, high = bound_rates(counts[:, 3], counts[:, 2], ONE_SIGMA)
    found = []
    for key, *ends in zip(keys, low.tolist(), high.tolist(), strict=True):
        runs, uncounted, read, kept = sums[key]
        interval = (None, None, None) if math.isnan(ends[0]) else (kept / read, *ends)
        stated = [{name: one[name] for name in one if name not in ("level", "skim")} for one in how[key]]
        selects = tuple(one for place, one in enumerate(stated) if one not in stated[:place])
        found.append(SkimRate(*key, selects, runs, uncounted, read, kept, *interval))
    return tuple(found)
