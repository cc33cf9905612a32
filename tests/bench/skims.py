"""The skim of a flat tree, beside a copy of the same tree by uproot alone: events a second of CPU time, and peak memory.

Each is done in a process of its own, which begins at `python -m tests.bench.skims`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uproot
from rich.table import Table

from ci.cli.tables import make_table
from renderer.skimming import skim

ROWS = 1_000_000
COLUMNS = 20
SHARES = {"nothing": -1.0, "one in a thousand": 0.001, "a tenth": 0.1, "all": 2.0}


def make_sample(path: Path, rows: int, basket: int) -> None:
    """A run of so many events with twenty variables, in baskets of so many events as ROOT fills them."""
    dice = np.random.default_rng(1)
    kinds = {f"v{number}": np.dtype(np.float32 if number % 2 else np.float64) for number in range(COLUMNS)}
    identity = {"experiment": np.dtype(np.int32), "run": np.dtype(np.int32), "event": np.dtype(np.uint32)}
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("tree", {**identity, **kinds})
        for start in range(0, rows, basket):
            events = np.arange(start, min(start + basket, rows))
            values = {name: dice.random(len(events)).astype(kind) for name, kind in kinds.items()}
            tree.extend({"experiment": events * 0 + 3, "run": events * 0 + 529, "event": events, **values})


def work(what: str, source: Path, folder: Path) -> None:
    """Does one thing, and prints what it cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    if what == "copy":
        with (
            uproot.open(source) as given,
            uproot.recreate(folder / "copy.root", compression=uproot.ZLIB(1)) as file,
        ):
            tree = given["tree"]
            copy = file.mktree("tree", {one.name: one.interpretation.to_dtype for one in tree.branches})
            for part in tree.iterate(step_size="32 MB", library="np"):
                copy.extend(part)
    else:
        job = {
            "experiment": 3,
            "run": 529,
            "inputs": [{"name": source.name, "path": str(source)}],
            "outputs": [{"skim": "some", "file": "some.root"}],
            "skims": {"some": {"cut": f"v1 < {SHARES[what]}"}},
        }
        if failure := skim(job, folder)["failure"]:
            raise ValueError(failure["message"])
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "memory": peak}
    print(json.dumps(found))


def measure_skims() -> Table:
    """Skims that keep all 23 branches of what they accept, beside a copy of the tree by uproot alone."""
    columns = ("accepted", "wall / s", "CPU / s", "CPU of a copy", "events / s of CPU", "peak / MB")
    table = make_table(
        *columns, title=f"A skim of {ROWS:,} events with {COLUMNS} variables", numbers=columns[1:]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sample(folder / "in.root", ROWS, 4000)
        copied = 0.0
        for what in ("copy", *SHARES):
            command = [sys.executable, "-m", "tests.bench.skims", what, str(folder / "in.root"), name]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            copied = copied or found["cpu"]
            table.add_row(
                "(a copy by uproot)" if what == "copy" else what,
                f"{found['wall']:.1f}",
                f"{found['cpu']:.1f}",
                f"{found['cpu'] / copied:.2f}",
                f"{ROWS / found['cpu']:,.0f}",
                f"{found['memory']:.0f}",
            )
    return table


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
