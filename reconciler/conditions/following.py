"""Running tags: records their snapshots, chooses those that each run uses, and says what a new snapshot changes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, func, select, update

from reconciler.conditions.comparison import PayloadUse, TagComparison, compare
from reconciler.ledger.schema.tables import bindings, ledger, snapshots
from reconciler.ledger.writing.unit_rows import store_snapshots
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.run_catalogue.catalogue import list_run_keys
from renderer.identity.units import Chains
from schemas.conditions.snapshot import Snapshot, read_snapshot
from schemas.files.times import format_time
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import run_key
from schemas.repository import Repository

FORWARD, IGNORE = "forward", "ignore"


@dataclass(frozen=True, slots=True)
class Update:
    """A new snapshot of a running tag, compared with the last one. `known` are all run keys of the catalogue, sorted.

    `breaches` are changes for runs that already had the payload: the tag was changed, not only extended.
    """

    before: Snapshot
    after: Snapshot
    known: Sequence[int]
    breaches: tuple[PayloadUse, ...]

    def touched(self) -> list[int]:
        """The runs of the catalogue that a breach touches, sorted."""
        return list(TagComparison(self.breaches, self.known).touched())


def list_followed(repository: Repository) -> dict[str, Snapshot]:
    """Name → baseline of each running tag of a live campaign, by name; tags without a readable snapshot are left out."""
    live = (one.campaign for one in repository.campaigns.values() if one.campaign.is_live)
    names = {tag.name for campaign in live for tag in campaign.global_tags if tag.on_change is not None}
    return {name: repository.snapshots[name] for name in sorted(names & repository.snapshots.keys())}


def judge_update(connection: Connection, before: Snapshot, after: Snapshot) -> Update:
    """The update from `before` to `after`, for the runs of the catalogue; an added payload is not a breach."""
    known = list_run_keys(connection)
    compared = compare((before,), (after,), known)
    breaches = (one for one in compared.changes if one.kind != "added" and one.lower < one.upper)
    return Update(before, after, known, tuple(breaches))


def follow_tag(engine: Engine, baseline: Snapshot, found: Snapshot, now: datetime) -> Update:
    """The update to the snapshot that was found at the time `now`; what is new is recorded.

    Raises:
        GuardRefused: the tag that was found is another one, which took over the name; nothing was changed.
    """
    if None not in (found.id, baseline.id) and found.id != baseline.id:
        raise GuardRefused(f"{found.name} has the id {found.id}, not {baseline.id}: it is another tag")
    after = replace(found, retrieved=format_time(now))
    with engine.begin() as connection:
        before = read_latest(connection, baseline)
        moved = judge_update(connection, before, after)
    if before.digest != after.digest:
        record_snapshot(engine, after, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    return moved


def record_snapshot(engine: Engine, snapshot: Snapshot, when: str) -> None:
    """Records how a running tag was at the time `when` (ISO 8601, UTC, to the microsecond).

    The last recorded snapshot is the latest: if a clock went back, its time is set behind those recorded before.
    """
    with engine.begin() as connection:
        store_snapshots(connection, [snapshot])
        known = select(func.max(snapshots.c.followed)).where(snapshots.c.tag == snapshot.name)
        before = connection.execute(known).scalar()
        if before is not None and before >= when:
            when = f"{datetime.fromisoformat(before) + timedelta(microseconds=1):%Y-%m-%dT%H:%M:%S.%fZ}"
        here = (snapshots.c.digest == snapshot.digest, snapshots.c.tag == snapshot.name)
        connection.execute(update(snapshots).where(*here).values(followed=when))
        connection.execute(update(ledger).values(serial=ledger.c.serial + 1))


def read_latest(connection: Connection, baseline: Snapshot) -> Snapshot:
    """The last recorded snapshot of a running tag; the baseline if nothing later is recorded.

    Raises:
        SourceUnavailable: the ledger's copy of the snapshot is damaged.
    """
    query = select(snapshots.c.digest, snapshots.c.followed).where(
        snapshots.c.tag == baseline.name, snapshots.c.followed > baseline.retrieved
    )
    row = connection.execute(query.order_by(snapshots.c.followed.desc())).first()
    return baseline if row is None else _read(connection, baseline.name, row.digest)


def read_bindings(connection: Connection, campaign: str) -> dict[int, tuple[str, ...]]:
    """Run key → digests of the snapshots of `forward` tags with which that run of the campaign began."""
    columns = (bindings.c.experiment, bindings.c.run, bindings.c.snapshots)
    rows = connection.execute(select(*columns).where(bindings.c.campaign == campaign))
    return {run_key(experiment, run): tuple(words.split()) for experiment, run, words in rows}


def choose_chains(
    connection: Connection, repository: Repository, campaign: Campaign
) -> tuple[Chains, tuple[Snapshot, ...]]:
    """The chains that the runs of a campaign use, and the latest snapshots of tags whose changes are ignored.

    Raises:
        SourceUnavailable: the ledger's copy of a snapshot is missing or damaged.
    """
    tags = campaign.global_tags
    baselines = [repository.snapshots[tag.name] for tag in tags]
    if not any(tag.on_change for tag in tags):
        return Chains((tuple(baselines),)), ()
    latest = [
        read_latest(connection, baseline) if tag.on_change else baseline
        for tag, baseline in zip(tags, baselines, strict=True)
    ]
    today = [
        baseline if tag.on_change == IGNORE else newest
        for tag, baseline, newest in zip(tags, baselines, latest, strict=True)
    ]
    ignored = tuple(newest for tag, newest in zip(tags, latest, strict=True) if tag.on_change == IGNORE)
    forward = [place for place, tag in enumerate(tags) if tag.on_change == FORWARD]
    chains = [tuple(today)]
    places = {tuple(today[place].digest for place in forward): 0}
    bound: dict[int, int] = {}
    for run, digests in read_bindings(connection, campaign.name).items() if forward else ():
        if len(digests) == len(forward) and digests not in places:
            known = {snapshot.digest: snapshot for snapshot in (*baselines, *latest)}
            begun = list(today)
            for place, digest in zip(forward, digests, strict=True):
                begun[place] = known.get(digest) or _read(connection, tags[place].name, digest)
            places[digests] = len(chains)
            chains.append(tuple(begun))
        if places.get(digests, 0):
            bound[run] = places[digests]
    return Chains(tuple(chains), bound), ignored


def refuse_uncovered(
    repository: Repository, ignored: Iterable[Snapshot], keys: Sequence[int]
) -> Mapping[int, str]:
    """Run key → reason, for each of the sorted `keys` for which a tag now has a payload that its baseline lacks."""
    found: dict[int, str] = {}
    for latest in ignored:
        baseline = repository.snapshots[latest.name]
        for change in compare((baseline,), (latest,), keys).changes:
            if change.kind == "added":
                why = f"the baseline of {latest.name} has no {change.payload} for it, and changes are ignored"
                for run in keys[change.lower : change.upper]:
                    found.setdefault(run, why)
    return found


def _read(connection: Connection, tag: str, digest: str) -> Snapshot:
    query = select(snapshots.c.content).where(snapshots.c.tag == tag, snapshots.c.digest == digest)
    content = connection.execute(query).scalar()
    if content is None:
        raise SourceUnavailable(f"the ledger has no snapshot {digest[:12]} of {tag}, which runs are bound to")
    snapshot, findings = read_snapshot(f"{tag}.iov", tag, zlib.decompress(content), any_state=True)
    if snapshot is None:
        why = findings[0].message
        raise SourceUnavailable(f"the ledger's snapshot {digest[:12]} of {tag} is damaged: {why}")
    return snapshot
