"""Writing the ledger: every intent before its side effect, unit by unit, each method one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, exists, func, insert, not_, or_, select, update

from reconciler.database import insert_new
from reconciler.following import store_snapshots
from reconciler.naming import name_attempt, name_folder
from reconciler.orders import Attempt, Move, Order, Product
from reconciler.selection import admit_runs
from reconciler.tables import (
    LIVE,
    LIVE_OUTPUT,
    attempts,
    bindings,
    intents,
    jobs,
    ledger,
    outputs,
    payload_buckets,
    payload_sets,
    plans,
    products,
    recipes,
)
from renderer.fingerprint import Recipe
from renderer.jobs import Job
from renderer.payloads import PayloadSet
from schemas.canonical import canonical_json
from schemas.runs import split_key
from schemas.snapshot import Snapshot


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Ledger:
    """The writer. Only one exists at a time for a ledger (`reconciler.apply` holds a lock for it)."""

    def __init__(self, engine: Engine, clock: Callable[[], str] = now) -> None:
        self._engine = engine
        self._clock = clock
        self._plan: str | None = None
        with engine.begin() as connection:
            self.id: str = connection.execute(select(ledger.c.id)).scalar_one()

    def begin_plan(self, digest: str, content: Mapping[str, Any]) -> None:
        """Records that a plan is being applied; once more after an interruption changes nothing."""
        self._plan = digest
        with self._engine.begin() as connection:
            serial = connection.execute(select(ledger.c.serial)).scalar_one()
            row = {
                "digest": digest,
                "content": canonical_json(content),
                "begun": self._clock(),
                "serial": serial,
            }
            connection.execute(insert_new(connection, plans).values(row))

    def admit(self, campaign: str, entrants: Sequence[int]) -> None:
        """Records that open selections of a campaign have taken in runs."""
        with self._engine.begin() as connection:
            admit_runs(connection, campaign, entrants)

    def keep_snapshots(self, found: Iterable[Snapshot]) -> None:
        """Stores snapshots that runs may be bound to: a baseline in the repository may be replaced one day."""
        with self._engine.begin() as connection:
            store_snapshots(connection, found)

    def end_plan(self) -> None:
        """Records that all of the plan was tried."""
        with self._engine.begin() as connection:
            connection.execute(update(plans).where(plans.c.digest == self._plan).values(ended=self._clock()))

    def intend(self, orders: Sequence[Order]) -> list[tuple[Attempt, ...]]:
        """The new attempts of each unit: its open intent is continued where it wants the same, else a new one is made.

        There are none for a unit whose outputs another unit of the campaign makes, or has made, from equal input.
        """
        made: list[tuple[Attempt, ...]] = []
        with self._engine.begin() as connection:
            for order in orders:
                intent = self._continue_intent(connection, order)
                if intent is None and not self._has_twin(connection, order):
                    intent = self._make_intent(connection, order)
                tried = (
                    ()
                    if intent is None
                    else (self._make_attempt(connection, order, intent, job) for job in order.jobs)
                )
                made.append(tuple(attempt for attempt in tried if attempt is not None))
            self._move_serial(connection)
        return made

    def record_submitted(self, accepted: Mapping[int, str]) -> None:
        """Attempt id → the engine's reference: these were taken."""
        with self._engine.begin() as connection:
            for attempt, reference in accepted.items():
                at = and_(attempts.c.id == attempt, attempts.c.state == "intent")
                connection.execute(update(attempts).where(at).values(state="submitted", reference=reference))

    def record_verified(self, attempt: Attempt, made: Sequence[Product], events_read: int | None) -> bool:
        """Records an attempt whose outputs are as it said; true when with it the whole unit can be published."""
        with self._engine.begin() as connection:
            self._end(connection, attempt, "verified")
            rows = select(outputs.c.output, outputs.c.id).where(outputs.c.intent == attempt.intent)
            numbers = dict(connection.execute(rows).all())
            for product in made:
                row = {"output": numbers[product.output], "path": product.path, "attempt": attempt.id}
                row |= {"size": product.size, "checksum": product.checksum, "events": product.events}
                connection.execute(insert(products).values(row))
            read = func.coalesce(outputs.c.events_read, 0) + (events_read or 0)
            mine = outputs.c.intent == attempt.intent
            connection.execute(update(outputs).where(mine).values(events_read=read))
            verified = exists().where(attempts.c.job == jobs.c.id, attempts.c.state == "verified")
            open_jobs = select(jobs.c.id).where(jobs.c.intent == attempt.intent, not_(verified))
            complete = connection.execute(open_jobs).first() is None
            if complete:
                connection.execute(update(outputs).where(mine).values(state="publishing"))
            self._move_serial(connection)
        return complete

    def find_clash(self, attempt: Attempt, made: Sequence[Product]) -> str | None:
        """A file name among `made` that an earlier job of the same unit took for the same output."""
        query = select(outputs.c.output, products.c.path).join(outputs, outputs.c.id == products.c.output)
        with self._engine.begin() as connection:
            taken = set(map(tuple, connection.execute(query.where(outputs.c.intent == attempt.intent))))
        return next((product.path for product in made if (product.output, product.path) in taken), None)

    def record_failed(self, attempt: Attempt, failure: str, reason: str, max_attempts: int) -> bool:
        """Records a failure; true when the unit is thereby quarantined: by its class, or its attempts are used up."""
        with self._engine.begin() as connection:
            self._end(connection, attempt, "failed", failure, reason)
            mine = jobs.c.id == attempt.job
            connection.execute(update(jobs).where(mine).values(failures=jobs.c.failures + 1))
            count = connection.execute(select(jobs.c.failures).where(mine)).scalar_one()
            quarantined = failure in ("input", "permanent") or count >= max_attempts
            if quarantined:
                self._quarantine(connection, attempt.intent, reason)
            self._move_serial(connection)
        return quarantined

    def record_refused(self, intent: int, reason: str) -> None:
        """Records that a unit's outputs could not be put at their final places; it waits for a person."""
        with self._engine.begin() as connection:
            self._quarantine(connection, intent, reason)
            self._move_serial(connection)

    def record_gone(self, attempt: Attempt, state: str, reason: str) -> None:
        """Records an attempt that is `lost` (proven absent, no result) or `cancelled`; its job may be tried again."""
        with self._engine.begin() as connection:
            self._end(connection, attempt, state, None, reason)
            self._move_serial(connection)

    def record_produced(self, intent: int) -> None:
        """Records that all outputs of a unit are at their final places: from here on readers trust them."""
        with self._engine.begin() as connection:
            events = (
                select(func.sum(products.c.events)).where(products.c.output == outputs.c.id).scalar_subquery()
            )
            values = {"state": "produced", "produced": self._clock(), "events": events}
            connection.execute(update(outputs).where(outputs.c.intent == intent).values(values))
            connection.execute(update(intents).where(intents.c.id == intent).values(state="produced"))
            self._move_serial(connection)

    def release(self, campaign: str, step: str | None, keys: Iterable[int] | None, reason: str) -> int:
        """Lets quarantined units be tried again, as if anew: how many there were. None: all of them."""
        with self._engine.begin() as connection:
            at = and_(intents.c.campaign == campaign, intents.c.state == "quarantined")
            if step is not None:
                at = and_(at, intents.c.step == step)
            rows = connection.execute(
                select(intents.c.id, intents.c.experiment, intents.c.run).where(at)
            ).all()
            wanted = None if keys is None else {split_key(key) for key in keys}
            found = [row.id for row in rows if wanted is None or (row.experiment, row.run) in wanted]
            for intent in found:
                values = {"state": "abandoned", "reason": reason[:500]}
                connection.execute(update(intents).where(intents.c.id == intent).values(values))
            if found:
                self._move_serial(connection)
        return len(found)

    def list_live(self) -> tuple[Attempt, ...]:
        """All attempts that may still come to a result, the oldest first."""
        query = (
            select(attempts, jobs.c.intent, jobs.c.key, intents.c.campaign)
            .join(jobs, jobs.c.id == attempts.c.job)
            .join(intents, intents.c.id == jobs.c.intent)
            .where(attempts.c.state.in_(LIVE))
            .order_by(attempts.c.id)
        )
        with self._engine.begin() as connection:
            return tuple(
                Attempt(row.id, row.intent, row.job, row.key, row.name, row.nonce, row.campaign, row.site)
                for row in connection.execute(query)
            )

    def list_publishing(self) -> tuple[int, ...]:
        """The intents that were being published when their reconciler ended."""
        query = (
            select(outputs.c.intent)
            .where(outputs.c.state == "publishing")
            .distinct()
            .order_by(outputs.c.intent)
        )
        with self._engine.begin() as connection:
            return tuple(connection.scalars(query))

    def list_moves(self, intent: int) -> tuple[Move, ...]:
        """Where the verified files of an intent are to go."""
        columns = (attempts.c.name, products.c.path, outputs.c.storage, outputs.c.folder, products.c.size)
        query = (
            select(*columns, products.c.checksum)
            .join(outputs, outputs.c.id == products.c.output)
            .join(attempts, attempts.c.id == products.c.attempt)
            .where(outputs.c.intent == intent)
            .order_by(outputs.c.id, products.c.path)
        )
        with self._engine.begin() as connection:
            return tuple(
                Move(name, path, f"{storage}/{folder}", size, checksum)
                for name, path, storage, folder, size, checksum in connection.execute(query)
            )

    def list_ended(self, names: Iterable[str]) -> set[str]:
        """Those of the attempts' names whose folders nobody needs any more: not live, not failed, not unpublished.

        Names that the ledger does not know are not ours to judge.
        """
        ended = (
            select(attempts.c.name)
            .join(jobs, jobs.c.id == attempts.c.job)
            .join(intents, intents.c.id == jobs.c.intent)
            .where(attempts.c.state.not_in((*LIVE, "failed")))
            .where(or_(attempts.c.state != "verified", intents.c.state.not_in(("open", "quarantined"))))
        )
        listed = sorted(names)
        with self._engine.begin() as connection:
            chunks = (listed[start : start + 500] for start in range(0, len(listed), 500))
            return {
                name for part in chunks for name in connection.scalars(ended.where(attempts.c.name.in_(part)))
            }

    def _continue_intent(self, connection: Connection, order: Order) -> int | None:
        experiment, run = split_key(order.run)
        unit = and_(
            intents.c.campaign == order.campaign.name,
            intents.c.step == order.step.name,
            intents.c.experiment == experiment,
            intents.c.run == run,
            intents.c.state == "open",
        )
        intent: int | None = connection.execute(select(intents.c.id).where(unit)).scalar()
        if intent is None:
            return None
        wanted = set(connection.scalars(select(outputs.c.fingerprint).where(outputs.c.intent == intent)))
        keys = set(connection.scalars(select(jobs.c.key).where(jobs.c.intent == intent)))
        if wanted == set(order.fingerprints.values()) and keys == {job.key for job in order.jobs}:
            return intent
        values = {"state": "abandoned", "reason": "something else is wanted now"}
        connection.execute(update(intents).where(intents.c.id == intent).values(values))
        connection.execute(update(outputs).where(outputs.c.intent == intent).values(state="abandoned"))
        return None

    def _has_twin(self, connection: Connection, order: Order) -> bool:
        experiment, run = split_key(order.run)
        unit = (outputs.c.step == order.step.name, outputs.c.experiment == experiment, outputs.c.run == run)
        same = (
            outputs.c.campaign == order.campaign.name,
            outputs.c.fingerprint.in_(order.fingerprints.values()),
        )
        twins = select(outputs.c.id).where(*same, LIVE_OUTPUT, not_(and_(*unit)))
        return connection.execute(twins).first() is not None

    def _make_intent(self, connection: Connection, order: Order) -> int:
        experiment, run = split_key(order.run)
        unit = {
            "campaign": order.campaign.name,
            "step": order.step.name,
            "experiment": experiment,
            "run": run,
        }
        if order.payloads is not None:
            _store_payloads(connection, order.payloads)
        _bind(connection, order)
        added = connection.execute(insert(intents).values(plan=self._plan, state="open", **unit))
        intent: int = added.inserted_primary_key[0]  # type: ignore[index]  # an insert has one
        for item in order.outputs:
            same = and_(outputs.c.campaign == order.campaign.name, outputs.c.fingerprint == item.fingerprint)
            gone = and_(same, LIVE_OUTPUT, outputs.c.state == "produced")
            connection.execute(update(outputs).where(gone).values(state="lost"))
            here = and_(*(outputs.c[name] == value for name, value in unit.items()))
            highest = select(func.max(outputs.c.version)).where(here, outputs.c.output == item.recipe.output)
            version = (connection.execute(highest).scalar() or 0) + 1
            content = {
                "intent": intent,
                "output": item.recipe.output,
                "fingerprint": item.fingerprint,
                "recipe": _store_recipe(connection, item.recipe),
                "input": item.input,
                "conditions": item.conditions,
                "state": "intended",
                "version": version,
                "storage": order.storage,
                "folder": name_folder(
                    order.layout, order.campaign, order.step, order.run, item.recipe.output, version
                ),
            }
            connection.execute(insert(outputs).values(**unit, **content))
        rows = [{"intent": intent, "key": job.key, "failures": 0} for job in order.jobs]
        connection.execute(insert(jobs), rows)
        return intent

    def _make_attempt(self, connection: Connection, order: Order, intent: int, job: Job) -> Attempt | None:
        at = and_(jobs.c.intent == intent, jobs.c.key == job.key)
        number: int = connection.execute(select(jobs.c.id).where(at)).scalar_one()
        earlier = connection.execute(select(attempts.c.state).where(attempts.c.job == number)).scalars().all()
        if "verified" in earlier:
            return None
        count = len(earlier) + 1
        unit = (order.campaign.name, order.step, order.run)
        name, nonce = name_attempt(self.id, *unit, job.key, intent, count), secrets.token_hex(16)
        values = {"job": number, "number": count, "name": name, "nonce": nonce, "site": order.campaign.site}
        added = connection.execute(insert(attempts).values(**values, state="intent", begun=self._clock()))
        key: int = added.inserted_primary_key[0]  # type: ignore[index]  # an insert has one
        return Attempt(key, intent, number, job.key, name, nonce, order.campaign.name, order.campaign.site)

    def _quarantine(self, connection: Connection, intent: int, reason: str) -> None:
        values = {"state": "quarantined", "reason": reason[:500]}
        connection.execute(update(intents).where(intents.c.id == intent).values(values))
        connection.execute(update(outputs).where(outputs.c.intent == intent).values(state="abandoned"))

    def _end(
        self,
        connection: Connection,
        attempt: Attempt,
        state: str,
        failure: str | None = None,
        reason: str | None = None,
    ) -> None:
        values = {
            "state": state,
            "failure": failure,
            "reason": reason and reason[:2000],
            "ended": self._clock(),
        }
        connection.execute(update(attempts).where(attempts.c.id == attempt.id).values(values))

    def _move_serial(self, connection: Connection) -> None:
        connection.execute(update(ledger).values(serial=ledger.c.serial + 1))
        if self._plan is not None:
            serial = select(ledger.c.serial).scalar_subquery()
            connection.execute(update(plans).where(plans.c.digest == self._plan).values(serial=serial))


