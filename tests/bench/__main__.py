"""`nox -s bench`: wall time, CPU time and peak memory of a plan, each in a process of its own.

The arguments are numbers of runs; 10,000 and 100,000 when there are none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ci.console import make_table, print_table
from ci.plan_text import format_plan
from reconciler.database import State, reading
from reconciler.gathering import take_picture
from tests.bench.world import NAME, load, prepare

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


if __name__ == "__main__":
    main(sys.argv[1:])
