"""Readiness: checks whether a site may get a batch now. A site is paused while its preconditions do not hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reconciler.execution.sites.preconditions import Circumstances, Volume, check_batch
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.ledger.store.database import State
from reconciler.ledger.writing.pauses import PauseWriter
from reconciler.model.engine import Engine, EngineUnavailable
from reconciler.model.states import PauseKind
from reconciler.outside.errors import SourceUnavailable
from schemas.policy.site import Site

FRESH = 60.0
"""Seconds for which an engine's answer about its credential is used again."""


@dataclass(eq=False, slots=True)
class Readiness:
    """Checks the preconditions of sites. A pause says which ones do not hold, and ends when all hold."""

    state: State
    sites: Mapping[str, Site]
    site_engines: SiteEngines
    pauses: PauseWriter
    clock: Callable[[], float]
    _lifetimes: dict[str, tuple[float, timedelta | None, str | None]] = field(default_factory=dict)
    _told: dict[str, str | None] = field(default_factory=dict)

    def allow(self, name: str, in_flight: int = 0) -> bool:
        """Whether a batch may go to a site; if not, the site is paused with the reason."""
        site = self.sites.get(name)
        if site is None or self.site_engines.is_resting(name):
            return True  # other checks stop it
        try:
            engine = self.site_engines.engine(name)
        except SourceUnavailable:
            return True
        found = gather(site, self.state, datetime.fromtimestamp(self.clock(), UTC), in_flight)
        lifetime, trouble = self._find_lifetime(name, engine)
        found = replace(found, lifetime=lifetime, trouble=trouble, renewal=engine.renewal)
        hindrances = check_batch(site, found)
        self._tell(name, "; and ".join(map(str, hindrances)) or None)
        return not hindrances

    def tell(self, name: str) -> str:
        """Why the last batch could not go to a site."""
        return f"site:{name} is paused by b2prod: {self._told.get(name) or 'it is not ready'}"

    def _find_lifetime(self, name: str, engine: Engine) -> tuple[timedelta | None, str | None]:
        now = self.clock()
        asked, lifetime, trouble = self._lifetimes.get(name, (-FRESH, None, None))
        if now - asked >= FRESH:
            try:
                lifetime, trouble = engine.lifetime(), None
            except EngineUnavailable as error:
                lifetime, trouble = None, str(error)
            asked = now
            self._lifetimes[name] = (asked, lifetime, trouble)
        # a credential may end while the stored answer is still used
        return None if lifetime is None else lifetime - timedelta(seconds=now - asked), trouble

    def _tell(self, name: str, reason: str | None) -> None:
        """Begins, changes or ends the pause of a site for its preconditions."""
        scope = f"site:{name}"
        if name not in self._told:
            mine = (scope, PauseKind.PRECONDITION)
            going = (one.reason for one in self.pauses.list_pauses() if (one.scope, one.kind) == mine)
            self._told[name] = next(going, None)
        before = self._told[name]
        reason = reason and reason[:500]
        if reason == before:
            return
        if before is not None:
            self.pauses.resume(scope, "it is no longer so", "b2prod", PauseKind.PRECONDITION)
        if reason is not None:
            self.pauses.pause(scope, PauseKind.PRECONDITION, reason, "b2prod")
        self._told[name] = reason


def gather(site: Site, state: State, now: datetime, in_flight: int) -> Circumstances:
    """The circumstances of a site without the credential: free space, time and attempts in flight."""
    return Circumstances(
        now=now,
        storage=measure(Path(state.storage(site.storage))),
        state=measure(state.folder),
        in_flight=in_flight,
    )


def measure(folder: Path) -> Volume:
    """A folder and its free bytes. If it does not exist, the nearest folder above it is measured."""
    try:
        return Volume(str(folder), shutil.disk_usage(find_existing(folder)).free)
    except OSError:
        return Volume(str(folder), None)


def find_existing(folder: Path) -> Path:
    """A folder, or the nearest existing folder above it."""
    here = Path(os.path.abspath(folder))
    while not here.exists() and here != here.parent:
        here = here.parent
    return here
