"""Datasets: fifty with a million files, listed, and the files of one of them, beside a plain read of as many rows.

Each is done in a process of its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from rich.table import Table
from sqlalchemy import insert

from ci.cli.tables import make_table
from reconciler.ledger.reading.dataset_sums import count_sums
from reconciler.ledger.schema.file_tables import dataset_sums
from reconciler.ledger.schema.rows import insert_rows
from reconciler.ledger.schema.tables import attempts, intents, jobs, outputs, plans, products, recipes
from reconciler.ledger.store.database import State, opened
from tests.support.worlds.measurement import measure

CHECKOUT = Path(__file__).parents[2]
DATASETS, RUNS = 50, 20_000


def prepare(folder: Path) -> None:
    """A state with so many datasets of so many runs, of one file each."""
    units = [(f"made{number}", "reco", 7, run) for number in range(DATASETS) for run in range(RUNS)]
    unit = ("campaign", "step", "experiment", "run")
    recipe = json.dumps({"output": {"level": "mdst"}}).encode()
    attempt = {
        "id": 1,
        "job": 1,
        "number": 1,
        "name": "a",
        "nonce": "n",
        "site": "local",
        "state": "verified",
    }
    alike = {"recipe": 1, "input": "i", "state": "produced", "version": 1, "storage": "/data", "events": 1000}
    with opened(State(folder)) as engine, engine.begin() as connection:
        connection.execute(insert(plans).values(digest="p", content=b"", begun="", ended="", serial=0))
        connection.execute(insert(recipes).values(id=1, digest="r", content=recipe))
        columns = ("id", *unit, "plan", "state")
        rows = ((key, *one, "p", "produced") for key, one in enumerate(units, 1))
        insert_rows(connection, intents, columns, rows)
        connection.execute(insert(jobs).values(id=1, intent=1, key="whole", failures=0, due="{}"))
        connection.execute(insert(attempts).values(**attempt, begun="", ended="", fence=1, absences=0))
        columns = ("id", "intent", *unit, "output", "fingerprint", "folder", *alike)
        rows = (
            (key, key, *one, "mdst", key.to_bytes(32, "big"), "/".join(map(str, one)), *alike.values())
            for key, one in enumerate(units, 1)
        )
        insert_rows(connection, outputs, columns, rows)
        columns = ("output", "path", "attempt", "size", "checksum", "events", "kind")
        some = ("mdst.root", 1, 10**9, "adler32:00000000", 1000, "events")
        insert_rows(connection, products, columns, ((key, *some) for key in range(1, len(units) + 1)))
        connection.execute(insert(dataset_sums), count_sums(connection))


def measure_datasets() -> Table:
    """CPU time and peak memory of the list of all datasets, and of the files of one."""
    columns = ("what", "rows", "CPU / s", "peak / MB")
    table = make_table(*columns, title="Datasets: fifty with a million files", numbers=columns[1:])
    b2prod = Path(sys.executable).with_name("b2prod")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        os.environ["B2PROD_STATE"] = name
        for rows, *words in (
            (0, "--version"),
            (DATASETS, "dataset", "list"),
            (RUNS, "dataset", "files", "made7/reco/mdst"),
        ):
            code, used, peak = measure(str(b2prod), "--root", str(CHECKOUT), *words)
            assert code == 0, words
            table.add_row(" ".join(words[:2]), f"{rows:,}", f"{used:.2f}", f"{peak / 2**20:.0f}")
        begun = time.process_time()
        with closing(sqlite3.connect(folder / "b2prod.sqlite")) as plain:
            columns = "run, path, size, checksum FROM outputs JOIN products ON products.output = outputs.id"
            plain.execute(f"SELECT {columns} WHERE campaign = 'made7' ORDER BY run").fetchall()
        table.add_row("the same rows, by sqlite3", f"{RUNS:,}", f"{time.process_time() - begun:.2f}", "")
    return table
