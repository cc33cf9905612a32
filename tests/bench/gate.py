"""What it costs to prove a lock: once before its first launch, and of its runs again in every plan."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.table import Table
from sqlalchemy import insert

from ci.cli.tables import make_table
from reconciler.ledger.schema.tables import runs
from reconciler.ledger.store.database import State, opened, reading
from reconciler.planning.pinning import pin_campaign
from reconciler.planning.resolution import refute
from reconciler.run_catalogue.run_selection import find_foreign, select_runs
from tests.bench.world import EXPERIMENT, NAME, load


def measure_gate(count: int = 1_000_000) -> Table:
    """CPU time of proving a lock of so many runs: all of them, and every second one, which is as ragged as a lock can be."""
    columns = ("what", "runs", "ranges", "CPU / s")
    table = make_table(*columns, title="The gate: a lock is proven", numbers=columns[1:])
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder))
        with opened(state) as engine, engine.begin() as connection:
            kinds = ("physics", "cosmic")
            rows = [
                {"experiment": EXPERIMENT, "run": run, "type": kinds[run % 2]} for run in range(1, count + 1)
            ]
            connection.execute(insert(runs), rows)
        repository = load(Path(folder), count)
        plain = repository.campaigns[NAME]
        for what, types in (("no types asked for", ()), ("every second run is of its type", ("physics",))):
            (selector,) = plain.campaign.selectors
            campaign = replace(plain.campaign, selectors=(replace(selector, types=types),))
            with reading(state) as connection:
                declared = replace(plain, campaign=campaign)
                keys = select_runs(connection, campaign.selectors[0])
                lock = pin_campaign(declared, repository, keys)
                declared = replace(declared, lock=lock)
                shape = (f"{len(lock.runs):,}", f"{len(lock.runs.intervals):,}")
                for when, work in (
                    ("before its first launch", partial(refute, connection, declared, repository)),
                    ("in every plan", partial(find_foreign, connection, campaign, lock)),
                ):
                    table.add_row(f"{what}, {when}", *shape, f"{_clock(work):.2f}")
    return table


def _clock(work: Callable[[], object]) -> float:
    begun = time.process_time()
    found = work()
    used = time.process_time() - begun
    assert not found, found
    return used
