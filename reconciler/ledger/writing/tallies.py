"""Counts in the ledger: attempts by how they ended, and events that were read."""

from __future__ import annotations

from sqlalchemy import Connection, exists, func, not_, select

from reconciler.ledger.schema.tables import LOST, UNIT_ATTEMPTS, attempts, intents, jobs, outputs, runs
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import LIVE, AttemptState, IntentState, OutputState
from reconciler.model.work_items import Attempt
from schemas.manifest.runs import split_key


def count_live(connection: Connection) -> dict[str, int]:
    """The number of live attempts, by site."""
    live = select(attempts.c.site, func.count()).where(attempts.c.state.in_(LIVE)).group_by(attempts.c.site)
    return {row[0]: row[1] for row in connection.execute(live)}


class Tallies:
    """Counts of one ledger."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def count_ended(
        self, campaign: str, signature: str, since: str, step: str | None = None
    ) -> tuple[int, int]:
        """Of a campaign or one step, since a time: the number of jobs that failed with a signature, and of verified attempts."""
        alike = func.count(func.distinct(attempts.c.job)).filter(attempts.c.signature == signature)
        good = func.count().filter(attempts.c.state == AttemptState.VERIFIED)
        query = select(alike, good).select_from(UNIT_ATTEMPTS)
        query = query.where(intents.c.campaign == campaign, attempts.c.ended >= since)
        if step is not None:
            query = query.where(intents.c.step == step)
        ((failed, verified),) = self._writer.read(query)
        return failed, verified

    def list_refused(self, campaign: str, since: str) -> tuple[list[str], int]:
        """Of the units whose last job was verified since a time: the intents that were refused, and how many were published."""
        verified = exists().where(attempts.c.job == jobs.c.id, attempts.c.state == AttemptState.VERIFIED)
        lacking = exists().where(jobs.c.intent == intents.c.id, not_(verified))
        recent = exists().where(
            jobs.c.intent == intents.c.id, attempts.c.job == jobs.c.id, attempts.c.ended >= since
        )
        query = select(intents.c.id, intents.c.state).where(intents.c.campaign == campaign, recent)
        query = query.where(
            intents.c.state.in_((IntentState.QUARANTINED, IntentState.PRODUCED)), not_(lacking)
        )
        rows = self._writer.read(query)
        refused = [str(number) for number, state in rows if state == IntentState.QUARANTINED]
        return refused, len(rows) - len(refused)

    def list_sites_of_lost(self, since: str) -> tuple[str, ...]:
        """The sites with attempts that an engine took, and that were lost since a time."""
        at = (LOST, attempts.c.ended >= since, attempts.c.reference.is_not(None))
        return tuple(row.site for row in self._writer.read(select(attempts.c.site).where(*at).distinct()))

    def number_outputs(self, campaign: str) -> dict[str, int]:
        """Fingerprint in hexadecimal digits → id of the campaign's produced output."""
        query = select(outputs.c.fingerprint, outputs.c.id)
        query = query.where(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
        return {value.hex(): number for value, number in self._writer.read(query)}

    def count_read(self, attempt: Attempt) -> tuple[int, int | None]:
        """The events that the verified jobs of an attempt's unit read, and the events of its run.

        The second number is from the run catalogue of today; None if not known.
        """
        experiment, run = split_key(attempt.address[2])
        record = select(runs.c.events).where(runs.c.experiment == experiment, runs.c.run == run)
        with self._writer.reading() as connection:
            return sum_read(connection, attempt.intent) or 0, connection.execute(record).scalar()


def sum_read(connection: Connection, intent: int) -> int | None:
    """The events that the verified jobs of an intent read; None if one of them does not say."""
    query = select(attempts.c.events_read).join(jobs, jobs.c.id == attempts.c.job)
    verified = (jobs.c.intent == intent, attempts.c.state == AttemptState.VERIFIED)
    counts = list(connection.scalars(query.where(*verified)))
    return None if None in counts else sum(counts)
