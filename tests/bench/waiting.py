"""What people wait for: CPU time of whole commands, beside a floor that is measured in the same run.

A machine may be slow, or shared with others: the ratio to the floor is what counts. Each command runs five times, in turn with
its floor; the medians are shown.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from ci.cli.tables import make_table
from renderer.jobs.job_json import InputFile, StepJobs, divide_input
from schemas.manifest.runs import run_key
from tests.bench.world import NAME, declare, load_repository, prepare, write_run_list

TIMES = 5
UNITS = 10
CAMPAIGNS = 100
Add = Callable[[str, str, Sequence[float], Sequence[float]], None]
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
        table.add_row(what, f"{work:.3f}", floor, f"{least:.3f}", f"{work / least:.2f}")

    with tempfile.TemporaryDirectory() as name:
        _measure_import(Path(name), add)
        _measure_units(Path(name), add)
        _measure_commands(Path(name), add)
    _measure_jobs(add)
    return table


def _measure_commands(folder: Path, add: Add) -> None:
    """A plan of a small repository, a check of this one, and what each further campaign costs in a check."""
    small = make_checkout(folder / "small")
    prepare(folder, 10, 1.0)
    (small / f"productions/campaigns/{NAME}/campaign.lock").write_bytes(
        (folder / "campaign.lock").read_bytes()
    )
    large = make_checkout(folder / "large")
    campaign = (large / f"productions/campaigns/{NAME}/campaign.yaml").read_bytes()
    for number in range(CAMPAIGNS):
        (large / f"productions/campaigns/more{number}").mkdir()
        (large / f"productions/campaigns/more{number}/campaign.yaml").write_bytes(campaign)
    imports, plans, checks, further = [], [], [], []
    for _ in range(TIMES):
        imports.append(clock(sys.executable, "-c", "import click, rich"))
        plans.append(call(small, "--state", folder, "plan"))
        checks.append(call(ROOT, "check"))
        further.append((call(large, "check") - call(small, "check")) / CAMPAIGNS)
    add("a plan of a small repository", "import click, rich", plans, imports)
    add("a check of this repository", "import click, rich", checks, imports)
    add("a check of each further campaign", "import click, rich", further, imports)


def _measure_jobs(add: Add) -> None:
    """Job JSONs of a campaign with three outputs, in this process."""
    works, floors = [], []
    for _ in range(TIMES):
        begun = time.process_time()
        written = deque(write_jobs(100_000), maxlen=1)[0]
        works.append(time.process_time() - begun)
        rendered = json.loads(written)
        begun = time.process_time()
        for _ in range(100_000):
            json.dumps(rendered, sort_keys=True).encode()
        floors.append(time.process_time() - begun)
    add("100,000 job JSONs", "json alone writes one as often", works, floors)


def write_jobs(count: int) -> Iterator[bytes]:
    """So many job JSONs of a campaign with three outputs."""
    repository = load_repository()
    campaign = repository.campaigns["proc7"].campaign
    (step,), site = campaign.steps, repository.sites[campaign.site]
    fingerprints = {output: bytes(32) for output in step.outputs}
    jobs = StepJobs(campaign, step, repository, site)
    for number in range(count):
        name = f"physics.0003.{number:05d}.HLT1.f00000.root"
        file = InputFile(name, f"/raw/{name}", 10**9, f"adler32:{number:08x}")
        (job,) = divide_input(step, [file])
        yield jobs.write(run_key(3, number), job, fingerprints)


def _measure_units(folder: Path, add: Add) -> None:
    units, floors = [], []
    for turn in range(TIMES):
        floors.append(clock(sys.executable, "-c", "import uproot"))
        place = folder / f"units {turn}"
        place.mkdir()
        command = [sys.executable, "-m", "tests.bench.units", place, str(UNITS)]
        units.append(float(run(*command)))
    what = f"one uproot unit of a thousand events on engine local, of {UNITS}"
    add(what, 'python -c "import uproot"', units, floors)


def _measure_import(folder: Path, add: Add) -> None:
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


def make_checkout(folder: Path, count: int = 10, *, chained: bool = False) -> Path:
    """A checkout in a folder of a repository whose campaign takes `count` runs."""
    checkout = folder / "checkout"
    for file, content in declare(count, chained).items():
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).write_bytes(content)
    return checkout


def call(checkout: Path, *arguments: str | Path) -> float:
    """CPU seconds of a command of b2prod."""
    return clock(sys.executable, "-m", "ci.entry", "--root", checkout, *arguments)


def run(*command: str | Path) -> str:
    """What a command prints; modules are compiled before."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    return done.stdout


def clock(*command: str | Path) -> float:
    """CPU seconds of a command, as its user's and in the kernel."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
