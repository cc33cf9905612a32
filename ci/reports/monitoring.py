"""What others see of a reconciler that goes on for ever: metrics, a log of events, notices."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from ci.changes.project import Project
from ci.cli.console import say
from ci.reports.notifications import Notifier, read_recipients
from reconciler.ledger.reading.event_log import LogEvent, find_last, read_events
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.monitoring.health import HealthStatus, judge_campaign
from reconciler.monitoring.metrics import LedgerCollector, TurnMetrics
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.metrics_server import MetricsServer
from reconciler.planning.views import StateView

_END = 1 << 16


class EventLog:
    """A file with an event a line, as JSON: `entry`, `time`, `event`, and what it is about.

    It goes on where it ended, also after a restart; whoever rotates it may move it away at any time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def find_last(self) -> int | None:
        """The journal's entry that was logged last; None where the log is new."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, 2) - _END))
                lines = stream.read().splitlines()
        except OSError:
            return None
        for line in reversed(lines):
            try:
                return int(json.loads(line)["entry"])
            except (ValueError, KeyError, TypeError):
                continue
        return None

    def write(self, events: Sequence[LogEvent]) -> None:
        """Appends events.

        Raises:
            OSError: it cannot be written.
        """
        if events:
            with self._file.open("a") as stream:
                stream.write("".join(json.dumps(one.data(), ensure_ascii=False) + "\n" for one in events))


class Monitor:
    """Takes note of every turn; each of its parts is left out where it is not asked for."""

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
        self._turns: TurnMetrics | None = None
        self._log = EventLog(log) if log else None
        recipients = read_recipients(notify, project.root) if notify else ()
        memory = project.state.folder / "notices.json"
        self._notifier = Notifier(recipients, memory) if recipients else None
        self._logged: int | None = self._log.find_last() if self._log else None
        self._after = self._logged
        """The journal's entry up to which people were told."""
        self._refused = ""
        self._registry = CollectorRegistry()
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        if self._address is not None:
            self._registry.register(LedgerCollector(self._state))
            self._turns = TurnMetrics(self._registry)
        self._serve()
        return self

    def _serve(self) -> None:
        """Serves metrics, if nobody else has their port; that somebody has it is said once."""
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
            return
        self._server = server
        say(f"metrics are at http://{host}:{server.server_port}/metrics")

    def __exit__(self, *exception: object) -> None:
        if self._server is not None:
            self._server.close()

    def begin(self) -> None:
        """A turn begins: a log that is new begins with what happens in it."""
        self._serve()
        self._begun = time.monotonic()
        if self._after is None and (self._log or self._notifier):
            try:
                with reading(self._state) as connection:
                    self._after = find_last(connection)
            except SourceUnavailable:
                self._after = 0
            self._logged = self._after if self._logged is None else self._logged

    def end(self, state_view: StateView | None, trouble: Sequence[str], *, whole: bool) -> None:
        """A turn ended: what it saw, where it came to that, what was wrong, and whether it came to its end.

        Says what cannot be told to others; what could not be logged is tried again.
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
        except SourceUnavailable as error:
            trouble = [*trouble, str(error)]
        if self._turns is not None:
            plan = state_view.plan if state_view else None
            self._turns.note(seconds, now, plan, statuses, fine=not trouble, whole=whole)
        if self._log is not None:
            try:
                self._log.write(unlogged)
                self._logged = upto
            except OSError as error:
                say(
                    f"the log of events cannot be written: {error.strerror}; it is tried again in the next turn"
                )
        if self._notifier is not None:
            judged = {view.campaign.name for view in state_view.views} if state_view else set()
            for circle in self._notifier.tell(events, statuses, judged, trouble, now):
                say(f"the circle {circle} could not be told; it will be in the next turn")
