"""What the ledger knows, for plans. Only reads; all reads of one connection see the ledger at one moment."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, not_, or_, select

from reconciler.ledger.reading.heads import choose_produced, narrow_runs
from reconciler.ledger.reading.other_campaigns import name_campaigns, read_elsewhere
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import (
    LIVE_OUTPUT,
    UNDER_WAY,
    UNIT,
    UNIT_ATTEMPTS,
    attempts,
    intents,
    ledger,
    outputs,
    payload_buckets,
    payload_sets,
    plans,
    products,
    recipes,
    sites,
)
from reconciler.model.plan import Intent, Made, Observed, Unit
from reconciler.model.produced import Produced, find_absent
from reconciler.model.states import CLAIMING, LIVE, AttemptState, IntentState, OutputState
from renderer.identity.payloads import Payload
from renderer.identity.units import StepUnits
from renderer.jobs.job_json import InputFile
from schemas.manifest.runs import run_key


@dataclass(frozen=True, slots=True)
class Identity:
    """The ledger's id and its serials, which grow with its changes."""

    ledger: str
    serial: int
    catalogue_serial: int


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan that was begun. `serial` is the ledger's after the last write for it; `ended` is None before its end."""

    ended: str | None
    serial: int


def read_identity(connection: Connection) -> Identity:
    """The ledger's id and serials."""
    return Identity(*connection.execute(select(ledger)).one())


def read_plan(connection: Connection, digest: str) -> StoredPlan | None:
    """The stored plan with this digest, or None."""
    row = connection.execute(select(plans.c.ended, plans.c.serial).where(plans.c.digest == digest)).first()
    return StoredPlan(*row) if row else None


def list_campaigns(connection: Connection) -> list[str]:
    """The campaigns with a produced output, sorted by name."""
    return name_campaigns(connection, OutputState.PRODUCED)


def list_begun(connection: Connection) -> list[str]:
    """The campaigns that ever had an intent, sorted by name."""
    return list(connection.scalars(select(intents.c.campaign).distinct().order_by(intents.c.campaign)))


def list_sites(connection: Connection) -> list[str]:
    """The sites that ever got a job, or whose answers were recorded, sorted by name."""
    tried = connection.scalars(select(attempts.c.site).distinct())
    return sorted({*tried, *connection.scalars(select(sites.c.name))})


def list_steps(connection: Connection, campaign: str) -> list[str]:
    """The steps of a campaign that ever had an intent, sorted by name."""
    query = select(intents.c.step).where(intents.c.campaign == campaign).distinct()
    return list(connection.scalars(query.order_by(intents.c.step)))


def observe(
    connection: Connection,
    campaign: str,
    units: Sequence[StepUnits],
    storage: str,
    *,
    reuse: bool,
    lost: Mapping[bytes, str] | None = None,
    only: Collection[int] | None = None,
) -> Observed:
    """What the ledger knows of the units of a campaign. `lost` maps fingerprints of lost outputs to `gone` or `changed`.

    With `reuse`, outputs of other campaigns in the same storage are read too. With `only`, the units are those of these few
    runs, and nothing is read of others; `lost` does not count.
    """
    lost = lost or {}
    elsewhere: dict[bytes, str] = {}
    begun: dict[bytes, str] = {}
    produced: Produced = frozenset()
    made: Mapping[tuple[str, str, int], Made] = {}
    undeclared = set[int]()
    others = False
    count = 0
    if only is not None:
        columns = [column for item in units for column in item.fingerprints.values()]
        wanted = {value for column in columns for value in column}
        produced, undeclared, count = _find_own(connection, campaign, wanted), set(only), len(only)
        others = True
    elif connection.execute(choose_produced(campaign, "id").limit(1)).first() is not None:
        from reconciler.ledger.reading.produced_columns import (  # noqa: PLC0415 -- numpy takes 0.1 s
            find_undeclared,
            read_produced,
        )

        produced, count, others = read_produced(connection, campaign, units, lost)
        undeclared = find_undeclared(connection, campaign, units) if others else set()
    absent = [
        (item.runs, find_absent(column, produced)) for item in units for column in item.fingerprints.values()
    ]
    if not undeclared and not any(indices for _, indices in absent):
        return Observed(produced=produced)
    if others or lost:  # else nothing that is missing was made before
        missing = undeclared.union(*([runs[index] for index in indices] for runs, indices in absent))
        made = _read_made(connection, campaign, missing, count + len(lost))
    former = {one.payload_set for one in made.values() if one.payload_set is not None}
    if reuse:
        elsewhere, begun = read_elsewhere(connection, campaign, units, storage)
    return Observed(
        produced=produced,
        elsewhere=elsewhere,
        begun=begun,
        made=made,
        intents=_read_intents(connection, campaign),
        lost=lost,
        payloads={
            digest: {one.name: one.checksum for one in found}
            for digest, found in read_payloads(connection, former).items()
        },
    )


