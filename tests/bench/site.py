"""The static site of many runs and ten campaigns: how long it takes to write, how large it is, and how soon a browser shows the runs.

`python -m tests.bench.site [RUNS]`, a hundred thousand when nothing is said. A tenth of the units are to be made; half of the campaigns
have luminosity. The verb runs in a process of its own; the second time nothing changed.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.table import Table
from sqlalchemy import insert, select, update

from ci.cli.tables import make_table, print_table
from reconciler.ledger.reading.produced_keys import place_keys
from reconciler.ledger.schema import tables
from reconciler.ledger.schema.file_tables import produced_keys
from reconciler.ledger.schema.rows import insert_rows
from reconciler.ledger.store.database import State, opened, reading
from reconciler.model.run import Run
from reconciler.planning.resolution import resolve
from reconciler.planning.views import view_campaign
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from renderer.identity.units import StepUnits
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.repository import Repository, read_repository
from tests.bench.world import EXPERIMENT, FILES, OUTPUT_COLUMNS, make_file
from tests.support.services.browser import browsing, find_browser
from tests.support.worlds.builders import ROOT

CAMPAIGNS = 10
LEFT = 10
"""One unit of so many is to be made."""
SHOWN = "#body [role=rowheader]"
CLICKS = """query => new Promise(done => {
  const box = document.getElementById("query"), begun = performance.now();
  const found = document.getElementById("found"), before = found.textContent;
  new MutationObserver(() => done(performance.now() - begun)).observe(found, {childList: true, characterData: true, subtree: true});
  box.value = query; box.dispatchEvent(new Event("input"));
})"""


def declare(folder: Path, count: int) -> Repository:
    """Writes the manifests of the campaigns, each with a skim of its own, and reads them with their locks."""
    skims = "".join(f'  hlt_{n}: {{cut: "[nTracksLE >= {n}]"}}\n' for n in range(CAMPAIGNS))
    files = {
        **FILES,
        **{f"productions/{name}": text for name, text in ROOT.items()},
        "productions/skims/hlt.yaml": f"schema: skims/1\ntitle: Skims\nprovenance: the bench\nskims:\n{skims}",
    }
    for number in range(CAMPAIGNS):
        files[f"productions/campaigns/many{number}/campaign.yaml"] = f"""\
schema: campaign/1
title: Many runs
kind: skim
runs: [{{experiment: {EXPERIMENT}, ranges: "1-{count}"}}]
site: local
layout: plain
steps:
  skims: {{application: uproot, input: {{level: mdst}}, skims: [hlt_{number}]}}
