"""Writing attempts into the ledger: their beginning, what engines say of them, and their end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select, true

from reconciler.ledger.schema.tables import LOST, attempts, batches, intents, jobs, outputs, products
from reconciler.ledger.writing.attempt_rows import (
    ATTEMPTS,
    count_attempts,
    describe_origin,
    is_replaced,
    make_attempt,
    read_jobs,
)
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.leftovers import Leftovers
from reconciler.ledger.writing.tallies import Tallies, sum_read
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.unit_rows import CHUNK
from reconciler.ledger.writing.units import quarantine
from reconciler.model.names import name_attempt, name_batch
from reconciler.model.states import LIVE, AttemptState, FailureClass, IntentState, OutputState
from reconciler.model.work_items import Attempt, Product, WorkItem
from schemas.files.canonical import canonical_json

_SEEN: Mapping[str, Any] = {"absences": 0, "unknown": None, "missed": None}


class AttemptLedger:
    """The writer of attempts."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.tallies = Tallies(writer)
        self.leftovers = Leftovers(writer)

    def begin(self, items: Sequence[WorkItem]) -> list[tuple[Attempt, WorkItem]]:
        """A new attempt for each item, which has an intent and one job; all in one batch of one site.

        There is none for a job that is verified or under way, or whose unit was stopped or settled since its intent was
        written.
        """
        with self._writer.writing() as journal:
            rows = read_jobs(journal, {item.intent for item in items if item.intent is not None})
            counts = count_attempts(journal, {row.id for row in rows.values()})
            chosen: list[tuple[Any, WorkItem, int]] = []
            for item in items:
                row = rows.get((item.intent, item.job.key))
                tried, settled = counts.get(row.id, (0, False)) if row else (0, True)
                if not settled:
                    chosen.append((row, item, tried + 1))
            if not chosen:
                return []
            ledger, first = self._writer.ledger, chosen[0][1]
            site, begun = first.campaign.site, self._writer.clock.show()
            names = [name_attempt(ledger, item, number) for _, item, number in chosen]
            digest = sha256("\n".join(names).encode()).hexdigest()
            batch = name_batch(ledger, first.campaign.name, first.step, digest)
            (number_of_batch,) = journal.insert(
                batches,
                [{"name": batch, "site": site, "engine": first.engine, "origin": describe_origin(first)}],
            )
            values = [
                {
                    "job": row.id,
                    "number": number,
                    "name": name,
                    "nonce": secrets.token_hex(16),
                    "site": site,
                    "state": AttemptState.INTENT,
                    "begun": begun,
                    "batch": number_of_batch,
                    "place": place,
                    "fence": self._writer.fence,
                    "absences": 0,
                }
                for place, ((row, _, number), name) in enumerate(zip(chosen, names, strict=True))
            ]
            ids = journal.insert(attempts, values)
        return [
            (
                Attempt(
                    id=number,
                    intent=row.intent,
                    job=value["job"],
                    key=row.key,
                    number=value["number"],
                    name=value["name"],
                    nonce=value["nonce"],
                    site=site,
                    address=item.address,
                    state=AttemptState.INTENT,
                    begun=begun,
                    batch=batch,
                    place=value["place"],
                    engine=first.engine,
                    events=row.events,
                    release=first.release,
                    commit=first.commit,
                    failures=row.failures,
                ),
                item,
            )
            for number, value, (row, item, _) in zip(ids, values, chosen, strict=True)
        ]

    def record_submitted(self, references: Mapping[int, str]) -> None:
        """Records that the engine took attempts, or that it has them under their names: attempt id → its reference."""
        with self._writer.writing(polling=True) as journal:
            for attempt, reference in references.items():
                at = and_(
                    attempts.c.id == attempt,
                    attempts.c.state.in_((AttemptState.INTENT, AttemptState.UNCERTAIN)),
                )
                values = {"state": AttemptState.SUBMITTED, "reference": reference, **_SEEN}
                journal.update(attempts, at, values)

    def record_deferred(self, numbers: Iterable[int], reason: str) -> None:
        """Records that the engine took none of these attempts, since it takes nothing now. They never began and do not count."""
        values = {"state": AttemptState.DEFERRED, "reason": reason[:2000], "ended": self._writer.clock.show()}
        self._change(numbers, attempts.c.state == AttemptState.INTENT, values)

    def record_uncertain(self, numbers: Iterable[int], reason: str) -> None:
        """Records that nobody knows whether the engine took these attempts; it is asked for their names later."""
        self._change(
            numbers,
            attempts.c.state == AttemptState.INTENT,
            {"state": AttemptState.UNCERTAIN, "reason": reason[:2000]},
        )

    def doubt_intents(self) -> None:
        """Makes every attempt with an intent uncertain, since the process that wrote the intent has ended."""
        with self._writer.writing(polling=True) as journal:
            values = {
                "state": AttemptState.UNCERTAIN,
                "reason": "the reconciler ended while it was being submitted",
            }
            journal.update(attempts, attempts.c.state == AttemptState.INTENT, values)

    def ask_end(self, numbers: Iterable[int], reason: str) -> None:
        """Records that the end of these attempts was asked for; they are cancelled once their engine confirms it."""
        self._change(numbers, attempts.c.cancel.is_(None), {"cancel": reason[:500]})

    def record_running(self, numbers: Iterable[int]) -> None:
        """Records that the engine said of these attempts that they run."""
        self._change(numbers, attempts.c.state == AttemptState.SUBMITTED, {"state": AttemptState.RUNNING})

    def record_seen(self, numbers: Iterable[int]) -> None:
        """Records that the engine knows these attempts again, after it did not know them or did not answer."""
        self._change(numbers, true(), _SEEN)

    def record_absent(self, numbers: Iterable[int]) -> None:
        """Records that a complete answer lacked these attempts, or that an ended one left no result: one sign, no proof."""
        since = func.coalesce(attempts.c.missed, self._writer.clock.show())
        self._change(numbers, true(), {"absences": attempts.c.absences + 1, "missed": since})

    def record_returned(self, attempt: Attempt) -> None:
        """Records that the engine knows a lost attempt again: it is live, and no longer a failure of its job."""
        with self._writer.writing() as journal:
            at = and_(attempts.c.id == attempt.id, attempts.c.state == AttemptState.LOST)
            values = {"state": AttemptState.RUNNING, "ended": None, "reason": None, **_SEEN}
            if journal.update(attempts, at, values):
                counted = and_(jobs.c.id == attempt.job, jobs.c.failures > 0)
                journal.update(jobs, counted, {"failures": jobs.c.failures - 1, "after": None})

    def is_awaited(self, attempt: Attempt, *, alone: bool) -> bool:
        """Whether the result of an attempt would be used: its unit is open, and no other attempt of its job is verified.

        With `alone`, no other attempt of its job may be live either.
        """
        others = (AttemptState.VERIFIED, *LIVE) if alone else (AttemptState.VERIFIED,)
        rival = select(attempts.c.id).where(attempts.c.job == attempt.job, attempts.c.state.in_(others))
        unit = select(intents.c.state).where(intents.c.id == attempt.intent)
        with self._writer.reading() as connection:
            if connection.execute(unit).scalar() != IntentState.OPEN:
                return False
            return connection.execute(rival.where(attempts.c.id != attempt.id).limit(1)).first() is None

    def record_unknown(self, numbers: Iterable[int], reason: str) -> None:
        """Records since when nothing is known of these attempts; their state stays."""
        values = {"unknown": self._writer.clock.show(), "reason": reason[:2000]}
        self._change(numbers, attempts.c.unknown.is_(None), values)

    def record_elsewhere(self, numbers: Iterable[int], reason: str) -> None:
        """Records that the engine that their site has now knows nothing of these attempts; the reason replaces any before."""
        values = {
            "unknown": func.coalesce(attempts.c.unknown, self._writer.clock.show()),
            "reason": reason[:2000],
        }
        new = or_(attempts.c.unknown.is_(None), attempts.c.reason.is_distinct_from(values["reason"]))
        self._change(numbers, new, values)

    def record_verified(
        self,
        attempt: Attempt,
        made: Sequence[Product],
        events_read: int | None,
        cpu_seconds: float | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> bool:
        """Records an attempt whose outputs are what its result states. True when the whole unit can now be published.

        `record` is what else is known of how they were made, as JSON data. The attempt is discarded where its unit was given up meanwhile, and another makes the same.
        """
        with self._writer.writing() as journal:
            if is_replaced(journal, attempt.intent):
                self._end(journal, attempt, AttemptState.DISCARDED, None, "another unit makes the same")
                return False
            self._end(journal, attempt, AttemptState.VERIFIED)
            kept = canonical_json(record).decode() if record else None
            told = {"cpu_seconds": cpu_seconds, "events_read": events_read, "record": kept}
            journal.update(attempts, attempts.c.id == attempt.id, told)
            others = and_(
                attempts.c.job == attempt.job, attempts.c.state.in_(LIVE), attempts.c.cancel.is_(None)
            )
            journal.update(attempts, others, {"cancel": "another attempt of its job was faster"})
            rows = select(outputs.c.output, outputs.c.id).where(outputs.c.intent == attempt.intent)
            numbers = {row.output: row.id for row in journal.connection.execute(rows)}
            journal.insert(
                products,
                [
                    {
                        "output": numbers[product.output],
                        "path": product.path,
                        "attempt": attempt.id,
                        "size": product.size,
                        "checksum": product.checksum,
                        "events": product.events,
                        "rows": product.rows,
                        "kind": product.kind,
                    }
                    for product in made
                ],
            )
            mine = outputs.c.intent == attempt.intent
            journal.update(outputs, mine, {"events_read": sum_read(journal.connection, attempt.intent)})
            verified = exists().where(attempts.c.job == jobs.c.id, attempts.c.state == AttemptState.VERIFIED)
            open_jobs = select(jobs.c.id).where(jobs.c.intent == attempt.intent, not_(verified))
            complete = journal.connection.execute(open_jobs).first() is None
            if complete:
                journal.update(outputs, mine, {"state": OutputState.PUBLISHING})
        return complete

    def find_clash(self, attempt: Attempt, made: Sequence[Product]) -> str | None:
        """A file name among `made` that an earlier job of the same unit took for the same output."""
        query = select(outputs.c.output, products.c.path).join(outputs, outputs.c.id == products.c.output)
        with self._writer.reading() as connection:
            rows = connection.execute(query.where(outputs.c.intent == attempt.intent))
            taken = {(row.output, row.path) for row in rows}
        return next((product.path for product in made if (product.output, product.path) in taken), None)

    def record_failed(
        self,
        attempt: Attempt,
        failure: FailureClass,
        reason: str,
        *,
        max_attempts: int,
        after: int | None = None,
        signature: str | None = None,
    ) -> bool:
        """Records a failure. True when it puts the unit into quarantine: by its class, or because no attempts are left.

        `after` is when it may be tried again, in seconds since 1970; equal failures have an equal `signature`.
        """
        with self._writer.writing() as journal:
            self._end(journal, attempt, AttemptState.FAILED, failure, reason, signature)
            most = 0 if failure.is_final else max_attempts
            return _count_failure(journal, attempt, reason, most, after)

    def record_gone(
        self, attempt: Attempt, state: AttemptState, reason: str, *, most: int | None = None
    ) -> None:
        """Records an attempt that is `lost` (proven absent, no result), `cancelled` or `discarded`.

        It counts as no failure; but where it was the job's `most`th attempt, the unit is quarantined.
        """
        with self._writer.writing() as journal:
            self._end(journal, attempt, state, None, reason)
            if most is not None and attempt.number >= most:
                quarantine(
                    journal, attempt.intent, f"{attempt.number} attempts came to nothing, the last: {reason}"
                )

    def record_lost(self, attempt: Attempt, reason: str, *, max_attempts: int, after: int | None) -> bool:
        """Records that an engine took an attempt and lost it, which counts as a failure. True when the unit is in quarantine."""
        with self._writer.writing() as journal:
            self._end(journal, attempt, AttemptState.LOST, None, reason)
            return _count_failure(journal, attempt, reason, max_attempts, after)

    def find_failure(self, intent: int) -> str | None:
        """The reason of the last attempt that ended without a result, of a job that is not verified; None where there is none."""
        done = select(attempts.c.job).where(attempts.c.state == AttemptState.VERIFIED)
        query = select(attempts.c.reason).join(jobs, jobs.c.id == attempts.c.job)
        at = (jobs.c.intent == intent, attempts.c.ended.is_not(None), attempts.c.job.not_in(done))
        with self._writer.reading() as connection:
            found: str | None = connection.execute(query.where(*at).order_by(attempts.c.id.desc())).scalar()
        return found

    def is_resting(self, intent: int) -> bool:
        """Whether no attempt of an intent may still come to a result."""
        query = select(attempts.c.id).join(jobs, jobs.c.id == attempts.c.job)
        at = (jobs.c.intent == intent, attempts.c.state.in_(LIVE))
        with self._writer.reading() as connection:
            return connection.execute(query.where(*at).limit(1)).first() is None

    def list_live(self) -> tuple[Attempt, ...]:
        """All attempts that may still come to a result, the oldest first."""
        with self._writer.reading() as connection:
            rows = connection.execute(ATTEMPTS.where(attempts.c.state.in_(LIVE)))
            return tuple(make_attempt(row) for row in rows)

    def list_lost(self, site: str, since: str) -> tuple[Attempt, ...]:
        """The attempts at a site that its engine took, and that were lost since a time."""
        at = and_(LOST, attempts.c.site == site, attempts.c.ended >= since)
        at = and_(at, attempts.c.reference.is_not(None))
        with self._writer.reading() as connection:
            return tuple(make_attempt(row) for row in connection.execute(ATTEMPTS.where(at)))

    def list_due(self, attempt: Attempt) -> dict[str, str | None]:
        """Output → name of the file that the attempt's job must write; None where the ledger does not have the name."""
        query = select(jobs.c.due).where(jobs.c.id == attempt.job)
        made = select(outputs.c.output).where(outputs.c.intent == attempt.intent).order_by(outputs.c.id)
        with self._writer.reading() as connection:
            kept = connection.scalar(query)
            return json.loads(kept) if kept else dict.fromkeys(connection.scalars(made))

    def is_done(self, job: int) -> bool:
        """Whether an attempt of a job is verified."""
        query = select(attempts.c.id).where(attempts.c.job == job, attempts.c.state == AttemptState.VERIFIED)
        with self._writer.reading() as connection:
            return connection.execute(query).first() is not None

    def _change(self, numbers: Iterable[int], where: ColumnElement[bool], values: Mapping[str, Any]) -> None:
        listed = sorted(numbers)
        if not listed:
            return
        with self._writer.writing(polling=True) as journal:
            for start in range(0, len(listed), CHUNK):
                at = and_(attempts.c.id.in_(listed[start : start + CHUNK]), where)
                journal.update(attempts, at, values)

    def _end(
        self,
        journal: Journal,
        attempt: Attempt,
        state: AttemptState,
        failure: FailureClass | None = None,
        reason: str | None = None,
        signature: str | None = None,
    ) -> None:
        values = {
            "state": state,
            "failure": failure,
            "reason": reason and reason[:2000],
            "signature": signature,
            "ended": self._writer.clock.show(),
        }
        journal.update(attempts, attempts.c.id == attempt.id, values)


def _count_failure(
    journal: Journal, attempt: Attempt, reason: str, max_attempts: int, after: int | None
) -> bool:
    """Counts a failed attempt of a job; true when with it the unit is quarantined."""
    values = {"failures": jobs.c.failures + 1, "after": after}
    (row,) = journal.update(jobs, jobs.c.id == attempt.job, values)
    if row.failures < max_attempts:
        return False
    quarantine(journal, attempt.intent, reason)
    return True
