"""Writes units into the ledger: plans, intents, outputs. Every intent is written before its unit's jobs are submitted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from reconciler.ledger.reading.observation import list_stopped
from reconciler.ledger.reading.output_records import RecordFile, write_records
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import (
    UNDER_WAY,
    UNIT,
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
)
from reconciler.ledger.writing.dataset_sums import record_made
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.produced_keys import record_keys
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.unit_rows import (
    LiveOutput,
    admit_runs,
    describe_payloads,
    is_same,
    read_failures,
    read_live,
    read_open,
    read_versions,
    store_recipe,
    store_snapshots,
)
from reconciler.model.names import name_folder
from reconciler.model.states import AttemptState, IntentState, OutputState
from reconciler.model.work_items import Address, Move, WorkItem
from renderer.identity.fingerprint import Recipe
from renderer.identity.payloads import PayloadSet
from schemas.conditions.snapshot import Snapshot
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key, split_key


class Ledger:
    """Writes units."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._recipes: dict[str, int] = {}
        self._payloads: set[str] = set()

    def begin_plan(self, digest: str, content: Mapping[str, Any]) -> None:
        """Records that a plan is being applied; doing this again after an interruption changes nothing."""
        with self._writer.writing(polling=True) as journal:
            serial = journal.connection.execute(select(ledger.c.serial)).scalar_one()
            row = {"digest": digest, "content": canonical_json(content), "serial": serial}
            journal.insert_new(plans, [{**row, "begun": self._writer.clock.show(), "ended": None}])
        self._writer.plan = digest

    def end_plan(self) -> None:
        """Records that everything in the plan was tried."""
        if self._writer.plan is None:
            return
        with self._writer.writing(polling=True) as journal:
            journal.update(plans, plans.c.digest == self._writer.plan, {"ended": self._writer.clock.show()})
        self._writer.plan = None

    def admit(self, campaign: str, entrants: Sequence[int]) -> None:
        """Records runs that open selections of a campaign have taken in. Plans depend on it: fewer others are taken in."""
        if not entrants:
            return
        with self._writer.writing() as journal:
            admit_runs(journal.connection, campaign, entrants)

    def keep_snapshots(self, found: Iterable[Snapshot]) -> None:
        """Stores snapshots to which runs may be bound, because a baseline in the repository may be replaced later."""
        with self._writer.writing(polling=True) as journal:
            store_snapshots(journal.connection, found)

    def intend(self, items: Sequence[WorkItem]) -> list[WorkItem | None]:
        """Writes intents. Returns the items with their intents, or None. An open intent is kept if it is for the same outputs.

        None means: a person stopped the unit in the meantime, or another unit of the campaign makes or made the same outputs.
        That other unit is abandoned instead if it is no longer declared and has no live attempt.
        """
        if not items:
            return []
        with self._writer.writing() as journal:
            found: list[int | None] = [None] * len(items)
            new: list[int] = []
            claimed: dict[tuple[str, bytes], Address] = {}
            open_intents = read_open(journal, items)
            stopped = list_stopped(journal.connection, {item.campaign.name for item in items})
            live = read_live(journal, items)
            for place, item in enumerate(items):
                if item.address in stopped:
                    continue
                intent = open_intents.get(item.address)
                if intent is not None:
                    if is_same(journal, intent, item):
                        found[place] = intent
                        continue
                    _abandon(journal, intent, "something else is wanted now")
                    open_intents.pop(item.address)
                keys = [(item.campaign.name, value) for value in item.fingerprints.values()]
                rivals = [one for key in keys for one in live.get(key, ()) if one.unit != item.address]
                free = all(claimed.get(key, item.address) == item.address for key in keys)
                if free and _abandon_undeclared(journal, item, rivals):
                    claimed.update(dict.fromkeys(keys, item.address))
                    new.append(place)
            made = self._make_intents(journal, [items[place] for place in new], live)
            for place, intent in zip(new, made, strict=True):
                found[place] = intent
        return [
            None if intent is None else replace(item, intent=intent)
            for item, intent in zip(items, found, strict=True)
        ]

    def record_produced(self, intent: int) -> None:
        """Records that all outputs of a unit are at their final places. From now on readers use them."""
        with self._writer.writing() as journal:
            known = func.count() == func.count(products.c.events)  # otherwise the sum would lack some files
            events = (
                select(case((known, func.sum(products.c.events))))
                .where(products.c.output == outputs.c.id)
                .scalar_subquery()
            )
            values = {"state": OutputState.PRODUCED, "produced": self._writer.clock.show(), "events": events}
            left = and_(outputs.c.intent == intent, outputs.c.state != OutputState.PRODUCED)
            made = journal.update(outputs, left, values)
            journal.update(intents, intents.c.id == intent, {"state": IntentState.PRODUCED, "reason": None})
            record_made(journal.connection, {row.id for row in made}, produced=True)
            record_keys(journal.connection, {row.id for row in made}, produced=True)

    def record_refused(self, intent: int, reason: str) -> None:
        """Records that a unit's outputs could not be published; it is in quarantine until a person decides."""
        with self._writer.writing() as journal:
            quarantine(journal, intent, reason)

    def record_delayed(self, intent: int, reason: str) -> None:
        """Records why verified outputs could not be published yet; writes nothing if the reason is the same as before."""
        with self._writer.writing(polling=True) as journal:
            here = and_(intents.c.id == intent, intents.c.reason.is_distinct_from(reason[:500]))
            journal.update(intents, here, {"reason": reason[:500]})

    def list_publishing(self) -> tuple[int, ...]:
        """The intents whose outputs are being published."""
        # sorted here: with `distinct` or `order by`, SQLite reads all outputs by another index
        query = select(outputs.c.intent).where(outputs.c.state == OutputState.PUBLISHING)
        return tuple(sorted({row.intent for row in self._writer.read(query)}))

    def list_open(self, campaigns: Sequence[str]) -> set[Address]:
        """The units of campaigns that have an open intent."""
        query = select(*UNIT).where(intents.c.campaign.in_(campaigns), intents.c.state == IntentState.OPEN)
        return {(campaign, step, run_key(*key)) for campaign, step, *key in self._writer.read(query)}

    def find_address(self, intent: int) -> Address:
        """The unit of an intent."""
        ((campaign, step, *key),) = self._writer.read(select(*UNIT).where(intents.c.id == intent))
        return campaign, step, run_key(*key)

    def list_moves(self, intent: int) -> tuple[Move, ...]:
        """The verified files of an intent, with their final places."""
        file = (products.c.size, products.c.checksum)
        query = (
            select(attempts.c.name, products.c.path, outputs.c.storage, outputs.c.folder, *file)
            .join(outputs, outputs.c.id == products.c.output)
            .join(attempts, attempts.c.id == products.c.attempt)
            .where(outputs.c.intent == intent)
            .order_by(outputs.c.id, products.c.path)
        )
        return tuple(Move(*row) for row in self._writer.read(query))

    def write_records(self, intent: int) -> tuple[RecordFile, ...]:
        """The records to be written beside the outputs of an intent."""
        with self._writer.reading() as connection:
            return write_records(connection, intent)

    def list_event_numbers(self, intent: int) -> tuple[tuple[str, str, int | None], ...]:
        """The records of events that the verified jobs of an intent left: attempt, checksum, and largest number of events.

        The last is the registered number of the job's input files, or else the number that the job says it read.
        """
        most = func.coalesce(jobs.c.events, attempts.c.events_read)
        query = select(attempts.c.name, attempts.c.record, most).join(jobs, jobs.c.id == attempts.c.job)
        verified = (jobs.c.intent == intent, attempts.c.state == AttemptState.VERIFIED)
        query = query.where(*verified, attempts.c.record.is_not(None)).order_by(attempts.c.id)
        rows = self._writer.read(query)
        found = ((name, json.loads(record).get("event_numbers"), events) for name, record, events in rows)
        return tuple(one for one in found if one[1] is not None)

    def _make_intents(
        self,
        journal: Journal,
        items: Sequence[WorkItem],
        live: Mapping[tuple[str, bytes], list[LiveOutput]],
    ) -> list[int]:
        """Makes intents with their outputs and jobs; `live` has the existing outputs by fingerprint."""
        keys = [(item.campaign.name, value) for item in items for value in item.fingerprints.values()]
        there = [one for key in keys for one in live.get(key, ())]
        gone = [one.number for one in there if one.state == OutputState.PRODUCED]
        for part in divide(gone):
            journal.update(outputs, outputs.c.id.in_(part), {"state": OutputState.LOST})
        record_made(journal.connection, gone, produced=False)
        record_keys(journal.connection, gone, produced=False)
        versions = read_versions(journal, items)
        failures = read_failures(journal, items)
        for item in items:
            self._store_payloads(journal, item.payloads)
            _bind(journal, item)
        begun = {"plan": self._writer.plan, "state": IntentState.OPEN, "reason": None}
        made = journal.insert(
            intents, [{**_unit(item), **begun, "approval": item.approval} for item in items]
        )
        contents = []
        for intent, item in zip(made, items, strict=True):
            for one in item.outputs:
                output = one.recipe.output
                version = versions.get((item.address, output), 0) + 1
                contents.append(
                    {
                        **_unit(item),
                        "intent": intent,
                        "output": output,
                        "fingerprint": one.fingerprint,
                        "recipe": self._store_recipe(journal, one.recipe),
                        "input": one.input,
                        "conditions": one.payload_set,
                        "state": OutputState.INTENDED,
                        "version": version,
                        "storage": item.storage,
                        "folder": name_folder(item, output, version),
                    }
                )
        journal.insert(outputs, contents)
        tasks = []
        for intent, item in zip(made, items, strict=True):
            wanted = frozenset(item.fingerprints.values())
            for job in item.jobs:
                row = {"intent": intent, "key": job.key, "events": job.events}
                failed = failures.get((item.address, wanted, job.key), 0)
                tasks.append({**row, "failures": failed, "due": json.dumps(item.name_outputs(job))})
        journal.insert(jobs, tasks)
        return made

    def _store_recipe(self, journal: Journal, recipe: Recipe) -> int:
        if recipe.digest not in self._recipes:
            self._recipes[recipe.digest] = store_recipe(journal, recipe.digest, recipe.content)
        return self._recipes[recipe.digest]

    def _store_payloads(self, journal: Journal, found: PayloadSet | None) -> None:
        """Stores a payload set if it is not known; only buckets that no earlier set had are new."""
        if found is None or found.digest in self._payloads:
            return
        known = select(payload_sets.c.digest).where(payload_sets.c.digest == found.digest)
        if journal.connection.execute(known).first() is None:
            buckets, whole = describe_payloads(found)
            journal.insert_new(payload_buckets, buckets)
            journal.insert(payload_sets, [whole])
        self._payloads.add(found.digest)


