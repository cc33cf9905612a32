"""`nox -s bench`: wall time, CPU time and peak memory of a plan, each in a process of its own; then payload sets.

The arguments are numbers of runs; 10,000 and 100,000 when there are none. Payload sets are always those of a million.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.table import Table

from ci.console import make_table, print_table
from ci.plan_text import format_plan
from reconciler.database import State, reading
from reconciler.gathering import take_picture
from renderer.payloads import digest_runs
from schemas.runs import run_key
from tests.bench.world import NAME, load, make_tag, prepare

SHARES = {"nothing": 0.0, "a tenth": 0.1, "all": 1.0}


def measure(folder: Path, count: int) -> dict[str, float]:
    """Plans once, from the manifests to the text; times in seconds, memory in MB."""
    wall, cpu = time.perf_counter(), time.process_time()
    state = State(folder)
    repository = load(folder, count)
    with reading(state) as connection:
        picture = take_picture(connection, repository, [NAME], state)
    text = format_plan(picture.plan)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "start": cpu,
        "memory": read_peak(),
        "size": len(text),
    }


def read_peak() -> float:
    """This process's peak resident memory in MB; getrusage would count its parent's before the exec."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def main(arguments: list[str]) -> None:
    """Prepares each world, and plans in a fresh process."""
    if arguments[:1] == ["--measure"]:
        print(json.dumps(measure(Path(arguments[1]), int(arguments[2]))))
        return
    table = make_table(
        "runs",
        "to do",
        "wall / s",
        "CPU / s",
        "imports / s",
        "peak / MB",
        title="A plan of one campaign with three outputs a unit",
        numbers=("runs", "wall / s", "CPU / s", "imports / s", "peak / MB"),
    )
    for count in map(int, arguments or ("10000", "100000")):
        for label, left in SHARES.items():
            with tempfile.TemporaryDirectory() as folder:
                prepare(Path(folder), count, left)
                command = [sys.executable, "-m", "tests.bench", "--measure", folder, str(count)]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            figures = (found["wall"], found["cpu"], found["start"])
            table.add_row(
                f"{count:,}", label, *(f"{value:.2f}" for value in figures), f"{found['memory']:.0f}"
            )
    print_table(table)
    print_table(measure_payloads())


def measure_payloads() -> Table:
    """CPU time of the payload sets of a million runs, by the number of IoVs of the tag."""
    columns = ("IoVs", "payloads", "runs", "sets", "CPU / s")
    table = make_table(*columns, title="Payload sets by run", numbers=columns)
    runs = [run_key(experiment, run) for experiment in range(100) for run in range(10_000)]
    for payloads, each in ((500, 10), (500, 100), (5000, 10)):
        tag = make_tag(payloads, each, runs)
        begun = time.process_time()
        sets = len(set(digest_runs((tag,), runs)))
        used = time.process_time() - begun
        counts = (len(tag.iovs), payloads, len(runs), sets)
        table.add_row(*(f"{count:,}" for count in counts), f"{used:.2f}")
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
