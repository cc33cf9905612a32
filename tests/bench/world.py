"""A campaign of many runs in a scratch state, with three outputs or two steps: nothing produced, all of it, or all but a tenth."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Connection, insert, select

from reconciler.ledger.reading.produced_keys import place_keys
from reconciler.ledger.schema import tables
from reconciler.ledger.schema.file_tables import produced_keys
from reconciler.ledger.schema.rows import insert_rows
from reconciler.ledger.store.database import State, opened, reading
from reconciler.model.run import File, Run
from reconciler.planning.resolution import resolve
from reconciler.planning.views import view_campaign
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from renderer.identity.units import StepUnits
from renderer.steering import load_templates
from schemas.conditions.snapshot import FOREVER, Iov, Snapshot
from schemas.files.tree import read_tree
from schemas.repository import Repository, read_repository

EXPERIMENT = 12
NAME = "many"
OUTPUTS = ("hlt_bhabha", "hlt_gamma_gamma", "hlt_hadron")
FILES: Mapping[str, str] = {
    "productions/layouts.yaml": """\
schema: layouts/1
layouts:
  plain: {title: Plain, folder: "{campaign}/{step}/{experiment}/{run}/{stream}/{level}/{version}"}
""",
    "productions/releases.yaml": """\
schema: releases/1
releases:
  release-03-00-00: {date: "2019-01-05"}
""",
    "productions/sites/local.yaml": "schema: site/1\ntitle: This machine\nengine: local\nstorage: data\n",
    "productions/skims/hlt.yaml": """\
schema: skims/1
title: Three skims
provenance: the bench
skims:
  hlt_bhabha: {cut: "[Bhabha2Trk == 1]"}
  hlt_gamma_gamma: {cut: "[GG == 1]"}
  hlt_hadron: {cut: "[nTracksLE >= 3]"}
""",
}


OUTPUT_COLUMNS = (
    *("intent", "campaign", "step", "experiment", "run", "output", "fingerprint", "recipe", "input"),
    *("state", "version", "storage", "folder"),
)
"""The columns of an output that a world fills."""


def declare(count: int, chained: bool = False) -> dict[str, bytes]:
    """The tree of a repository whose campaign takes `count` runs: one step with three outputs, or `chained` two with one each."""
    first, *others = OUTPUTS
    made = [first] if chained else OUTPUTS
    second = f"\n  more: {{application: uproot, input: {{step: skims, skim: {first}}}, skims: [{others[0]}]}}"
    campaign = f"""\
schema: campaign/1
title: Many runs
kind: skim
runs: [{{experiment: {EXPERIMENT}, ranges: "1-{count}"}}]
site: local
layout: plain
steps:
  skims: {{application: uproot, input: {{level: mdst}}, skims: [{", ".join(made)}]}}{second if chained else ""}