def quarantine(journal: Journal, intent: int, reason: str) -> None:
    """Stops a unit until a person releases it."""
    _abandon(journal, intent, reason, IntentState.QUARANTINED)


def _abandon(journal: Journal, intent: int, reason: str, state: IntentState = IntentState.ABANDONED) -> None:
    journal.update(intents, intents.c.id == intent, {"state": state, "reason": reason[:500]})
    journal.update(outputs, outputs.c.intent == intent, {"state": OutputState.ABANDONED})


def _abandon_undeclared(journal: Journal, item: WorkItem, rivals: Sequence[LiveOutput]) -> bool:
    """Abandons the intents of other units for the same outputs; returns false if one of them still counts."""
    for one in rivals:
        if one.state != OutputState.INTENDED or item.declares(one.unit):
            return False
        if is_under_way(journal.connection, one.intent):
            return False
    for intent in sorted({one.intent for one in rivals}):
        _abandon(journal, intent, "no longer declared, and another unit makes the same")
    return True


def is_under_way(connection: Connection, intent: int) -> bool:
    """Whether an intent has a live attempt."""
    query = UNDER_WAY.where(jobs.c.intent == intent)
    return connection.execute(query.limit(1)).first() is not None


def _unit(item: WorkItem) -> dict[str, Any]:
    experiment, run = split_key(item.run)
    unit = {"campaign": item.campaign.name, "step": item.step.name}
    return {**unit, "experiment": experiment, "run": run}


def _bind(journal: Journal, item: WorkItem) -> None:
    """Binds a run to the snapshots of `forward` tags with which it begins, unless it is bound already."""
    if item.begun:
        experiment, run = split_key(item.run)
        row = {"campaign": item.campaign.name, "experiment": experiment, "run": run}
        journal.insert_new(bindings, [{**row, "snapshots": " ".join(item.begun)}])