def _store_recipe(connection: Connection, recipe: Recipe) -> int:
    row = {"digest": recipe.digest, "content": canonical_json(recipe.content)}
    connection.execute(insert_new(connection, recipes).values(row))
    found: int = connection.execute(
        select(recipes.c.id).where(recipes.c.digest == recipe.digest)
    ).scalar_one()
    return found


def _bind(connection: Connection, order: Order) -> None:
    """Binds a run to the snapshots of `forward` tags that it begins with; one that is bound already stays so."""
    if order.begun:
        experiment, run = split_key(order.run)
        row = {"campaign": order.campaign.name, "experiment": experiment, "run": run}
        row |= {"snapshots": " ".join(order.begun)}
        connection.execute(insert_new(connection, bindings).values(row))


def _store_payloads(connection: Connection, found: PayloadSet) -> None:
    """Stores a payload set, unless it is known: of its buckets, only those that no earlier set had are new."""
    known = select(payload_sets.c.digest).where(payload_sets.c.digest == found.digest)
    if connection.execute(known).first() is not None:
        return
    rows = [
        {
            "digest": bucket.digest,
            "payloads": canonical_json([[one.name, one.revision, one.checksum] for one in bucket.payloads]),
        }
        for bucket in found.buckets
    ]
    connection.execute(insert_new(connection, payload_buckets), rows)
    row = {"digest": found.digest, "buckets": b"".join(bucket.digest for bucket in found.buckets)}
    connection.execute(insert(payload_sets).values(row))
