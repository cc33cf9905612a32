"""A watched source of runs: the run database, or a run list."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from reconciler.ledger.store.database import State, opened
from reconciler.outside.clock import Clock
from reconciler.run_catalogue.lists.run_lists import RunList, RunListing, collect_runs
from reconciler.run_catalogue.run_database import RunDatabase, import_listing
from reconciler.sources.port import Finish, Intake
from reconciler.sources.quiet import is_quiet
from schemas.policy.sources import RunSource


@dataclass(frozen=True, slots=True)
class WatchedRuns:
    """Runs as `runs import` takes them. A token is sent to the run database alone."""

    site: str
    source: RunSource
    state: State
    clock: Clock
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Site, kind and place."""
        return f"{self.site}: {self.source.what}"

    @property
    def every(self) -> int:
        """The interval in minutes."""
        return self.source.every

    def read(self) -> Finish:
        """Reads all runs.

        Raises:
            SourceUnavailable: the source does not answer in full, or has no run.
        """
        source = self.source
        if source.list is not None and not is_quiet(Path(source.list), source.quiet, self.clock):
            return lambda: Intake(again=source.quiet, put_off=True)
        listing = self._open()
        found, refused = collect_runs(listing)
        name = source.list or listing.name

        def finish() -> Intake:
            with opened(self.state) as engine:
                imported = import_listing(engine, name, listing, found, refused, self.clock.show())
            count = len(refused) + len(imported.refused)
            note = f"rows that were refused: {count}; `b2prod runs quarantine` lists them" if count else None
            moved = imported.new or imported.changed
            return Intake(f"{imported.new} new, {imported.changed} changed" if moved else None, note)

        return finish

    def _open(self) -> RunListing:
        source = self.source
        if source.list is not None:
            return RunList(Path(source.list), source.experiment)
        assert source.rundb is not None  # the schema asks for one of the two, and for the experiment
        assert source.experiment is not None
        return RunDatabase(source.rundb, source.experiment, token=self.token)
