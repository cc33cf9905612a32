"""Keeps what good jobs leave in their folders, before the folders are removed; and removes it after the days of their sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.workspace import LOG, Workspace
from reconciler.ledger.store.kept_files import KeptFiles
from reconciler.ledger.store.state import State
from reconciler.ledger.writing.leftovers import Leftovers
from reconciler.outside.clock import Clock, format_time
from reconciler.outside.plain_files import NotPlain
from renderer.applications.port import JOB, SCRIPT, STEERING

KEPT = (LOG, JOB, STEERING, SCRIPT)
"""The names of the files that are kept; a job has the steering script or the script of a step, or neither."""

AT_ONCE = 1000
"""How many files one turn removes of one site: the first turn after a change of its days may find very many."""


@dataclass(eq=False, slots=True)
class JobFileKeeper:
    """Keeps files of the jobs of one ledger. What cannot be kept is told, and fails no job."""

    state: State
    workspace: Workspace
    leftovers: Leftovers
    site_engines: SiteEngines
    clock: Clock
    _troubles: Counter[str] = field(default_factory=Counter)

    @property
    def files(self) -> KeptFiles:
        """What is kept in the state."""
        return KeptFiles(self.state.kept)

    def keep(self, attempt: str) -> dict[str, str]:
        """Keeps the files of an attempt. Returns name → digest of those that are kept now."""
        kept = {}
        for name in KEPT:
            try:
                kept[name] = self.files.keep(self.workspace.path(attempt) / name)
            except FileNotFoundError:
                continue
            except NotPlain as error:
                self._troubles[f"could not be kept: {error}"] += 1
            except OSError as error:
                self._troubles[f"could not be kept: {name}: {error.strerror or error}"] += 1
        return kept

    def tell(self) -> Iterator[str]:
        """Yields what could not be kept or removed, equal troubles once."""
        for trouble, count in self._troubles.items():
            yield f"{count:,} files of jobs that ended well {trouble}"

    def sweep(self) -> None:
        """Removes what no job used within the days of its site. Files are removed first, so that none is forgotten."""
        for site in self.leftovers.list_sites_of_kept():
            before = format_time(self.clock.time() - 86400 * self.site_engines.find_job_days(site))
            digests = self.leftovers.list_expired(site, before, AT_ONCE)
            try:
                for digest in digests:
                    self.files.remove(digest)
            except OSError as error:  # the next turn tries again
                self._troubles[f"could not be removed: {error.strerror or error}"] += len(digests)
                continue
            self.leftovers.forget(digests)
