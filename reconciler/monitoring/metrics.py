"""Metrics for Prometheus: what the ledger says at the moment of a scrape, and what the reconciler's turns were like.

The ledger is read as any reader does, so a scrape disturbs nobody; where it cannot be read, that is the metric.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, Select, func, select

from reconciler.ledger.schema.decision_tables import pauses
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
from schemas.files.times import read_time

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Bounds of the buckets of a turn's duration."""

_UNITS = ("campaign", "step", "state")


class LedgerCollector:
    """Reads the ledger at each scrape."""

    def __init__(self, state: State, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._state = state
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All that the ledger says; only that it cannot be read, where that is so."""
        found: list[Metric] = []
        up = GaugeMetricFamily("b2prod_ledger_up", "Whether the ledger can be read")
        try:
            with reading(self._state) as connection:
                found = list(_measure(connection, self._clock()))
        except SourceUnavailable:
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
        yield up
        yield from found

    def describe(self) -> Iterable[Metric]:
        """Nothing: the ledger is not read before it is asked for."""
        return ()


def _measure(connection: Connection, now: datetime) -> Iterator[Metric]:
    unit = (intents.c.campaign, intents.c.step, intents.c.state)
    waiting = (
        select(*unit, func.count())
        .where(intents.c.state.in_((IntentState.OPEN, IntentState.QUARANTINED)))
        .group_by(*unit)
    )
    runs = select(outputs.c.campaign, outputs.c.step, outputs.c.experiment, outputs.c.run)
    made = runs.where(outputs.c.state == OutputState.PRODUCED).distinct().subquery()
    done = select(made.c.campaign, made.c.step, func.count()).group_by(made.c.campaign, made.c.step)
    units = GaugeMetricFamily("b2prod_units", "Units by what the ledger says of them", labels=_UNITS)
    for *labels, count in connection.execute(waiting):
        units.add_metric(labels, count)
    for campaign, step, count in connection.execute(done):
        units.add_metric([campaign, step, "produced"], count)
    yield units
    yield _count(
        connection,
        "b2prod_attempts",
        "Attempts by site and state",
        ("site", "state"),
        select(attempts.c.site, attempts.c.state, func.count()).group_by(attempts.c.site, attempts.c.state),
    )
    yield _count(
        connection,
        "b2prod_registered_outputs",
        "Outputs that a catalogue knows",
        ("campaign", "catalogue"),
        select(outputs.c.campaign, registrations.c.catalogue, func.count())
        .join(outputs, outputs.c.id == registrations.c.output)
        .group_by(outputs.c.campaign, registrations.c.catalogue),
    )
    yield _count(
        connection,
        "b2prod_verification_troubles",
        "Files that the last verification found gone, changed or wrong",
        ("campaign", "trouble"),
        select(verifications.c.campaign, examinations.c.trouble, func.count())
        .join(verifications, verifications.c.id == examinations.c.verification)
        .where(examinations.c.trouble.is_not(None))
        .group_by(verifications.c.campaign, examinations.c.trouble),
    )
    yield _count(
        connection,
        "b2prod_paused",
        "Pauses that go on",
        ("scope", "kind"),
        select(pauses.c.scope, pauses.c.kind, func.count())
        .where(pauses.c.ended.is_(None))
        .group_by(pauses.c.scope, pauses.c.kind),
    )
    age = GaugeMetricFamily("b2prod_site_silence_seconds", "Since a site last answered", labels=("site",))
    failures = GaugeMetricFamily(
        "b2prod_site_failures", "How often in a row a site did not answer", labels=("site",)
    )
    for row in connection.execute(select(sites)):
        failures.add_metric([row.name], row.failures)
        if row.seen is not None:
            seen = read_time(row.seen)
            age.add_metric([row.name], max(0.0, (now - seen).total_seconds()))
    yield age
    yield failures


def _count(
    connection: Connection, name: str, text: str, labels: Sequence[str], query: Select[Any]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, count in connection.execute(query):
        family.add_metric([str(value) for value in values], count)
    return family


class TurnMetrics:
    """What the turns of this process were like."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._turns = Counter("b2prod_turns", "Turns of the reconciler", ["result"], registry=registry)
        self._seconds = Histogram(
            "b2prod_turn_seconds", "How long a turn took", buckets=SECONDS, registry=registry
        )
        self._last = Gauge(
            "b2prod_last_turn_timestamp_seconds", "When the last turn ended", registry=registry
        )
        self._good = time.monotonic()  # a process that comes to no turn at all is seen by its age
        age = Gauge(
            "b2prod_good_turn_age_seconds",
            "Since a turn last came to its end, or since the start",
            registry=registry,
        )
        age.set_function(lambda: time.monotonic() - self._good)
        self._plan = Gauge(
            "b2prod_plan_units", "Units of the last plan", ["campaign", "action"], registry=registry
        )
        self._conditions = Gauge(
            "b2prod_condition",
            "Conditions that hold of a campaign",
            ["campaign", "condition"],
            registry=registry,
        )

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
        """Takes note of a turn that took so long and ended at a time; `plan` None: it came to none.

        `fine`: nothing was wrong; `whole`: it came to its end, whatever was wrong with some of it.
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
        for (name, kind), count in _tally(statuses).items():
            self._conditions.labels(name, kind).set(count)


def _tally(statuses: Iterable[HealthStatus]) -> Mapping[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for one in statuses:
        found[one.campaign, one.kind] = found.get((one.campaign, one.kind), 0) + 1
    return found
