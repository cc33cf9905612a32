"""Has anything become twice as slow? `nox -s bench -- guard`: a few ratios to floors, beside those that are recorded.

A ratio is to something that is measured in the same minute on the same machine, and twice the recorded one is the limit: this finds
a mistake in the mechanism, not a percent. `nox -s bench -- guard record` writes the ratios of today into `recorded.toml`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tomllib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ci.cli.tables import make_table, print_table
from tests.bench.planning import compare_plans
from tests.bench.waiting import ROOT, call, clock, write_jobs
from tests.bench.watching import Watch

RECORDED = Path(__file__).with_name("recorded.toml")
LIMIT = 2.0
TIMES = 3
RUNS = 100_000


def measure_check() -> float:
    """A check of this repository, to the import of click and rich."""
    pairs = [(call(ROOT, "check"), clock(sys.executable, "-c", "import click, rich")) for _ in range(TIMES)]
    return median(check / floor for check, floor in pairs)


def measure_jobs() -> float:
    """Job JSONs, to the same written by json alone."""
    ratios = []
    for _ in range(TIMES):
        begun = time.process_time()
        written = deque(write_jobs(RUNS // 4), maxlen=1)[0]
        used = time.process_time() - begun
        rendered = json.loads(written)
        begun = time.process_time()
        for _ in range(RUNS // 4):
            json.dumps(rendered, sort_keys=True).encode()
        ratios.append(used / (time.process_time() - begun))
    return median(ratios)


def measure_plan(form: str, label: str) -> float:
    """A plan, to an anti-join in SQLite over as many keys."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = compare_plans(Path(folder), RUNS, form, label, TIMES)
    return median(plan["cpu"] / join["cpu"] for plan, join in pairs)


def measure_quiet_turn() -> float:
    """A turn of --watch in which nothing moved, to the turn that planned all."""
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder), RUNS // 4)
        whole = watch.turn()
        return watch.time_quiet_turn() / whole


MEASURED: dict[str, Callable[[], float]] = {
    "check / import of click and rich": measure_check,
    "job JSONs / json alone": measure_jobs,
    "plan, 3 outputs, nothing to do / anti-join": lambda: measure_plan("3 outputs", "nothing"),
    "plan, 3 outputs, a tenth to do / anti-join": lambda: measure_plan("3 outputs", "a tenth"),
    "plan, 2 steps, nothing to do / anti-join": lambda: measure_plan("2 steps", "nothing"),
    "quiet turn / turn that plans all": measure_quiet_turn,
}


def guard(*, record: bool) -> bool:
    """Prints the ratios. Returns whether none is too large; with `record`, they become the recorded ones."""
    known = tomllib.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    table = make_table("ratio", "now", "recorded", "", title="Ratios to floors", numbers=("now", "recorded"))
    found = {}
    sound = True
    for name, measure in MEASURED.items():
        found[name] = now = round(measure(), 3)
        before = known.get(name)
        slow = before is None or now > LIMIT * before
        sound &= not slow
        table.add_row(
            name, f"{now:.3f}", "" if before is None else f"{before:.3f}", "too slow" if slow else ""
        )
    print_table(table)
    if record:
        RECORDED.write_text("".join(f'"{name}" = {ratio}\n' for name, ratio in found.items()))
    return sound or record
