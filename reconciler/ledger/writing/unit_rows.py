"""Rows of units: reads them within a transaction that will write, and stores rows that units refer to."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import (
    LIVE_OUTPUT,
    UNIT,
    admissions,
    intents,
    jobs,
    outputs,
    recipes,
    snapshots,
)
from reconciler.ledger.store.database import insert_new
from reconciler.ledger.writing.journal import Journal
from reconciler.model.states import IntentState
from reconciler.model.work_items import Address, WorkItem
from renderer.identity.payloads import PayloadSet
from schemas.conditions.snapshot import Snapshot, write_snapshot
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key, split_key


class LiveOutput(NamedTuple):
    """An output that exists or is being made: its number, the number of its intent, its state and its unit."""

    number: int
    intent: int
    state: str
    unit: Address


def read_open(journal: Journal, items: Sequence[WorkItem]) -> dict[Address, int]:
    """The open intents of the campaigns of `items`, by unit."""
    names = {item.campaign.name for item in items}
    query = select(intents.c.id, *UNIT).where(
        intents.c.campaign.in_(names), intents.c.state == IntentState.OPEN
    )
    return {
        (campaign, step, run_key(*key)): number
        for number, campaign, step, *key in journal.connection.execute(query)
    }


def read_live(journal: Journal, items: Sequence[WorkItem]) -> dict[tuple[str, bytes], list[LiveOutput]]:
    """The outputs with a fingerprint of `items` that exist or are being made, by campaign and fingerprint."""
    columns = ("id", "intent", "state", "campaign", "step", "experiment", "run", "fingerprint")
    query = select(*(outputs.c[name] for name in columns)).where(LIVE_OUTPUT)
    values = sorted({value for item in items for value in item.fingerprints.values()})
    names = {item.campaign.name for item in items}
    found: dict[tuple[str, bytes], list[LiveOutput]] = {}
    for part in divide(values):
        here = query.where(outputs.c.campaign.in_(names), outputs.c.fingerprint.in_(part))
        for row in journal.connection.execute(here):
            unit = (row.campaign, row.step, run_key(row.experiment, row.run))
            one = LiveOutput(row.id, row.intent, row.state, unit)
            found.setdefault((row.campaign, bytes(row.fingerprint)), []).append(one)
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
        query = select(outputs.c.run, outputs.c.output, func.max(outputs.c.version)).where(at)
        query = query.group_by(outputs.c.run, outputs.c.output)
        for part in divide(runs):
            for run, output, version in journal.connection.execute(query.where(outputs.c.run.in_(part))):
                found[(campaign, step, run_key(experiment, run)), output] = version
    return found


def read_failures(
    journal: Journal, items: Sequence[WorkItem]
) -> dict[tuple[Address, frozenset[bytes], str], int]:
    """How often jobs of the units of `items` failed under abandoned intents, by unit, fingerprints and job key.

    Failures under released intents do not count.
    """
    names = {item.campaign.name for item in items}
    wanted = {item.address for item in items}
    given_up = (intents.c.campaign.in_(names), intents.c.state == IntentState.ABANDONED, jobs.c.failures > 0)
    query = select(intents.c.id, *UNIT, jobs.c.key, jobs.c.failures).where(*given_up)
    rows = journal.connection.execute(query.join(jobs, jobs.c.intent == intents.c.id)).all()
    found: dict[tuple[Address, frozenset[bytes], str], int] = {}
    for number, campaign, step, experiment, run, key, failures in rows:
        unit = (campaign, step, run_key(experiment, run))
        if unit in wanted:
            made = select(outputs.c.fingerprint).where(outputs.c.intent == number)
            place = (unit, frozenset(map(bytes, journal.connection.scalars(made))), key)
            found[place] = max(failures, found.get(place, 0))
    return found


def is_same(journal: Journal, intent: int, item: WorkItem) -> bool:
    """Whether an open intent is for the same outputs as a work item, made by the same jobs."""
    fingerprints = select(outputs.c.fingerprint).where(outputs.c.intent == intent)
    keys = select(jobs.c.key).where(jobs.c.intent == intent)
    found = {*journal.connection.scalars(fingerprints)}, {*journal.connection.scalars(keys)}
    return found == ({*item.fingerprints.values()}, {job.key for job in item.jobs})


def describe_payloads(found: PayloadSet) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a payload set: a list for its buckets, and one for the set."""
    buckets = []
    for bucket in found.buckets:
        listed = [[one.name, one.revision, one.checksum] for one in bucket.payloads]
        buckets.append({"digest": bucket.digest, "payloads": canonical_json(listed)})
    return buckets, {"digest": found.digest, "buckets": b"".join(bucket.digest for bucket in found.buckets)}


def store_recipe(journal: Journal, digest: str, content: Mapping[str, Any]) -> int:
    """Stores a recipe if it is not stored yet. Returns its number."""
    journal.insert_new(recipes, [{"digest": digest, "content": canonical_json(content)}])
    known = select(recipes.c.id).where(recipes.c.digest == digest)
    number: int = journal.connection.execute(known).scalar_one()
    return number


def store_snapshots(connection: Connection, found: Iterable[Snapshot]) -> None:
    """Stores snapshots that are not stored yet."""
    for one in found:
        known = select(snapshots.c.tag).where(snapshots.c.digest == one.digest, snapshots.c.tag == one.name)
        if connection.execute(known).first() is None:
            row = {"digest": one.digest, "tag": one.name, "content": zlib.compress(write_snapshot(one))}
            connection.execute(insert_new(connection, snapshots).values(row))


def admit_runs(connection: Connection, campaign: str, entrants: Sequence[int]) -> None:
    """Records runs that open selections of a campaign have taken in; earlier ones stay."""
    rows = [
        {"campaign": campaign, "experiment": experiment, "run": run}
        for experiment, run in map(split_key, entrants)
    ]
    if rows:
        connection.execute(insert_new(connection, admissions), rows)
