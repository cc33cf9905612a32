"""Plans of many runs, each in a process of its own: CPU time and peak memory, beside a floor that is measured in the same run.

`python -m tests.bench.planning [RUNS [TIMES]]`; a million runs, three times, when nothing is said. The floor is what SQLite needs to
find which of the same keys are not produced: as many keys of 32 bytes as the campaign has outputs, declared in one table and
produced in another one with an index.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from rich.table import Table

from ci.cli.tables import make_table, print_table
from ci.reports.plan import format_plan
from reconciler.ledger.store.database import State, reading
from reconciler.planning.views import read_state_view
from tests.bench.world import NAME, OUTPUTS, load, prepare

SHARES = {"nothing": 0.0, "a tenth": 0.1, "all": 1.0}
FORMS = {"3 outputs": len(OUTPUTS), "2 steps": 2}
"""What the campaign makes of a run → how many outputs these are."""
KEY = 32
Figures = dict[str, float]


def measure_planning(count: int = 1_000_000, times: int = 3) -> Table:
    """A plan's CPU time and peak memory, and the ratio to the floor's; medians, each plan in turn with its floor."""
    columns = ("CPU / s", "peak / MB", "anti-join / s", "ratio")
    table = make_table(
        *("runs", "with", "to do", *columns), title="A plan of one campaign", numbers=("runs", *columns)
    )
    for form in FORMS:
        for label in SHARES:
            with tempfile.TemporaryDirectory() as folder:
                pairs = compare_plans(Path(folder), count, form, label, times)
            cpu, memory = (median(plan[name] for plan, _ in pairs) for name in ("cpu", "memory"))
            floor = median(one["cpu"] for _, one in pairs)
            ratio = median(plan["cpu"] / one["cpu"] for plan, one in pairs)
            cells = (f"{cpu:.2f}", f"{memory:.0f}", f"{floor:.2f}", f"{ratio:.2f}")
            table.add_row(f"{count:,}", form, label, *cells)
    return table


def compare_plans(
    folder: Path, count: int, form: str, label: str, times: int
) -> list[tuple[Figures, Figures]]:
    """The figures of as many plans, each with those of the floor that was measured after it; the state is made in `folder`."""
    prepare(folder, count, SHARES[label], chained=form == "2 steps")
    keys = count * FORMS[form]
    return [(_start("plan", folder, count, form), _start("join", folder, keys)) for _ in range(times)]


def _start(*arguments: object) -> Figures:
    """The figures of a part of this module that runs in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.planning", *map(str, arguments)]
    found: Figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def measure_plan(folder: Path, count: int, form: str) -> Figures:
    """Plans once, from the manifests to the text; CPU time in seconds without imports, memory in MB."""
    begun = time.process_time()
    state = State(folder)
    repository = load(folder, count, chained=form == "2 steps")
    with reading(state) as connection:
        state_view = read_state_view(connection, repository, [NAME], state)
    text = format_plan(state_view.plan)
    used = time.process_time() - begun
    return {"cpu": used, "memory": read_peak(), "size": len(text)}


def measure_join(folder: Path, count: int) -> Figures:
    """Asks SQLite which of so many declared keys are not produced; all are. The tables are in memory, and only the query counts."""
    file = folder / "keys.sqlite"
    with closing(sqlite3.connect(file)) as kept, closing(sqlite3.connect(":memory:")) as plain:
        if not kept.execute("SELECT * FROM sqlite_master").fetchall():
            _write_keys(kept, count)
        kept.backup(plain)
        begun = time.process_time()
        (absent,) = plain.execute(
            "SELECT count(*) FROM declared WHERE NOT EXISTS (SELECT 1 FROM produced WHERE produced.key = declared.key)"
        ).fetchone()
        return {"cpu": time.process_time() - begun, "memory": read_peak(), "size": absent}


def _write_keys(kept: sqlite3.Connection, count: int) -> None:
    drawn = random.Random(1).randbytes(KEY * count)
    keys = [(drawn[place : place + KEY],) for place in range(0, len(drawn), KEY)]
    kept.execute("CREATE TABLE declared (key BLOB NOT NULL)")
    kept.executemany("INSERT INTO declared VALUES (?)", keys)
    kept.execute("CREATE TABLE produced (key BLOB PRIMARY KEY) WITHOUT ROWID")
    kept.executemany("INSERT INTO produced VALUES (?)", sorted(keys))
    kept.commit()


def read_peak() -> float:
    """This process's peak resident memory in MB; getrusage would count its parent's before the exec."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def main(arguments: list[str]) -> None:
    match arguments:
        case ["plan", folder, count, form]:
            print(json.dumps(measure_plan(Path(folder), int(count), form)))
        case ["join", folder, count]:
            print(json.dumps(measure_join(Path(folder), int(count))))
        case _:
            print_table(measure_planning(*map(int, arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
