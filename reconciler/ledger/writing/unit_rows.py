"""Rows of units: reading them within a transaction that will write, and describing payload sets for the tables."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, select

from reconciler.ledger.schema.tables import LIVE_OUTPUT, admissions, intents, jobs, outputs, snapshots
from reconciler.ledger.store.database import insert_new
from reconciler.ledger.writing.journal import Journal
from reconciler.model.states import IntentState
from reconciler.model.work_items import Address, WorkItem
from renderer.identity.payloads import PayloadSet
from schemas.conditions.snapshot import Snapshot, write_snapshot
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key, split_key

CHUNK = 500
"""How many values one query asks for."""


def read_open(journal: Journal, items: Sequence[WorkItem]) -> dict[Address, int]:
    """The open intents of the campaigns of `items`, by unit."""
    names = {item.campaign.name for item in items}
    columns = (intents.c.id, intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
    query = select(*columns).where(intents.c.campaign.in_(names), intents.c.state == IntentState.OPEN)
    return {
        (campaign, step, run_key(experiment, run)): number
        for number, campaign, step, experiment, run in journal.connection.execute(query)
    }


def read_live(
    journal: Journal, items: Sequence[WorkItem]
) -> dict[tuple[str, bytes], list[tuple[int, Address, str]]]:
    """The outputs that exist or are coming with a fingerprint of `items`: id, unit and state."""
    columns = ("id", "campaign", "step", "experiment", "run", "state", "fingerprint")
    query = select(*(outputs.c[name] for name in columns)).where(LIVE_OUTPUT)
    values = sorted({value for item in items for value in item.fingerprints.values()})
    names = {item.campaign.name for item in items}
    found: dict[tuple[str, bytes], list[tuple[int, Address, str]]] = {}
    for start in range(0, len(values), CHUNK):
        part = outputs.c.fingerprint.in_(values[start : start + CHUNK])
        here = query.where(outputs.c.campaign.in_(names), part)
        for number, campaign, step, experiment, run, state, value in journal.connection.execute(here):
            unit = (campaign, step, run_key(experiment, run))
            found.setdefault((campaign, bytes(value)), []).append((number, unit, state))
    return found


def read_versions(journal: Journal, items: Sequence[WorkItem]) -> dict[tuple[Address, str], int]:
    """The highest version of each output of the units of `items`."""
    units: dict[tuple[str, str, int], list[int]] = {}
    for item in items:
        experiment, run = split_key(item.run)
        units.setdefault((item.campaign.name, item.step.name, experiment), []).append(run)
    found = {}
    for (campaign, step, experiment), runs in units.items():
        at = and_(outputs.c.campaign == campaign, outputs.c.step == step, outputs.c.experiment == experiment)
        for start in range(0, len(runs), CHUNK):
            query = (
                select(outputs.c.run, outputs.c.output, func.max(outputs.c.version))
                .where(at, outputs.c.run.in_(runs[start : start + CHUNK]))
                .group_by(outputs.c.run, outputs.c.output)
            )
            for run, output, version in journal.connection.execute(query):
                found[(campaign, step, run_key(experiment, run)), output] = version
    return found


def read_failures(
    journal: Journal, items: Sequence[WorkItem]
) -> dict[tuple[Address, frozenset[bytes], str], int]:
    """How often jobs of the units of `items` failed under abandoned intents, by unit, fingerprints and job key.

    Failures do not count any more where a person released the unit.
    """
    names = {item.campaign.name for item in items}
    wanted = {item.address for item in items}
    columns = (intents.c.id, intents.c.campaign, intents.c.step, intents.c.experiment, intents.c.run)
    given_up = (intents.c.campaign.in_(names), intents.c.state == IntentState.ABANDONED, jobs.c.failures > 0)
    query = select(*columns, jobs.c.key, jobs.c.failures).join(jobs, jobs.c.intent == intents.c.id)
    rows = [
        (number, (campaign, step, run_key(experiment, run)), key, failures)
        for number, campaign, step, experiment, run, key, failures in journal.connection.execute(
            query.where(*given_up)
        )
    ]
    found: dict[tuple[Address, frozenset[bytes], str], int] = {}
    for number, unit, key, failures in rows:
        if unit in wanted:
            made = select(outputs.c.fingerprint).where(outputs.c.intent == number)
            place = (unit, frozenset(map(bytes, journal.connection.scalars(made))), key)
            found[place] = max(failures, found.get(place, 0))
    return found


def is_same(journal: Journal, intent: int, item: WorkItem) -> bool:
    """Whether an open intent wants what a work item wants, by the same jobs."""
    fingerprints = select(outputs.c.fingerprint).where(outputs.c.intent == intent)
    keys = select(jobs.c.key).where(jobs.c.intent == intent)
    wanted = set(journal.connection.scalars(fingerprints))
    return wanted == set(item.fingerprints.values()) and set(journal.connection.scalars(keys)) == {
        job.key for job in item.jobs
    }


def describe_payloads(found: PayloadSet) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a payload set: of its buckets, and of the set itself."""
    buckets = [
        {
            "digest": bucket.digest,
            "payloads": canonical_json([[one.name, one.revision, one.checksum] for one in bucket.payloads]),
        }
        for bucket in found.buckets
    ]
    return buckets, {"digest": found.digest, "buckets": b"".join(bucket.digest for bucket in found.buckets)}


def store_snapshots(connection: Connection, found: Iterable[Snapshot]) -> None:
    """Stores snapshots that are not stored yet."""
    for one in found:
        known = select(snapshots.c.tag).where(snapshots.c.digest == one.digest, snapshots.c.tag == one.name)
        if connection.execute(known).first() is None:
            row = {"digest": one.digest, "tag": one.name, "content": zlib.compress(write_snapshot(one))}
            connection.execute(insert_new(connection, snapshots).values(row))


def admit_runs(connection: Connection, campaign: str, entrants: Sequence[int]) -> None:
    """Records that open selections of a campaign have taken in runs; what they took in before stays."""
    rows = [
        {"campaign": campaign, "experiment": experiment, "run": run}
        for experiment, run in map(split_key, entrants)
    ]
    if rows:
        connection.execute(insert_new(connection, admissions), rows)