def read_payloads(connection: Connection, digests: Iterable[str]) -> dict[str, tuple[Payload, ...]]:
    """Digest → payloads sorted by name, for the given payload sets; sets that the ledger does not have are left out."""
    buckets: dict[bytes, list[Payload]] = {}
    found: dict[str, tuple[Payload, ...]] = {}
    for part in divide(sorted(digests)):
        here = payload_sets.c.digest.in_(part)
        for digest, members in connection.execute(select(payload_sets).where(here)).all():
            split = [members[place : place + 32] for place in range(0, len(members), 32)]
            wanted = payload_buckets.c.digest.in_({one for one in split if one not in buckets})
            for name, content in connection.execute(select(payload_buckets).where(wanted)):
                buckets[name] = [Payload(*one) for one in json.loads(content)]
            found[digest] = tuple(sorted(one for name in split for one in buckets[name]))
    return found


def read_used(connection: Connection, campaign: str) -> dict[str, list[int]]:
    """Digest of a payload set → sorted run keys of a campaign whose newest outputs were made with it."""
    query = choose_produced(campaign, "step", "output", "experiment", "run", "conditions")
    rows = connection.execute(query.order_by(outputs.c.version))
    latest = {(step, output, run_key(*run)): digest for step, output, *run, digest in rows}
    used: dict[str, set[int]] = {}
    for (_, _, run), digest in latest.items():
        if digest is not None:
            used.setdefault(digest, set()).add(run)
    return {digest: sorted(runs) for digest, runs in used.items()}


def _find_own(connection: Connection, campaign: str, fingerprints: Iterable[bytes]) -> frozenset[bytes]:
    """Those of the fingerprints of which a campaign produced an output."""
    made = select(outputs.c.fingerprint).where(LIVE_OUTPUT, outputs.c.state == OutputState.PRODUCED)
    mine = made.where(outputs.c.campaign == campaign)
    parts = (mine.where(outputs.c.fingerprint.in_(part)) for part in divide(sorted(fingerprints)))
    return frozenset(value for part in parts for value in connection.scalars(part))


def find_stored(connection: Connection, storage: str, fingerprints: Iterable[bytes]) -> set[bytes]:
    """Those of the fingerprints of which an output was produced at a storage."""
    return _find_outputs(connection, storage, fingerprints, outputs.c.state == OutputState.PRODUCED)


def find_begun(connection: Connection, storage: str, fingerprints: Iterable[bytes]) -> set[bytes]:
    """Those of the fingerprints of which a storage has an output, or gets one from an attempt that is under way."""
    coming = and_(outputs.c.state.in_(CLAIMING), outputs.c.intent.in_(UNDER_WAY))
    there = outputs.c.state.in_((OutputState.PRODUCED, OutputState.PUBLISHING))
    return _find_outputs(connection, storage, fingerprints, or_(there, coming))


def _find_outputs(
    connection: Connection, storage: str, fingerprints: Iterable[bytes], chosen: ColumnElement[bool]
) -> set[bytes]:
    here = select(outputs.c.fingerprint).where(outputs.c.storage == storage, chosen)
    return set().union(
        *(connection.scalars(here.where(outputs.c.fingerprint.in_(part))) for part in divide(fingerprints))
    )


def _read_made(
    connection: Connection, campaign: str, keys: set[int], count: int
) -> dict[tuple[str, str, int], Made]:
    """From what the units of these runs were last made. `count` is the approximate number of the campaign's outputs."""
    contents: dict[int, Mapping[str, Any]] = {}
    made: dict[tuple[str, str, int], Made] = {}
    made_of = ("fingerprint", "recipe", "input", "conditions")
    query = choose_produced(campaign, "step", "output", "experiment", "run", *made_of).order_by(
        outputs.c.version
    )
    for here in [query] if count < len(keys) else narrow_runs(query, sorted(keys)):
        for step, output, *run, fingerprint, recipe, source, conditions in connection.execute(here):
            if (key := run_key(*run)) not in keys:
                continue
            if recipe not in contents:
                stored = select(recipes.c.content).where(recipes.c.id == recipe)
                contents[recipe] = json.loads(connection.execute(stored).scalar_one())
            made[step, output, key] = Made(fingerprint, contents[recipe], source, conditions)
    return made


