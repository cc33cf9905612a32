"""A site with watched sources, a ledger, and a clock that only the test moves."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from reconciler.ledger.schema.tables import files, runs
from reconciler.ledger.store.database import State, reading
from reconciler.outside.clock import Clock
from reconciler.sources.records import SourceRecord, read_records
from reconciler.sources.watch import SourceTokens, SourceWatch
from schemas.conditions.snapshot import Snapshot
from schemas.policy.site import Site
from schemas.policy.sources import FileSource, RunSource, SiteSources
from tests.support.inputs.root_files import write_events

START = 1_550_000_000.0
MINUTE = 60.0


class WatchedSite:
    """The site `local`. `root` is the folder in which `write` writes; `now` is the clock's time."""

    def __init__(self, root: Path, state: State) -> None:
        self.root, self.state, self.now = root, state, START
        self.sources = SiteSources()
        self.baselines: Mapping[str, Snapshot] = {}
        self.watch = self.start()

    def start(self, **tokens: str) -> SourceWatch:
        """A watch as a new process has it."""
        return SourceWatch(self.state, SourceTokens(**tokens), Clock(time=lambda: self.now))

    def begin(self, watch: SourceWatch | None = None) -> list[str]:
        """A step, without a wait for what it asked."""
        sites = {"local": Site("local", "local", "data", sources=self.sources)}
        return (watch or self.watch).step(sites, self.baselines)

    def step(self, watch: SourceWatch | None = None) -> list[str]:
        """A step, and the wait for all that it asked; then the step that takes the answers."""
        before = self.begin(watch)
        for thread in threading.enumerate():
            if thread.name.startswith("local: "):
                thread.join(20)
        return [*before, *self.begin(watch)]

    def later(self, minutes: float, watch: SourceWatch | None = None) -> list[str]:
        self.now += minutes * MINUTE
        return self.step(watch)

    def write(self, name: str, content: bytes | str, age: float = 60) -> Path:
        """A file that was last changed so many minutes ago."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (self.now - age * MINUTE,) * 2)
        return path

    def write_raw(self, run: int, age: float = 60) -> Path:
        return self.write(f"raw/physics.0003.{run:05d}.root", write_events(3, run), age)

    def list_runs(self, *numbers: int, age: float = 60) -> Path:
        rows = "".join(f"3,{number},physics\n" for number in numbers)
        return self.write("runs.csv", f"experiment,run,type\n{rows}", age)

    def watch_runs(self, every: int = 60) -> None:
        source = RunSource(list=str(self.root / "runs.csv"), every=every)
        self.sources = replace(self.sources, runs=(source,))

    def watch_files(self, every: int = 60) -> None:
        source = FileSource("raw", folder=str(self.root / "raw"), every=every)
        self.sources = replace(self.sources, files=(source,))

    def watch_list(self, name: str) -> None:
        self.sources = replace(self.sources, files=(FileSource("raw", list=str(self.root / name)),))

    def read_known(self) -> tuple[list[int], list[int]]:
        """The runs in use of the catalogue, and the runs of its files."""
        with reading(self.state) as connection:
            used = select(runs.c.run).where(runs.c.removed.is_(None)).order_by(runs.c.run)
            registered = select(files.c.run).order_by(files.c.run)
            return [*connection.execute(used).scalars()], [*connection.execute(registered).scalars()]

    @property
    def records(self) -> dict[str, SourceRecord]:
        with reading(self.state) as connection:
            return read_records(connection)

    @property
    def record(self) -> SourceRecord:
        (one,) = self.records.values()
        return one
