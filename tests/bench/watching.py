"""What a turn of `reconcile --watch` costs: one that plans all, one in which nothing moved, and some with a few changes."""

from __future__ import annotations

import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.table import Table
from sqlalchemy import insert

from ci.changes.project import Project
from ci.changes.turn_memory import TurnMemory
from ci.cli.tables import make_table, print_table
from ci.verbs.operation import reconcile as verb
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.schema.tables import events, outputs
from reconciler.ledger.store.database import State, opened
from reconciler.ledger.writing.journal import chain
from reconciler.ledger.writing.operator_actions import OperatorActions
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import OutputState
from reconciler.run_catalogue.file_register import import_files
from reconciler.sources.watch import SourceWatch
from tests.bench.world import NAME, declare, make_file, prepare
from tests.support.worlds.builders import ROOT
from tests.support.worlds.worlds import pin_checkout

QUIET_TURNS = 5
SHARES = (0.001, 0.01)


def measure_watching(count: int = 100_000) -> Table:
    """CPU time of turns of one process, and their ratio to the first, which plans all. Nothing is launched: all is paused."""
    columns = ("what moved", "runs", "CPU / s", "ratio")
    title = f"Turns of `reconcile --watch` with {count:,} runs and three outputs a unit"
    table = make_table(*columns, title=title, numbers=columns[1:])
    with tempfile.TemporaryDirectory() as name:
        watch = Watch(Path(name), count)
        whole = watch.turn()

        def add(what: str, runs: int, used: float) -> None:
            table.add_row(what, f"{runs:,}", f"{used:.3f}", f"{used / whole:.3f}")

        add("all is planned", count, whole)
        add("nothing", 0, watch.time_quiet_turn())
        for what, move in (("outputs were lost", _lose), ("files changed", _change_files)):
            for share in SHARES:
                runs = round(share * count)
                move(watch.project.state, range(count // 2, count // 2 + runs))
                add(what, runs, watch.turn())
        add("nothing, with as many units to do", 0, watch.time_quiet_turn())
    return table


class Watch:
    """A process that watches a campaign of `count` runs, which are all produced; its first turn is still to come."""

    def __init__(self, folder: Path, count: int) -> None:
        self.project = prepare_checkout(folder, count)
        self._sources, self._memory = SourceWatch(self.project.state), TurnMemory()
        with opened(self.project.state) as engine:
            OperatorActions(Writer(engine, None), "the bench").pause("all", "to be measured")
        self.turn()  # imports, and statements that are translated once
        self._memory = TurnMemory()

    def turn(self) -> float:
        """The CPU time of a turn."""
        begun = time.process_time()
        options = TurnOptions(bound=20.0)
        verb._turn(self.project, (), options, lambda _view: None, self._sources, self._memory)
        return time.process_time() - begun

    def time_quiet_turn(self) -> float:
        """The median of turns in which nothing moved; one before them takes what moved."""
        self.turn()
        return median(self.turn() for _ in range(QUIET_TURNS))


def _lose(state: State, runs: Sequence[int]) -> None:
    """The outputs of runs are recorded as lost."""
    with opened(state) as engine, Writer(engine, None).writing() as journal:
        here = outputs.c.run.between(runs[0], runs[-1])
        journal.update(outputs, here, {"state": OutputState.LOST})


def _change_files(state: State, runs: Sequence[int]) -> None:
    """The files of runs are registered anew, with other sizes."""
    with opened(state) as engine:
        import_files(engine, [replace(make_file(run), size=len(runs)) for run in runs])


def prepare_checkout(folder: Path, count: int) -> Project:
    """A checkout of a campaign of `count` runs that are all produced, with its policy pinned."""
    root, state = folder / "checkout", State(folder / "state")
    state.folder.mkdir(parents=True)
    prepare(state.folder, count, 0.0)
    with opened(state) as engine, engine.begin() as connection:
        # the rows were written without the journal, and as its first entry they would be larger than any entry is
        row = {"time": "", "fence": 0, "content": zlib.compress(b"[]"), "digest": chain("", "", 0, b"[]")}
        connection.execute(insert(events).values(row))
    files = {f"productions/{name}": text.encode() for name, text in ROOT.items()}
    files[f"productions/campaigns/{NAME}/campaign.lock"] = (state.folder / "campaign.lock").read_bytes()
    for file, content in {**declare(count), **files}.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    pin_checkout(root, state)
    return Project(root, state)


if __name__ == "__main__":
    print_table(measure_watching(*map(int, sys.argv[1:])))