limits: {{max_units: {2 * count}, max_restate: {count}}}
"""
    return {
        name: text.encode()
        for name, text in {**FILES, f"productions/campaigns/{NAME}/campaign.yaml": campaign}.items()
    }


def load(folder: Path, count: int, chained: bool = False) -> Repository:
    """The repository, with the lock that `prepare` wrote."""
    tree = declare(count, chained)
    lock = folder / "campaign.lock"
    if lock.exists():
        tree[f"productions/campaigns/{NAME}/campaign.lock"] = lock.read_bytes()
    repository, findings = read_repository(tree, load_templates())
    if findings:
        raise ValueError("\n".join(map(str, findings)))
    return repository


def load_repository() -> Repository:
    """What this repository declares."""
    repository, findings = read_repository(read_tree(Path(__file__).parents[2])[0], load_templates())
    if findings:
        raise ValueError("\n".join(map(str, findings)))
    return repository


def make_tag(payloads: int, each: int, runs: Sequence[int]) -> Snapshot:
    """A tag of so many payloads, each with so many IoVs one behind the other, whose borders lie anywhere in `runs`."""
    dice = random.Random(1)
    iovs = []
    for number in range(payloads):
        borders = [0, *sorted(dice.sample(runs, each - 1)), FOREVER]
        for revision, (first, end) in enumerate(pairwise(borders), 1):
            iovs.append(Iov(f"Payload{number}", str(revision), f"{number:016x}{revision:016x}", first, end))
    return Snapshot("tag", "PUBLISHED", "", tuple(iovs))


def write_run_list(file: Path, count: int) -> None:
    """A table of so many runs of four minutes or longer, three quarters of them physics, with events and quality."""
    begin = datetime(2019, 1, 1, tzinfo=UTC)
    with file.open("w") as stream:
        stream.write("experiment,run,type,events,start,stop,quality\n")
        for run in range(1, count + 1):
            start = begin + timedelta(minutes=run)
            stop = start + timedelta(minutes=4 + run % 60)
            kind, quality = "cosmic" if run % 4 == 0 else "physics", "bad" if run % 10 == 0 else "good"
            stream.write(f"{EXPERIMENT},{run},{kind},{run % 20000},{start:%FT%TZ},{stop:%FT%TZ},{quality}\n")


def prepare(folder: Path, count: int, left: float, chained: bool = False) -> None:
    """Fills the state in `folder`: `count` runs with a file each, of whose units the share `left` is not produced."""
    state = State(folder)
    numbers = range(1, count + 1)
    with opened(state) as engine:
        import_runs(engine, [Run(EXPERIMENT, run, "physics", 1000) for run in numbers])
        import_files(engine, [make_file(run) for run in numbers])
        with reading(state) as connection:
            repository = load(folder, count, chained)
            lock, _ = resolve(connection, repository, repository.campaigns[NAME])
        (folder / "campaign.lock").write_text(lock.text())
        if left == 1.0:
            return
        with reading(state) as connection:
            view = view_campaign(connection, load(folder, count, chained), NAME, state)
        every = round(1 / left) if left else count + 1
        done = [place for place in range(count) if (place + 1) % every]
        with engine.begin() as connection:
            connection.execute(insert(tables.plans).values(digest="bench", content=b"{}", begun="", serial=0))
            for index in tables.outputs.indexes:  # made at the end, they take a tenth of the time
                index.drop(connection)
            for place, units in enumerate(view.units):
                _produce(connection, units, done, place * count + 1, str(folder / "data"))
            for index in tables.outputs.indexes:
                index.create(connection)
            for place, keys in place_keys(connection, tables.outputs.c.campaign == NAME).items():
                row = dict(zip(("campaign", "recipe", "experiment", "stretch"), place, strict=True))
                connection.execute(insert(produced_keys).values(**row, keys=b"".join(keys)))


def _produce(connection: Connection, units: StepUnits, done: Sequence[int], first: int, storage: str) -> None:
    """Writes what some units of a step made, unit by unit as the reconciler does. `first` is the number of the first intent."""
    unit = (NAME, units.step.name, EXPERIMENT)
    made = (("bench", "produced", index + 1, index + first, *unit) for index in done)
    insert_rows(
        connection,
        tables.intents,
        ("plan", "state", "run", "id", "campaign", "step", "experiment"),
        made,
    )
    columns = []
    for recipe in units.recipes:
        connection.execute(insert(tables.recipes).values(digest=recipe.digest, content=b"{}"))
        query = select(tables.recipes.c.id).where(tables.recipes.c.digest == recipe.digest)
        number = connection.execute(query).scalar_one()
        columns.append((recipe.output, number, list(units.fingerprints[recipe.output])))
    rows = (
        (
            *(index + first, *unit, index + 1, output, column[index], number, units.inputs[index]),
            *("produced", 1, storage, "x"),
        )
        for index in done
        for output, number, column in columns
    )
    insert_rows(connection, tables.outputs, OUTPUT_COLUMNS, rows)


def make_file(run: int) -> File:
    """The registered file of a run."""
    name = f"mdst.physics.{EXPERIMENT:04d}.{run:05d}.root"
    return File(EXPERIMENT, run, "mdst", name, f"/data/{name}", 10**9 + run, f"adler32:{run:08x}", 1000)
