"""The inputs of a campaign diff, read from the repository and the run catalogue as they are now. Reads only.

Locks and the run catalogue may be absent. What is not known is left out, and a note says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from reconciler.conditions.following import choose_chains
from reconciler.ledger.store.database import State, reading
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.campaign_diff.values import ComparedCampaign
from reconciler.planning.pinning import compare_locks, pin_campaign
from reconciler.run_catalogue.run_selection import choose_runs, select_runs
from renderer.identity.units import Chains, declare_units, imagine_sources
from schemas.manifest.campaign import Campaign
from schemas.manifest.lock import Lock
from schemas.manifest.runs import RunRange, fold_runs, run_key
from schemas.repository import Declared, Repository
from schemas.rules.support.intervals import Ranges, take, unite

LOCK, CATALOGUE, DECLARED = "lock", "catalogue", "declared"


@dataclass(frozen=True, slots=True)
class Basis:
    """Where the runs of each campaign come from: `LOCK`, `CATALOGUE` or `DECLARED`. `notes` say what could not be read."""

    before: str
    after: str
    notes: tuple[str, ...] = ()


class _FoundRuns(NamedTuple):
    """Where the runs of a campaign come from, and their sorted run keys; None where only its declared ranges are known."""

    source: str
    keys: tuple[int, ...] | None


def read_both(
    state: State,
    repository: Repository,
    before: Declared,
    after: Declared,
    *,
    later: Repository | None = None,
) -> tuple[ComparedCampaign, ComparedCampaign, Basis]:
    """Returns the campaign before, the campaign after, and the `Basis`: where their runs come from.

    Runs come from the locks and the run catalogue. If these do not have them, the declared ranges of both campaigns are
    used. The runs of one lock are never compared with the declared ranges of the other campaign, since ranges include
    runs that the detector did not record. `later` is the repository of the second campaign, if it is another one.
    """
    notes: list[str] = []
    places = ((repository, before), (later or repository, after))
    with contextlib.ExitStack() as stack:
        connection: Connection | None = None
        try:
            connection = stack.enter_context(reading(state))
            found = [_read_runs(connection, *place) for place in places]
            empty = [one.campaign.name for (_, one), runs in zip(places, found, strict=True) if not runs.keys]
            if empty:
                notes.append(f"the run catalogue has no run of {' and '.join(empty)}")
                found = _take_locks(places)
        except SourceUnavailable as error:
            notes.append(str(error))
            found = _take_locks(places)
        chains = [_read_chains(connection, here, one.campaign, notes) for here, one in places]
    one, other = (
        _gather(*place, runs.keys, chain) for place, runs, chain in zip(places, found, chains, strict=True)
    )
    return one, other, Basis(found[0].source, found[1].source, tuple(dict.fromkeys(notes)))


def _read_runs(connection: Connection, repository: Repository, declared: Declared) -> _FoundRuns:
    lock = _current_lock(repository, declared)
    if lock is not None:
        return _FoundRuns(LOCK, choose_runs(connection, declared.campaign, lock).runs)
    selectors = declared.campaign.selectors
    keys = {key for one in selectors for key in select_runs(connection, one)}
    return _FoundRuns(CATALOGUE, tuple(sorted(keys)))


def _take_locks(places: Sequence[tuple[Repository, Declared]]) -> list[_FoundRuns]:
    """The runs of both locks, or of neither. Each lock must be current, and its campaign must have no open selection.

    A campaign without a current lock takes the other campaign's lock, if both select their runs in the same way.
    """
    locks = [_current_lock(here, declared) for here, declared in places]
    selections = [[one.describe() for one in declared.campaign.selectors] for _, declared in places]
    if selections[0] == selections[1]:
        locks = [lock or next(filter(None, locks), None) for lock in locks]
    closed = [lock for lock in locks if lock is not None and lock.runs and not lock.open_runs]
    if len(closed) < len(places):
        return [_FoundRuns(DECLARED, None) for _ in places]
    return [_FoundRuns(LOCK, tuple(lock.runs)) for lock in closed]


def _current_lock(repository: Repository, declared: Declared) -> Lock | None:
    campaign, lock = declared.campaign, declared.lock
    if lock is None or _find_snapshotless(repository, campaign):
        return None
    today = pin_campaign(declared, repository, lock.runs, lock.generation)
    return None if compare_locks(lock, today) else lock


def _find_snapshotless(repository: Repository, campaign: Campaign) -> tuple[str, ...]:
    """The global tags of a campaign that have no snapshot in the repository."""
    return tuple(tag.name for tag in campaign.global_tags if tag.name not in repository.snapshots)


def _read_chains(
    connection: Connection | None, repository: Repository, campaign: Campaign, notes: list[str]
) -> Chains | None:
    missing = _find_snapshotless(repository, campaign)
    if missing:
        notes.append(f"{' and '.join(missing)} of {campaign.name} has no snapshot here: run `b2prod gt pull`")
        return None
    if connection is not None:
        try:
            return choose_chains(connection, repository, campaign)[0]
        except SourceUnavailable as error:
            notes.append(str(error))
    return Chains((tuple(repository.snapshots[tag.name] for tag in campaign.global_tags),))


def _gather(
    repository: Repository, declared: Declared, keys: tuple[int, ...] | None, chains: Chains | None
) -> ComparedCampaign:
    campaign = declared.campaign
    units = None
    if keys is not None and chains is not None:
        units = declare_units(campaign, repository, keys, imagine_sources(campaign, keys), chains)
    runs = _declare_ranges(campaign) if keys is None else tuple(fold_runs(keys))
    return ComparedCampaign(repository, declared, runs, chains, units)


def _declare_ranges(campaign: Campaign) -> Ranges:
    return unite(
        RunRange(run_key(selector.experiment, item.first), run_key(selector.experiment, item.last))
        for selector in campaign.selectors
        for item in take(selector)
    )
