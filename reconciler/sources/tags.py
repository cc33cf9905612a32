"""A watched source of running tags: the conditions database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reconciler.conditions.coverage import is_usable
from reconciler.conditions.following import follow_tag
from reconciler.conditions.opening import open_source
from reconciler.conditions.source import TagSource, UnknownTag
from reconciler.ledger.store.database import State, opened
from reconciler.outside.clock import Clock
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.sources.port import Finish, Intake
from schemas.conditions.snapshot import Snapshot
from schemas.manifest.runs import format_runs
from schemas.policy.sources import RunningTagSource


@dataclass(frozen=True, slots=True)
class WatchedTags:
    """The running tags of live campaigns, as `gt follow` looks at them. `baselines`: name → baseline of each."""

    site: str
    source: RunningTagSource
    baselines: Mapping[str, Snapshot]
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
        """Reads each tag; one that cannot be read, or used, keeps no other from it.

        Raises:
            SourceUnavailable: address or token cannot be used.
        """
        reader = open_source(self.source.follow, self.token)
        found, failures = [], []
        for name in self.baselines:
            try:
                found.append(_fetch_usable(reader, name))
            except (SourceUnavailable, UnknownTag) as error:
                failures.append(str(error))
        return lambda: self._record(found, failures)

    def _record(self, found: list[Snapshot], failures: list[str]) -> Intake:
        news = []
        failures = list(failures)
        now = datetime.fromtimestamp(self.clock.time(), UTC)
        with opened(self.state) as engine:
            for tag in found:
                try:
                    moved = follow_tag(engine, self.baselines[tag.name], tag, now)
                except (GuardRefused, SourceUnavailable) as error:
                    failures.append(str(error))
                    continue
                if moved.before.digest != moved.after.digest:
                    runs = (
                        format_runs(moved.touched(), most=5) if moved.breaches else "no run of the catalogue"
                    )
                    news.append(f"{tag.name} has a new snapshot; payloads changed for {runs}")
        return Intake("; ".join(news) or None, failure="; ".join(failures) or None)


def _fetch_usable(reader: TagSource, name: str) -> Snapshot:
    """The tag with that name, if jobs may use it.

    Raises:
        UnknownTag: there is none.
        SourceUnavailable: it cannot be read in full, its state forbids its use, or it is empty.
    """
    tag = reader.fetch(name)
    if not is_usable(tag.state):
        raise SourceUnavailable(f"{name} is in state {tag.state}, which no job may use")
    if not tag.iovs:
        raise SourceUnavailable(f"{name} holds no payload")
    return tag