limits: {{max_units: {2 * count}, max_restate: {count}}}
"""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return read(folder)


def read(folder: Path) -> Repository:
    """The repository of the folder."""
    repository, findings = read_repository(read_tree(folder)[0], load_templates())
    if findings:
        raise ValueError("\n".join(map(str, findings)))
    return repository


def prepare(folder: Path, count: int) -> None:
    """A checkout in `folder` with its state: all runs with a file, times and luminosity, and nine of ten units made."""
    repository, state, dice = declare(folder, count), State(folder / ".b2prod"), random.Random(1)
    begin = datetime(2019, 3, 1, tzinfo=UTC)
    runs = []
    for run in range(1, count + 1):
        start = begin + timedelta(minutes=7 * run)
        stop = start + timedelta(minutes=6)
        times = (f"{start:%FT%TZ}", f"{stop:%FT%TZ}")
        quality = "bad" if run % 50 == 0 else "good"
        runs.append(Run(EXPERIMENT, run, "physics", dice.randint(10_000, 900_000), *times, "4S", quality, 1))
    done = [place for place in range(count) if (place + 1) % LEFT]
    with opened(state) as engine:
        import_runs(engine, runs)
        import_files(engine, [make_file(run) for run in range(1, count + 1)])
        with engine.begin() as connection:
            columns = ("method", "version", "correction", "experiment", "run", "value", "statistical")
            for version in ("online", "many0"):
                rows = (
                    ("bhabha", version, "", EXPERIMENT, run, dice.uniform(100, 2000), 3.0)
                    for run in range(1, count + 1)
                )
                insert_rows(connection, tables.luminosity, columns, rows)
        with reading(state) as connection:
            for name, declared in repository.campaigns.items():
                lock, _ = resolve(connection, repository, declared)
                (folder / f"productions/campaigns/{name}/campaign.lock").write_text(lock.text())
        repository = read(folder)
        with engine.begin() as connection:
            connection.execute(insert(tables.plans).values(digest="bench", content=b"{}", begun="", serial=0))
        for place, name in enumerate(repository.campaigns):
            with reading(state) as connection:
                (units,) = view_campaign(connection, repository, name, state).units
            with engine.begin() as connection:
                _produce(connection, name, units, done, place * count + 1, str(state.folder / "data"))
        with engine.begin() as connection:
            connection.execute(
                update(tables.outputs).values(
                    produced="2019-06-01T00:00:00Z", events_read=1000, events=tables.outputs.c.run % 300
                )
            )


def _produce(connection, name: str, units: StepUnits, done: list[int], first: int, storage: str) -> None:
    unit = (name, units.step.name, EXPERIMENT)
    columns = ("plan", "state", "run", "id", "campaign", "step", "experiment")
    made = (("bench", "produced", index + 1, index + first, *unit) for index in done)
    insert_rows(connection, tables.intents, columns, made)
    (recipe,) = units.recipes
    connection.execute(insert(tables.recipes).values(digest=recipe.digest, content=b"{}"))
    query = select(tables.recipes.c.id).where(tables.recipes.c.digest == recipe.digest)
    number, values = connection.execute(query).scalar_one(), list(units.fingerprints[recipe.output])
    rows = (
        (
            *(index + first, *unit, index + 1, recipe.output, values[index], number, units.inputs[index]),
            *("produced", 1, storage, "x"),
        )
        for index in done
    )
    insert_rows(connection, tables.outputs, OUTPUT_COLUMNS, rows)
    for place, keys in place_keys(connection, tables.outputs.c.campaign == name).items():
        row = dict(zip(("campaign", "recipe", "experiment", "stretch"), place, strict=True))
        connection.execute(insert(produced_keys).values(**row, keys=b"".join(keys)))


def write(folder: Path, pages: Path) -> tuple[float, float, float, dict[str, int]]:
    """Writes the site; wall seconds, CPU seconds, peak memory in MB, and what the verb says."""
    code = (
        "import sys, resource; from ci.entry import main\n"
        "try: main()\n"
        "finally: u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime, u.ru_maxrss // 1024, file=sys.stderr)\n"
    )
    begun = time.monotonic()
    command = [sys.executable, "-c", code, "--root", str(folder), "report", "-o", str(pages), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu, memory = map(float, done.stderr.split()[-2:])
    return time.monotonic() - begun, cpu, memory, json.loads(done.stdout)


def look(pages: Path) -> dict[str, float]:
    """Seconds until a browser shows the first runs, and until it shows those of a search."""
    program = find_browser()
    if program is None:
        raise FileNotFoundError("there is no Chromium; install Debian's package `chromium`")
    with browsing(program) as browser:
        page = browser.new_page()
        begun = time.monotonic()
        page.goto((pages / "runs/index.html").as_uri())
        page.wait_for_selector(SHOWN)
        shown = time.monotonic() - begun
        found = page.evaluate(CLICKS, f"{EXPERIMENT}:500-90000, not in many3") / 1000
        begun = time.monotonic()
        page.click("#head >> text=Events")
        sorting = time.monotonic() - begun
        begun = time.monotonic()
        page.goto((pages / "runs/run.html").as_uri() + f"#{EXPERIMENT}:529")
        page.wait_for_selector("#details h2")
        return {"runs": shown, "search": found, "sort": sorting, "run": time.monotonic() - begun}


def measure_site(count: int = 100_000) -> Table:
    """What a site costs."""
    table = make_table(
        "what", "value", title=f"The site of {count:,} runs in {CAMPAIGNS} campaigns", numbers=("value",)
    )
    with tempfile.TemporaryDirectory() as folder:
        root, pages = Path(folder, "checkout"), Path(folder, "pages")
        prepare(root, count)
        for label in ("written", "written again"):
            seconds, cpu, memory, told = write(root, pages)
            table.add_row(f"{label} / s", f"{seconds:.1f}")
            table.add_row(f"{label}: CPU / s", f"{cpu:.1f}")
            table.add_row(f"{label}: peak / MB", f"{memory:.0f}")
            table.add_row(f"{label}: files changed", f"{told['changed']:,} of {told['files']:,}")
        table.add_row("all files / MB", f"{told['bytes'] / 1e6:.0f}")
        first = ("index.html", "assets/site.css", "assets/site.js", "data/site.js")
        table.add_row("first page / kB", f"{sum((pages / one).stat().st_size for one in first) / 1e3:.0f}")
        table.add_row("data of the runs / MB", f"{(pages / 'data/runs.js').stat().st_size / 1e6:.1f}")
        for name, seconds in look(pages).items():
            table.add_row(f"{name} shown / s", f"{seconds:.2f}")
    return table


if __name__ == "__main__":
    print_table(measure_site(*map(int, sys.argv[1:])))
