"""Proving: the locks that a change brings are held against its manifests and the run catalogue, as `resolve --check` does."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import Connection

from ci.changes.change import Change
from ci.changes.project import STALE, is_about
from reconciler.planning.pinning import compare_locks
from reconciler.planning.resolution import refute, resolve
from schemas.findings.finding import Finding, Place
from schemas.repository import FOLDERS, Declared, Repository


def list_touched(change: Change) -> list[str]:
    """The campaigns of which a change touches a file."""
    parts = (path.split("/") for path in change.paths)
    return sorted({part[2] for part in parts if "/".join(part[:2]) in FOLDERS and len(part) > 3})


def prove_locks(
    connection: Connection,
    change: Change,
    before: Repository,
    after: Repository,
    launched: Collection[str],
    found: Collection[Finding],
) -> Iterator[Finding]:
    """What is wrong with the locks of the campaigns that a change touches, by the catalogue that the connection reads.

    A lock that was merged and launched is left alone: it was proven, and runs that came since wait for the next one. So are
    campaigns with findings, which come first.
    """
    for name in list_touched(change):
        declared, known = after.campaigns.get(name), before.campaigns.get(name)
        if declared is None or declared.lock is None or not declared.campaign.is_live:
            continue
        merged = known is not None and known.lock == declared.lock
        if (merged and name in launched) or any(is_about(one, [name]) for one in found):
            continue
        yield from _prove(connection, after, declared)


def _prove(connection: Connection, repository: Repository, declared: Declared) -> Iterator[Finding]:
    name = declared.campaign.name
    lock, problems = resolve(connection, repository, declared)
    yield from problems
    if declared.lock is not None and lock != declared.lock:
        moved = ", ".join(compare_locks(declared.lock, lock) or ["generation"])
        message = refute(connection, declared, repository) or f"the lock of {name} is not current: {moved}"
        yield Finding(Place(declared.lock_file), STALE, message, f"run `b2prod resolve {name}`")