BY_HAND = and_(
    intents.c.state == IntentState.QUARANTINED, not_(exists().where(outputs.c.intent == intents.c.id))
)
"""The intent is a person's order that its unit must not begin: it is in quarantine and has no outputs."""


def list_stopped(connection: Connection, campaigns: Iterable[str]) -> set[tuple[str, str, int]]:
    """The units that a person stopped before they began: campaign, step and run key."""
    rows = connection.execute(select(*UNIT).where(intents.c.campaign.in_(sorted(campaigns)), BY_HAND))
    return {(campaign, step, run_key(*run)) for campaign, step, *run in rows}


_FEW = 1000
"""Up to so many intents are looked up by their numbers."""


def _read_intents(connection: Connection, campaign: str) -> dict[Unit, Intent]:
    pending = and_(
        intents.c.campaign == campaign,
        or_(intents.c.state.in_((IntentState.OPEN, IntentState.QUARANTINED)), intents.c.id.in_(UNDER_WAY)),
    )
    rows = connection.execute(select(intents).where(pending).order_by(intents.c.id)).all()
    if len(rows) <= _FEW:  # all intents were looked at, as no index leads to these: not again
        pending = intents.c.id.in_([row.id for row in rows])
    wanted: dict[int, list[bytes]] = {}
    query = select(outputs.c.intent, outputs.c.fingerprint).join(intents, intents.c.id == outputs.c.intent)
    for intent, fingerprint in connection.execute(query.where(pending)):
        wanted.setdefault(intent, []).append(fingerprint)
    ours = select(intents.c.id, attempts.c.state, attempts.c.reason).select_from(UNIT_ATTEMPTS)
    ours = ours.where(pending).order_by(attempts.c.id)
    live: set[int] = set()
    failures: dict[int, str] = {}
    for intent, state, reason in connection.execute(ours):
        if state in LIVE:
            live.add(intent)
        elif state in (AttemptState.FAILED, AttemptState.LOST):
            failures[intent] = reason or state
    if campaign in name_campaigns(
        connection, OutputState.PUBLISHING
    ):  # else all its outputs might be looked at
        publishing = and_(outputs.c.campaign == campaign, outputs.c.state == OutputState.PUBLISHING)
        live.update(connection.scalars(select(outputs.c.intent).where(publishing)))
    found: dict[Unit, Intent] = {}
    stops: dict[Unit, list[tuple[frozenset[bytes], str]]] = {}
    for row in rows:
        unit = (row.step, run_key(row.experiment, row.run))
        fingerprints, stopped = frozenset(wanted.get(row.id, ())), row.state == IntentState.QUARANTINED
        failure = (stopped and row.reason) or failures.get(row.id)
        if stopped:
            stops.setdefault(unit, []).append((fingerprints, failure or "attempts used up"))
        if unit not in found or not found[unit].live:  # a live intent comes first, abandoned or not
            found[unit] = Intent(fingerprints, row.id in live, stopped, failure)
    for unit, several in stops.items():
        # a stopped unit stays stopped, also if something else was declared in between
        others = tuple(one for one in several if one[0] != found[unit].fingerprints)
        if others:
            found[unit] = replace(found[unit], stopped=others)
    return found


def find_files(
    connection: Connection, fingerprint: bytes, storage: str, campaign: str
) -> tuple[InputFile, ...]:
    """The published files of an output in a storage, as input of the next step; the campaign's own output is preferred."""
    made = (outputs.c.fingerprint == fingerprint, outputs.c.state == OutputState.PRODUCED)
    output = select(outputs.c.id, outputs.c.folder).where(*made, outputs.c.storage == storage)
    found = connection.execute(output.order_by(outputs.c.campaign != campaign, outputs.c.id)).first()
    if found is None:
        return ()
    query = select(products.c.path, products.c.size, products.c.checksum, products.c.events)
    rows = connection.execute(query.where(products.c.output == found.id).order_by(products.c.path))
    return tuple(
        InputFile(path, os.path.join(storage, found.folder, path), size, checksum, events)
        for path, size, checksum, events in rows
    )
