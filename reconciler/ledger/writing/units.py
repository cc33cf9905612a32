"""Writing units into the ledger: plans, intents, outputs. Every intent is written before its side effect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, case, func, select

from reconciler.ledger.reading.observation import list_stopped
from reconciler.ledger.reading.output_records import RecordFile, write_records
from reconciler.ledger.schema.tables import (
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
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.unit_rows import (
    CHUNK,
    admit_runs,
    describe_payloads,
    is_same,
    read_failures,
    read_live,
    read_open,
    read_versions,
    store_snapshots,
)
from reconciler.model.names import name_folder
from reconciler.model.states import LIVE, AttemptState, IntentState, OutputState
from reconciler.model.work_items import Address, Move, WorkItem
from renderer.identity.fingerprint import Recipe
from renderer.identity.payloads import PayloadSet
from schemas.conditions.snapshot import Snapshot
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key, split_key


class Ledger:
    """The writer of units."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._recipes: dict[str, int] = {}
        self._payloads: set[str] = set()

    def begin_plan(self, digest: str, content: Mapping[str, Any]) -> None:
        """Records that a plan is being applied; once more after an interruption changes nothing."""
        with self._writer.writing(polling=True) as journal:
            serial = journal.connection.execute(select(ledger.c.serial)).scalar_one()
            row = {
                "digest": digest,
                "content": canonical_json(content),
                "begun": self._writer.clock.show(),
                "ended": None,
                "serial": serial,
            }
            journal.insert_new(plans, [row])
        self._writer.plan = digest

    def end_plan(self) -> None:
        """Records that all of the plan was tried."""
        if self._writer.plan is None:
            return
        with self._writer.writing(polling=True) as journal:
            journal.update(plans, plans.c.digest == self._writer.plan, {"ended": self._writer.clock.show()})
        self._writer.plan = None

    def admit(self, campaign: str, entrants: Sequence[int]) -> None:
        """Records that open selections of a campaign have taken in runs."""
        with self._writer.writing(polling=True) as journal:
            admit_runs(journal.connection, campaign, entrants)

    def keep_snapshots(self, found: Iterable[Snapshot]) -> None:
        """Stores snapshots that runs may be bound to: a baseline in the repository may be replaced one day."""
        with self._writer.writing(polling=True) as journal:
            store_snapshots(journal.connection, found)

    def intend(self, items: Sequence[WorkItem]) -> list[WorkItem | None]:
        """The items with their intents: a unit's open intent is continued where it wants the same, else a new one is made.

        None for a unit that a person stopped meanwhile, and for a unit whose outputs another unit of the campaign makes or
        has made from equal input. That other unit is given up instead if it is no longer declared and has no live attempt.
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
                if intent is not None and is_same(journal, intent, item):
                    found[place] = intent
                    continue
                if intent is not None:
                    _abandon(journal, intent, "something else is wanted now")
                    open_intents.pop(item.address)
                keys = [(item.campaign.name, value) for value in item.fingerprints.values()]
                rivals = [one for key in keys for one in live.get(key, ()) if one[1] != item.address]
                if all(
                    claimed.get(key, item.address) == item.address for key in keys
                ) and _abandon_undeclared(journal, item, rivals):
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
        """Records that all outputs of a unit are at their final places: from here on readers trust them."""
        with self._writer.writing() as journal:
            known = func.count() == func.count(products.c.events)  # else the sum would be one of a part
            events = (
                select(case((known, func.sum(products.c.events))))
                .where(products.c.output == outputs.c.id)
                .scalar_subquery()
            )
            values = {"state": OutputState.PRODUCED, "produced": self._writer.clock.show(), "events": events}
            journal.update(outputs, outputs.c.intent == intent, values)
            journal.update(intents, intents.c.id == intent, {"state": IntentState.PRODUCED, "reason": None})

    def record_refused(self, intent: int, reason: str) -> None:
        """Records that a unit's outputs could not be put at their final places; it waits for a person."""
        with self._writer.writing() as journal:
            quarantine(journal, intent, reason)

    def record_delayed(self, intent: int, reason: str) -> None:
        """Records why verified outputs could not be put at their final places yet; nothing new where it is known."""
        with self._writer.writing(polling=True) as journal:
            here = and_(intents.c.id == intent, intents.c.reason.is_distinct_from(reason[:500]))
            journal.update(intents, here, {"reason": reason[:500]})

    def list_publishing(self) -> tuple[int, ...]:
        """The intents that were being published when their reconciler ended."""
        query = select(outputs.c.intent).where(outputs.c.state == OutputState.PUBLISHING).distinct()
        with self._writer.reading() as connection:
            return tuple(connection.scalars(query.order_by(outputs.c.intent)))

    def list_open(self, campaigns: Sequence[str]) -> set[Address]:
        """The units of campaigns that have an open intent."""
        columns = (intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
        query = select(*columns).where(intents.c.campaign.in_(campaigns), intents.c.state == IntentState.OPEN)
        with self._writer.reading() as connection:
            rows = connection.execute(query)
            return {(campaign, step, run_key(*key)) for campaign, step, *key in rows}

    def find_address(self, intent: int) -> Address:
        """The unit that an intent is about."""
        columns = (intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
        with self._writer.reading() as connection:
            row = connection.execute(select(*columns).where(intents.c.id == intent)).one()
        return row.campaign, row.step, run_key(row.experiment, row.run)

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
        with self._writer.reading() as connection:
            return tuple(
                Move(name, path, storage, folder, size, checksum)
                for name, path, storage, folder, size, checksum in connection.execute(query)
            )

    def write_records(self, intent: int) -> tuple[RecordFile, ...]:
        """The records that are to lie beside the outputs of an intent."""
        with self._writer.reading() as connection:
            return write_records(connection, intent)

    def list_event_numbers(self, intent: int) -> tuple[tuple[str, str, int | None], ...]:
        """Of the verified attempts of an intent whose jobs left a record of the events that they read: name and checksum.

        And how many events it may hold: those of the job's files, or else those that it says to have read.
        """
        most = func.coalesce(jobs.c.events, attempts.c.events_read)
        query = select(attempts.c.name, attempts.c.record, most).join(jobs, jobs.c.id == attempts.c.job)
        verified = (
            jobs.c.intent == intent,
            attempts.c.state == AttemptState.VERIFIED,
            attempts.c.record.is_not(None),
        )
        with self._writer.reading() as connection:
            rows = connection.execute(query.where(*verified).order_by(attempts.c.id))
            found = [(name, json.loads(record).get("event_numbers"), events) for name, record, events in rows]
        return tuple((name, checksum, events) for name, checksum, events in found if checksum is not None)

    def _make_intents(
        self,
        journal: Journal,
        items: Sequence[WorkItem],
        live: Mapping[tuple[str, bytes], list[tuple[int, Address, str]]],
    ) -> list[int]:
        """New intents, each with its outputs and jobs; `live` are the outputs that are there, by fingerprint."""
        gone = [
            number
            for item in items
            for value in item.fingerprints.values()
            for number, _, state in live.get((item.campaign.name, value), ())
            if state == OutputState.PRODUCED
        ]
        for start in range(0, len(gone), CHUNK):
            journal.update(
                outputs, outputs.c.id.in_(gone[start : start + CHUNK]), {"state": OutputState.LOST}
            )
        versions = read_versions(journal, items)
        failures = read_failures(journal, items)
        for item in items:
            self._store_payloads(journal, item.payloads)
            _bind(journal, item)
        plan = self._writer.plan
        made = journal.insert(
            intents,
            [
                {
                    **_unit(item),
                    "plan": plan,
                    "state": IntentState.OPEN,
                    "reason": None,
                    "approval": item.approval,
                }
                for item in items
            ],
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
        journal.insert(
            jobs,
            [
                {
                    "intent": intent,
                    "key": job.key,
                    "failures": failures.get(
                        (item.address, frozenset(item.fingerprints.values()), job.key), 0
                    ),
                    "events": job.events,
                    "due": json.dumps(item.name_outputs(job)),
                }
                for intent, item in zip(made, items, strict=True)
                for job in item.jobs
            ],
        )
        return made

    def _store_recipe(self, journal: Journal, recipe: Recipe) -> int:
        if recipe.digest not in self._recipes:
            row = {"digest": recipe.digest, "content": canonical_json(recipe.content)}
            journal.insert_new(recipes, [row])
            known = select(recipes.c.id).where(recipes.c.digest == recipe.digest)
            self._recipes[recipe.digest] = journal.connection.execute(known).scalar_one()
        return self._recipes[recipe.digest]

    def _store_payloads(self, journal: Journal, found: PayloadSet | None) -> None:
        """Stores a payload set, unless it is known: of its buckets, only those that no earlier set had are new."""
        if found is None or found.digest in self._payloads:
            return
        known = select(payload_sets.c.digest).where(payload_sets.c.digest == found.digest)
        if journal.connection.execute(known).first() is None:
            buckets, whole = describe_payloads(found)
            journal.insert_new(payload_buckets, buckets)
            journal.insert(payload_sets, [whole])
        self._payloads.add(found.digest)


def quarantine(journal: Journal, intent: int, reason: str) -> None:
    """Stops a unit until a person lets it be tried again."""
    _abandon(journal, intent, reason, IntentState.QUARANTINED)


def _abandon(journal: Journal, intent: int, reason: str, state: IntentState = IntentState.ABANDONED) -> None:
    journal.update(intents, intents.c.id == intent, {"state": state, "reason": reason[:500]})
    journal.update(outputs, outputs.c.intent == intent, {"state": OutputState.ABANDONED})


def _abandon_undeclared(journal: Journal, item: WorkItem, rivals: Iterable[tuple[int, Address, str]]) -> bool:
    """Gives up the intents of other units for outputs that a work item wants; false where one of them still counts."""
    given_up: set[int] = set()
    for number, unit, state in rivals:
        query = select(outputs.c.intent).where(outputs.c.id == number)
        intent: int = journal.connection.execute(query).scalar_one()
        if state != OutputState.INTENDED or item.declares(unit) or _is_under_way(journal, intent):
            return False
        given_up.add(intent)
    for intent in sorted(given_up):
        _abandon(journal, intent, "no longer declared, and another unit makes the same")
    return True


def _is_under_way(journal: Journal, intent: int) -> bool:
    query = select(attempts.c.id).join(jobs, jobs.c.id == attempts.c.job)
    at = (jobs.c.intent == intent, attempts.c.state.in_(LIVE))
    return journal.connection.execute(query.where(*at).limit(1)).first() is not None


def _unit(item: WorkItem) -> dict[str, Any]:
    experiment, run = split_key(item.run)
    return {
        "campaign": item.campaign.name,
        "step": item.step.name,
        "experiment": experiment,
        "run": run,
    }


def _bind(journal: Journal, item: WorkItem) -> None:
    """Binds a run to the snapshots of `forward` tags that it begins with; one that is bound already stays so."""
    if item.begun:
        experiment, run = split_key(item.run)
        row = {"campaign": item.campaign.name, "experiment": experiment, "run": run}
        journal.insert_new(bindings, [{**row, "snapshots": " ".join(item.begun)}])
