"""Metrics for Prometheus: what the ledger says at the moment of a scrape, and how the reconciler's turns went.

A scrape only reads the ledger. If the ledger cannot be read, the metric says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, Select, func, select, union_all

from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.schema.operation_tables import operations
from reconciler.ledger.schema.tables import (
    attempts,
    examinations,
    intents,
    outputs,
    registrations,
    sites,
    verifications,
)
from reconciler.ledger.store.database import State, reading
from reconciler.model.plan import Plan
from reconciler.model.states import IntentState, OutputState, PlanAction
from reconciler.monitoring.health import HealthStatus
from reconciler.outside.errors import SourceUnavailable
from reconciler.sources.records import read_records
from schemas.files.times import read_time

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""The bounds of the histogram of a turn's duration, in seconds."""

_MADE = (
    select(outputs.c.campaign, outputs.c.step, outputs.c.experiment, outputs.c.run, outputs.c.state)
    .where(outputs.c.state == OutputState.PRODUCED)
    .distinct()
    .subquery()
)
_UNITS = union_all(
    select(intents.c.campaign, intents.c.step, intents.c.state).where(
        intents.c.state.in_((IntentState.OPEN, IntentState.QUARANTINED))
    ),
    select(_MADE.c.campaign, _MADE.c.step, _MADE.c.state),
).subquery()

_COUNTS: Sequence[tuple[str, str, Select[*tuple[Any, ...]]]] = (
    ("b2prod_units", "Units by what the ledger says of them", select(_UNITS)),
    ("b2prod_attempts", "Attempts by site and state", select(attempts.c.site, attempts.c.state)),
    (
        "b2prod_registered_outputs",
        "Outputs that a catalogue knows",
        select(outputs.c.campaign, registrations.c.catalogue).where(outputs.c.id == registrations.c.output),
    ),
    (
        "b2prod_verification_troubles",
        "Files that the last verification found gone, changed or wrong",
        select(verifications.c.campaign, examinations.c.trouble).where(
            verifications.c.id == examinations.c.verification, examinations.c.trouble.is_not(None)
        ),
    ),
    (
        "b2prod_operations",
        "Operations on datasets by kind and state",
        select(operations.c.kind, operations.c.state),
    ),
    (
        "b2prod_paused",
        "Pauses that go on",
        select(pauses.c.scope, pauses.c.kind).where(pauses.c.ended.is_(None)),
    ),
)
"""What is counted: name, meaning, and the query with the columns that are labels."""


class LedgerCollector:
    """Reads the ledger at each scrape."""

    def __init__(self, state: State, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._state = state
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All metrics of the ledger, or only that it cannot be read."""
        found: list[Metric] = []
        up = 1
        try:
            with reading(self._state) as connection:
                found = list(_measure(connection, self._clock()))
        except SourceUnavailable:
            up = 0
        yield GaugeMetricFamily("b2prod_ledger_up", "Whether the ledger can be read", value=up)
        yield from found

    def describe(self) -> Iterable[Metric]:
        """Returns nothing, so that the ledger is not read before a scrape."""
        return ()


def _measure(connection: Connection, now: datetime) -> Iterator[Metric]:
    for name, text, rows in _COUNTS:
        labels = rows.selected_columns
        family = GaugeMetricFamily(name, text, labels=[column.name for column in labels])
        for *values, count in connection.execute(rows.add_columns(func.count()).group_by(*labels)):
            family.add_metric([str(value) for value in values], count)
        yield family
    age = GaugeMetricFamily("b2prod_site_silence_seconds", "Since a site last answered", labels=("site",))
    said = "How often in a row a site did not answer"
    failures = GaugeMetricFamily("b2prod_site_failures", said, labels=("site",))
    for row in connection.execute(select(sites)):
        failures.add_metric([row.name], row.failures)
        if row.seen is not None:
            age.add_metric([row.name], max(0.0, (now - read_time(row.seen)).total_seconds()))
    yield age
    yield failures
    yield from _measure_sources(connection, now)


def _measure_sources(connection: Connection, now: datetime) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "b2prod_source_silence_seconds", "Since a source last answered", labels=("source",)
    )
    said = "How often in a row a source failed"
    failures = GaugeMetricFamily("b2prod_source_failures", said, labels=("source",))
    for record in read_records(connection).values():
        failures.add_metric([record.name], record.failures)
        if record.answered is not None:
            age.add_metric([record.name], max(0.0, (now - read_time(record.answered)).total_seconds()))
    yield age
    yield failures


class TurnMetrics:
    """Metrics of the turns of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self._turns = Counter("b2prod_turns", "Turns of the reconciler", ["result"], registry=registry)
        took = "How long a turn took"
        self._seconds = Histogram("b2prod_turn_seconds", took, buckets=SECONDS, registry=registry)
        self._last = gauge("b2prod_last_turn_timestamp_seconds", "When the last turn ended")
        self._good = time.monotonic()  # if no turn ever ends, the age of the process shows it
        since = "Since a turn last came to its end, or since the start"
        gauge("b2prod_good_turn_age_seconds", since).set_function(lambda: time.monotonic() - self._good)
        self._plan = gauge("b2prod_plan_units", "Units of the last plan", ["campaign", "action"])
        held = "Conditions that hold of a campaign"
        self._conditions = gauge("b2prod_condition", held, ["campaign", "condition"])

    def note(
        self,
        seconds: float,
        at: datetime,
        plan: Plan | None,
        statuses: Sequence[HealthStatus],
        *,
        fine: bool,
        whole: bool,
    ) -> None:
        """Records a turn: its duration in seconds, its end, and its plan, or None if it made no plan.

        `fine` means that nothing was wrong; `whole` means that it reached its end, even if something was wrong.
        """
        if whole:
            self._good = time.monotonic()
        self._turns.labels("fine" if fine else "trouble").inc()
        self._seconds.observe(seconds)
        self._last.set(at.timestamp())
        if plan is None:
            return
        self._plan.clear()
        for campaign in plan.campaigns:
            self._plan.labels(campaign.campaign, "done").set(campaign.done)
            for action in PlanAction:
                self._plan.labels(campaign.campaign, action.word).set(campaign.count(action))
        self._conditions.clear()
        for status in statuses:
            self._conditions.labels(status.campaign, status.kind).inc()
