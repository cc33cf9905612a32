"""What people wait for: CPU time of whole commands, beside a floor that is measured in the same run.

A machine may be slow, or shared with others: the ratio to the floor is what counts. Each command runs five times, in turn with
its floor; the medians are shown.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from ci.cli.console import make_table
from tests.bench.world import declare, write_run_list

TIMES = 5
ROOT = Path(__file__).parents[2]

PLAIN_IMPORT = """\
import csv, sqlite3, sys
with open(sys.argv[1], newline="") as stream, sqlite3.connect(sys.argv[2]) as plain:
    rows = csv.reader(stream)
    columns = next(rows)
    plain.execute("DROP TABLE IF EXISTS runs")
    plain.execute(f"CREATE TABLE runs ({', '.join(columns)}, UNIQUE (experiment, run))")
    plain.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * len(columns))})", rows)
"""


def measure_waiting() -> Table:
    """CPU time of what people wait for, and its ratio to the floor."""
    columns = ("what", "CPU / s", "the floor", "its CPU / s", "ratio")
    table = make_table(*columns, title="What people wait for", numbers=("CPU / s", "its CPU / s", "ratio"))

    def add(what: str, floor: str, works: Sequence[float], floors: Sequence[float]) -> None:
        work, least = median(works), median(floors)
        table.add_row(what, f"{work:.2f}", floor, f"{least:.2f}", f"{work / least:.1f}")

    with tempfile.TemporaryDirectory() as name:
        _measure_import(Path(name), add)
    return table


def _measure_import(folder: Path, add: Callable[[str, str, Sequence[float], Sequence[float]], None]) -> None:
    listed, state = folder / "runs.csv", folder / "state"
    write_run_list(listed, 1_000_000)
    checkout = make_checkout(folder)
    plain, first, again = [], [], []
    for _ in range(TIMES):
        plain.append(clock(sys.executable, "-c", PLAIN_IMPORT, listed, folder / "plain.sqlite"))
        shutil.rmtree(state, ignore_errors=True)
        for times in (first, again):
            times.append(call(checkout, "--state", state, "runs", "import", listed))
    floor = "csv and sqlite3, nothing judged"
    add("1,000,000 runs from a list", floor, first, plain)
    add("the same list again", floor, again, plain)


def make_checkout(folder: Path) -> Path:
    """A checkout of a small repository in a folder."""
    checkout = folder / "checkout"
    for file, content in declare(10).items():
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).write_bytes(content)
    return checkout


def call(checkout: Path, *arguments: str | Path) -> float:
    """CPU seconds of a command of b2prod."""
    return clock(sys.executable, "-m", "ci.entry", "--root", checkout, *arguments)


def clock(*command: str | Path) -> float:
    """CPU seconds of a command, as its user's and in the kernel; modules are compiled before."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
