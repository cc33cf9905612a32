"""Writes attempts into the ledger: their begin, what engines say of them, and their end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select, true, update

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import (
    LOST,
    attempts,
    batches,
    intents,
    jobs,
    kept_files,
    outputs,
    products,
)
from reconciler.ledger.store.database import insert_new
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
from reconciler.ledger.writing.units import is_under_way, quarantine
from reconciler.model.bundles import BundledJob, divide_jobs
from reconciler.model.names import name_attempt, name_batch
from reconciler.model.states import LIVE, AttemptState, FailureClass, IntentState, OutputState
from reconciler.model.work_items import UNMEASURED, Attempt, Product, Usage, WorkItem
from schemas.files.canonical import canonical_json

SPARED = "its bundle ended before it began"
"""How the reason of an attempt begins that was lost because others of its bundle failed or took too long."""

_SEEN: Mapping[str, Any] = {"absences": 0, "unknown": None, "missed": None}


class AttemptLedger:
    """Writes attempts."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.tallies = Tallies(writer)
        self.leftovers = Leftovers(writer)

    def begin(self, items: Sequence[WorkItem]) -> list[tuple[Attempt, WorkItem]]:
        """Makes a new attempt for each item, which has an intent and one job; all are in one batch. Returns attempts and items.

        They are bundled as the first item says; a job that has failed is not bundled, so that it takes no other one down.
        There is none for a job that is verified or has a live attempt, or whose unit was stopped or settled after its intent was
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
            memory = first.memory if all(number == 1 for *_, number in chosen) else None
            waiting = (BundledJob(item.run, item.minutes, row.failures > 0) for row, item, _ in chosen)
            origin = describe_origin(first, memory, divide_jobs(waiting, first.bundle, first.limit))
            row = {"name": batch, "site": site, "engine": first.engine, "origin": origin}
            (number_of_batch,) = journal.insert(batches, [row])
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
            journal.insert(attempts, values)
            rows_of_batch = journal.connection.execute(ATTEMPTS.where(attempts.c.batch == number_of_batch))
            made = [make_attempt(row) for row in rows_of_batch]
        return [(attempt, chosen[attempt.place][1]) for attempt in made]

    def record_submitted(self, references: Mapping[int, str]) -> None:
        """Records that the engine took attempts, or has jobs with their names; attempt id → the engine's reference."""
        new = attempts.c.state.in_((AttemptState.INTENT, AttemptState.UNCERTAIN))
        with self._writer.writing(polling=True) as journal:
            taken = {"state": AttemptState.SUBMITTED, **_SEEN}
            rows = [{"id": number, "reference": told, **taken} for number, told in references.items()]
            journal.update_each(attempts, new, rows)

    def record_deferred(self, numbers: Iterable[int], reason: str) -> None:
        """Records that the engine took none of these attempts, because it takes nothing now. They do not count."""
        values = {"state": AttemptState.DEFERRED, "reason": reason[:2000], "ended": self._writer.clock.show()}
        self._change(numbers, attempts.c.state == AttemptState.INTENT, values, polling=False)

    def record_uncertain(self, numbers: Iterable[int], reason: str) -> None:
        """Records that it is not known whether the engine took these attempts; it is asked for their names later."""
        values = {"state": AttemptState.UNCERTAIN, "reason": reason[:2000]}
        self._change(numbers, attempts.c.state == AttemptState.INTENT, values)

    def doubt_intents(self) -> None:
        """Makes all attempts in state `intent` uncertain, because the process that made them has ended."""
        reason = "the reconciler ended while it was being submitted"
        with self._writer.writing(polling=True) as journal:
            values = {"state": AttemptState.UNCERTAIN, "reason": reason}
            journal.update(attempts, attempts.c.state == AttemptState.INTENT, values)

    def ask_end(self, numbers: Iterable[int], reason: str) -> None:
        """Records that the end of these attempts was asked for; they are cancelled when their engine confirms it."""
        self._change(numbers, attempts.c.cancel.is_(None), {"cancel": reason[:500]})

    def record_running(self, numbers: Iterable[int]) -> None:
        """Records that these attempts run, as the engine says."""
        self._change(numbers, attempts.c.state == AttemptState.SUBMITTED, {"state": AttemptState.RUNNING})

    def record_seen(self, numbers: Iterable[int]) -> None:
        """Records that the engine knows these attempts again, after it did not know them or did not answer."""
        self._change(numbers, true(), _SEEN)

    def record_absent(self, numbers: Iterable[int]) -> None:
        """Records that a complete answer lacked these attempts, or that an ended one left no result. Once proves nothing."""
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

        With `alone`, there must also be no other live attempt of its job.
        """
        others = (AttemptState.VERIFIED, *LIVE) if alone else (AttemptState.VERIFIED,)
        rival = exists().where(
            attempts.c.job == attempt.job, attempts.c.state.in_(others), attempts.c.id != attempt.id
        )
        is_open = and_(intents.c.id == attempt.intent, intents.c.state == IntentState.OPEN)
        return self._writer.find(select(intents.c.id).where(is_open, not_(rival))) is not None

    def record_unknown(self, numbers: Iterable[int], reason: str) -> None:
        """Records since when nothing is known of these attempts; their state does not change."""
        values = {"unknown": self._writer.clock.show(), "reason": reason[:2000]}
        self._change(numbers, attempts.c.unknown.is_(None), values)

    def record_elsewhere(self, numbers: Iterable[int], reason: str) -> None:
        """Records that the present engine of their site does not know these attempts; the reason replaces an earlier one."""
        since = func.coalesce(attempts.c.unknown, self._writer.clock.show())
        new = or_(attempts.c.unknown.is_(None), attempts.c.reason.is_distinct_from(reason[:2000]))
        self._change(numbers, new, {"unknown": since, "reason": reason[:2000]})

    def record_verified(
        self,
        attempt: Attempt,
        made: Sequence[Product],
        events_read: int | None,
        usage: Usage = UNMEASURED,
        record: Mapping[str, Any] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> bool:
        """Records an attempt whose outputs are as its result states. Returns true if the whole unit can now be published.

        `record` has other details, as JSON data; `kept` maps names of its files that the state keeps to their digests. If the
        unit was abandoned in the meantime and another unit makes the same outputs, the attempt is discarded.
        """
        with self._writer.writing() as journal:
            _note_use(journal, attempt.site, (kept or {}).values(), self._writer.clock.show())
            if is_replaced(journal, attempt.intent):
                self._end(journal, attempt, AttemptState.DISCARDED, "another unit makes the same")
                return False
            self._end(journal, attempt, AttemptState.VERIFIED)
            told = {**asdict(usage), "events_read": events_read}
            told |= {"record": _write_json(record), "kept": _write_json(kept)}
            journal.update(attempts, attempts.c.id == attempt.id, told)
            live = and_(attempts.c.state.in_(LIVE), attempts.c.cancel.is_(None))
            others = and_(attempts.c.job == attempt.job, live)
            journal.update(attempts, others, {"cancel": "another attempt of its job was faster"})
            mine = outputs.c.intent == attempt.intent
            rows = journal.connection.execute(select(outputs.c.output, outputs.c.id).where(mine))
            numbers = {row.output: row.id for row in rows}
            journal.insert(
                products,
                [{**asdict(one), "output": numbers[one.output], "attempt": attempt.id} for one in made],
            )
            journal.update(outputs, mine, {"events_read": sum_read(journal.connection, attempt.intent)})
            verified = exists().where(attempts.c.job == jobs.c.id, attempts.c.state == AttemptState.VERIFIED)
            open_jobs = select(jobs.c.id).where(jobs.c.intent == attempt.intent, not_(verified))
            complete = journal.connection.execute(open_jobs).first() is None
            if complete:
                journal.update(outputs, mine, {"state": OutputState.PUBLISHING})
        return complete

    def find_clash(self, attempt: Attempt, made: Sequence[Product]) -> str | None:
        """A file name in `made` that an earlier job of the unit used for the same output; None if there is none."""
        query = select(outputs.c.output, products.c.path).join(outputs, outputs.c.id == products.c.output)
        rows = self._writer.read(query.where(outputs.c.intent == attempt.intent))
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
        """Records a failure. Returns true if the unit is now in quarantine: because of the class, or no attempts are left.

        `after` is when it may be tried again, in seconds since 1970; equal failures have an equal `signature`.
        """
        with self._writer.writing() as journal:
            self._end(journal, attempt, AttemptState.FAILED, reason, failure=failure, signature=signature)
            most = 0 if failure.is_final else max_attempts
            return _count_failure(journal, attempt, reason, most, after)

    def record_gone(
        self, attempt: Attempt, state: AttemptState, reason: str, *, most: int | None = None
    ) -> None:
        """Records an attempt that is `lost` (proved absent, no result), `cancelled` or `discarded`.

        It does not count as a failure. But if it was the `most`th attempt of its job, the unit goes into quarantine. What was
        deferred, or lost with a bundle that others ended, does not count.
        """
        with self._writer.writing() as journal:
            self._end(journal, attempt, state, reason)
            if most is not None and (tried := attempt.number - _count_spared(journal, attempt)) >= most:
                told = f"{tried} attempts came to nothing, the last: {reason}"
                quarantine(journal, attempt.intent, told)

    def record_lost(self, attempt: Attempt, reason: str, *, max_attempts: int, after: int | None) -> bool:
        """Records that an engine lost an attempt that it took: a failure. Returns true if the unit is now in quarantine."""
        with self._writer.writing() as journal:
            self._end(journal, attempt, AttemptState.LOST, reason)
            return _count_failure(journal, attempt, reason, max_attempts, after)

    def find_failure(self, intent: int) -> str | None:
        """The reason of the last attempt that ended without a result, of a job that is not verified; None if there is none."""
        done = select(attempts.c.job).where(attempts.c.state == AttemptState.VERIFIED)
        query = select(attempts.c.reason).join(jobs, jobs.c.id == attempts.c.job)
        at = (jobs.c.intent == intent, attempts.c.ended.is_not(None), attempts.c.job.not_in(done))
        found: str | None = self._writer.find(query.where(*at).order_by(attempts.c.id.desc()))
        return found

    def is_resting(self, intent: int) -> bool:
        """Whether an intent has no live attempt."""
        with self._writer.reading() as connection:
            return not is_under_way(connection, intent)

    def list_live(self) -> tuple[Attempt, ...]:
        """All live attempts, the oldest first."""
        return tuple(map(make_attempt, self._writer.read(ATTEMPTS.where(attempts.c.state.in_(LIVE)))))

    def list_lost(self, site: str, since: str) -> tuple[Attempt, ...]:
        """The attempts that a site's engine took, and that were lost since a time."""
        at = (LOST, attempts.c.site == site, attempts.c.ended >= since, attempts.c.reference.is_not(None))
        return tuple(map(make_attempt, self._writer.read(ATTEMPTS.where(*at))))

    def list_due(self, attempt: Attempt) -> dict[str, str | None]:
        """Output → name of the file that the attempt's job must write; None if the ledger does not have the name."""
        if kept := self._writer.find(select(jobs.c.due).where(jobs.c.id == attempt.job)):
            return dict(json.loads(kept))
        made = select(outputs.c.output).where(outputs.c.intent == attempt.intent).order_by(outputs.c.id)
        return {row.output: None for row in self._writer.read(made)}

    def is_done(self, job: int) -> bool:
        """Whether an attempt of a job is verified."""
        query = select(attempts.c.id).where(attempts.c.job == job, attempts.c.state == AttemptState.VERIFIED)
        return self._writer.find(query) is not None

    def _change(
        self,
        numbers: Iterable[int],
        where: ColumnElement[bool],
        values: Mapping[str, Any],
        *,
        polling: bool = True,
    ) -> None:
        if not (listed := sorted(numbers)):
            return
        with self._writer.writing(polling=polling) as journal:
            for part in divide(listed):
                journal.update(attempts, and_(attempts.c.id.in_(part), where), values)

    def _end(
        self, journal: Journal, attempt: Attempt, state: AttemptState, reason: str | None = None, **told: Any
    ) -> None:
        """Ends an attempt; if it failed, `told` has the failure's class and signature."""
        values = {"failure": None, "signature": None, **told, "reason": reason and reason[:2000]}
        values |= {"state": state, "ended": self._writer.clock.show()}
        journal.update(attempts, attempts.c.id == attempt.id, values)


