"""The outputs of a running reconciler: metrics, an event log, notices."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from ci.changes.project import Project
from ci.cli.console import say
from ci.reports.notifications import Notifier, read_recipients
from reconciler.ledger.reading.event_log import LogEvent, find_last, read_events
from reconciler.ledger.reading.progress import list_under_way
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.ledger.writing.trust import list_roots
from reconciler.monitoring.health import HealthStatus, judge_campaign, judge_ending, tell_overdue
from reconciler.monitoring.metrics import LedgerCollector, TurnMetrics
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.metrics_server import MetricsServer
from reconciler.planning.views import StateView
from schemas.policy.policy import read_policy
from schemas.policy.roles import Roles

_END = 1 << 16


def find_logged(file: Path) -> int | None:
    """The number of the journal's last entry in an event log, or None if the file is new."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _END))
            lines = stream.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["entry"])
    return None


def log_events(file: Path, events: Sequence[LogEvent]) -> None:
    """Appends events to a file, one JSON object on each line: `entry`, `time`, `event`, and what the event is about.

    The file may be moved away at any time.

    Raises:
        OSError: the file cannot be written.
    """
    if events:
        with file.open("a") as stream:
            stream.write("".join(json.dumps(one.data(), ensure_ascii=False) + "\n" for one in events))


def read_pinned_roles(connection: Connection) -> Roles | None:
    """The roles of the pinned trust root; None if none is pinned, or it cannot be read."""
    roots = list_roots(connection)
    policy = read_policy(roots[-1].files)[0] if roots else None
    return None if policy is None else policy.roles


class Monitor:
    """Records every turn in metrics, an event log and notices, each if it is asked for."""

    def __init__(
        self,
        project: Project,
        metrics: tuple[str, int] | None = None,
        log: Path | None = None,
        notify: Path | None = None,
    ) -> None:
        self._state = project.state
        self._address = metrics
        self._server: MetricsServer | None = None
        self._registry = CollectorRegistry()
        self._turns = TurnMetrics(self._registry) if metrics else None
        self._log = log
        recipients = read_recipients(notify, project.root) if notify else ()
        memory = project.state.folder / "notices.json"
        self._notifier = Notifier(recipients, memory) if recipients else None
        self._logged = find_logged(log) if log else None
        self._after = self._logged
        """The last entry of the journal that people were told about."""
        self._refused = ""
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        if self._address is not None:
            self._registry.register(LedgerCollector(self._state))
        self._serve()
        return self

    def _serve(self) -> None:
        """Serves metrics if the port is free. If it is not, that is said once."""
        if self._address is None or self._server is not None:
            return
        host, port = self._address
        try:
            server = MetricsServer(host, port, self._registry)
            server.start()
        except OSError as error:
            text = f"no metrics can be served at {host}:{port}: {error.strerror or error}; it is tried again in each turn"
            if text != self._refused:
                say(text)
            self._refused = text
        else:
            self._server = server
            say(f"metrics are at http://{host}:{server.server_port}/metrics")

    def __exit__(self, *exception: object) -> None:
        if self._server is not None:
            self._server.close()

    def begin(self) -> None:
        """Begins a turn. A new event log begins with the events of this turn."""
        self._serve()
        self._begun = time.monotonic()
        if self._after is None and (self._log or self._notifier):
            self._after = 0
            with suppress(SourceUnavailable), reading(self._state) as connection:
                self._after = find_last(connection)
            self._logged = self._after

    def end(self, state_view: StateView | None, trouble: Sequence[str], *, whole: bool) -> None:
        """Ends a turn. `state_view` is None if it was not read, `trouble` is what was wrong, `whole` is false if it stopped.

        It says which circles could not be told. Events that could not be logged are tried again in the next turn.
        """
        seconds, now = time.monotonic() - self._begun, datetime.now(UTC)
        events: list[LogEvent] = []
        unlogged: list[LogEvent] = []
        upto = self._logged
        statuses: list[HealthStatus] = []
        try:
            with reading(self._state) as connection:
                if self._notifier is not None and self._after is not None:
                    events, self._after = read_events(connection, self._after)
                if self._log is not None and self._logged is not None:
                    unlogged, upto = read_events(connection, self._logged)
                if state_view is not None and (self._turns or self._notifier):
                    paused = read_pauses(connection)
                    for view in state_view.views:
                        statuses += judge_campaign(connection, view, paused, now)
                    statuses += tell_overdue(state_view.stages, read_pinned_roles(connection), now)
                    planned = {view.campaign.name for view in state_view.views}
                    for name in sorted({*list_under_way(connection)} - planned):
                        statuses += judge_ending(connection, name, now)
        except SourceUnavailable as error:
            trouble = [*trouble, str(error)]
        if self._turns is not None:
            plan = state_view.plan if state_view else None
            self._turns.note(seconds, now, plan, statuses, fine=not trouble, whole=whole)
        if self._log is not None:
            try:
                log_events(self._log, unlogged)
                self._logged = upto
            except OSError as error:
                told = f"the log of events cannot be written: {error.strerror}"
                say(f"{told}; it is tried again in the next turn")
        if self._notifier is not None:
            judged = {view.campaign.name for view in state_view.views} if state_view else set()
            for circle in self._notifier.tell(events, statuses, judged, trouble, now):
                say(f"the circle {circle} could not be told; it will be in the next turn")
