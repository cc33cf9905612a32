"""`nox -s bench`: plans; payload sets; the catalogue; the gate; publishing; skims; datasets; what people wait for; turns of --watch.

The arguments are numbers of runs of the plans, a million when there are none. Or they are the name of a part: `waiting`; `peers`, what
other tools need; `guard`, whether anything became twice as slow.
"""

from __future__ import annotations

import csv
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from rich.table import Table

from ci.cli.tables import make_table, print_table
from ci.reports.campaign_diff import format_difference
from reconciler.ledger.store.database import State, opened, reading
from reconciler.planning.campaign_diff.comparison import compare_campaigns
from reconciler.planning.campaign_diff.inputs import read_both
from reconciler.run_catalogue.lists.run_lists import RunList, collect_runs
from reconciler.run_catalogue.run_import import import_run_list
from reconciler.run_catalogue.run_selection import select_runs
from renderer.identity.payloads import digest_runs
from renderer.steering import load_templates
from schemas.manifest.campaign import Selector
from schemas.manifest.runs import RunRange, run_key
from schemas.repository import read_repository
from tests.bench.datasets import measure_datasets
from tests.bench.gate import measure_gate
from tests.bench.guard import guard
from tests.bench.peers import measure_peers
from tests.bench.planning import measure_planning, read_peak
from tests.bench.publishing import measure_publishing
from tests.bench.schemes import measure_schemes
from tests.bench.skims import measure_skims
from tests.bench.waiting import measure_waiting, write_jobs
from tests.bench.watching import measure_watching
from tests.bench.world import (
    EXPERIMENT,
    NAME,
    declare,
    make_tag,
    prepare,
    write_run_list,
)


def main(arguments: list[str]) -> None:
    """Prints one table after the other."""
    if arguments == ["waiting"]:
        print_table(measure_waiting())
        return
    if arguments[:1] == ["peers"]:
        print_table(measure_peers([*map(int, arguments[1:] or ("1000", "10000"))]))
        return
    if arguments[:1] == ["guard"]:
        sys.exit(0 if guard(record="record" in arguments) else 1)
    for count in map(int, arguments or ("1000000",)):
        print_table(measure_planning(count))
    print_table(measure_payloads())
    print_table(measure_catalogue())
    print_table(measure_renders())
    print_table(measure_difference())
    print_table(measure_gate())
    print_table(measure_schemes())
    print_table(measure_publishing())
    print_table(measure_skims())
    print_table(measure_datasets())
    print_table(measure_waiting())
    print_table(measure_watching())


def measure_difference() -> Table:
    """CPU time of the difference of two campaigns of as many runs, from the catalogue to the text."""
    columns = ("runs", "gather / s", "compare / s", "text / s")
    table = make_table(
        *columns, title="The difference of two campaigns with three outputs a unit", numbers=columns
    )
    for count in (10_000, 100_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, count, 1.0)
            tree = declare(count)
            text = tree[f"productions/campaigns/{NAME}/campaign.yaml"]
            tree["productions/campaigns/other/campaign.yaml"] = text.replace(b"local", b"local\nreuse: never")
            repository, _ = read_repository(tree, load_templates())
            pair = [repository.campaigns[one] for one in (NAME, "other")]
            times = [time.process_time()]
            one, other, basis = read_both(State(folder), repository, *pair)
            times.append(time.process_time())
            difference = compare_campaigns(one, other)
            times.append(time.process_time())
            format_difference(difference, basis)
            times.append(time.process_time())
        table.add_row(f"{count:,}", *(f"{after - before:.2f}" for before, after in pairwise(times)))
    return table


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


def measure_renders() -> Table:
    """CPU time and peak memory of the job JSONs of a campaign with three outputs, rendered, validated and written out."""
    columns = ("jobs", "MB written", "CPU / s", "peak / MB")
    table = make_table(*columns, title="Job JSONs of a campaign with three outputs", numbers=columns)
    for count in (613, 100_000):
        begun, size = time.process_time(), 0
        for written in write_jobs(count):
            size += len(written)
        used = time.process_time() - begun
        table.add_row(f"{count:,}", f"{size / 1e6:.1f}", f"{used:.2f}", f"{read_peak():.0f}")
    return table


def measure_catalogue() -> Table:
    """CPU time of a million runs into the catalogue, from a list, and out of it, by selectors.

    The ratios are to what the standard library needs to read the same list and to write it to SQLite as it is.
    """
    columns = ("what", "runs", "CPU / s", "ratio")
    table = make_table(*columns, title="The run catalogue of a million runs", numbers=columns[1:])
    count = 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        state, file = State(Path(folder)), Path(folder, "runs.csv")
        write_run_list(file, count)
        with opened(state):
            pass
        reference = 0.0

        def add(what: str, work: Callable[[], int]) -> float:
            begun = time.process_time()
            found = work()
            used = time.process_time() - begun
            table.add_row(what, f"{found:,}", f"{used:.2f}", f"{used / (reference or used):.2f}")
            return used

        def copy() -> int:
            with (
                closing(sqlite3.connect(Path(folder, "plain.sqlite"))) as plain,
                file.open(newline="") as stream,
            ):
                rows = csv.reader(stream)
                columns = next(rows)
                plain.execute(f"CREATE TABLE runs ({', '.join(columns)}, UNIQUE (experiment, run))")
                marks = ", ".join("?" * len(columns))
                number = plain.executemany(f"INSERT INTO runs VALUES ({marks})", rows).rowcount
                plain.commit()
            return number

        def bring() -> int:
            found, refused = collect_runs(RunList(file))
            with opened(state) as engine:
                import_run_list(engine, file.name, found, refused, "2019-01-01T00:00:00Z")
            return len(found)

        def choose(selector: Selector) -> int:
            with reading(state) as connection:
                return len(select_runs(connection, selector))

        every = (RunRange(1, count),)
        reference = add("csv and sqlite3 alone, nothing judged", copy)
        add("import of a list", bring)
        add("the same list again", bring)
        add("selection: all", lambda: choose(Selector(EXPERIMENT, every)))
        narrow = Selector(
            EXPERIMENT, every, types=("physics",), quality=("good",), min_events=5000, min_minutes=5
        )
        add("selection: by type, quality, events, length", lambda: choose(narrow))
        scattered = tuple(RunRange(first, first + 50) for first in range(1, count, 100))
        add("selection: 10,000 ranges", lambda: choose(Selector(EXPERIMENT, scattered)))
        add("selection: open", lambda: choose(Selector(EXPERIMENT, first=1, max_runs=count)))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