def _write_json(told: Mapping[str, Any] | None) -> str | None:
    return canonical_json(told).decode() if told else None


def _note_use(journal: Journal, site: str, digests: Iterable[str], now: str) -> None:
    """Notes that an attempt of a site used kept files. This is not in the journal: it can be seen in the attempts."""
    used = {"site": site, "used": now}
    if rows := [{"digest": digest, **used} for digest in sorted({*digests})]:
        journal.connection.execute(insert_new(journal.connection, kept_files), rows)
        known = kept_files.c.digest.in_([row["digest"] for row in rows])
        journal.connection.execute(update(kept_files).where(known).values(used))


def _count_spared(journal: Journal, attempt: Attempt) -> int:
    """How many attempts of a job, up to this one, say nothing of it: the engine took none then, or others ended its bundle."""
    spared = and_(attempts.c.state == AttemptState.LOST, attempts.c.reason.startswith(SPARED))
    at = and_(attempts.c.job == attempt.job, or_(attempts.c.state == AttemptState.DEFERRED, spared))
    found = journal.connection.scalar(select(func.count()).select_from(attempts).where(at))
    return found or 0


def _count_failure(
    journal: Journal, attempt: Attempt, reason: str, max_attempts: int, after: int | None
) -> bool:
    """Counts a failed attempt of a job; returns true if the unit is now in quarantine."""
    values = {"failures": jobs.c.failures + 1, "after": after}
    (row,) = journal.update(jobs, jobs.c.id == attempt.job, values)
    if row.failures < max_attempts:
        return False
    quarantine(journal, attempt.intent, reason)
    return True
