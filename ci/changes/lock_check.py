"""Compares the locks of a change with its manifests and the run catalogue, as `resolve --check` does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection

from ci.changes.change import Change
from ci.changes.commits import is_ancestor, read_merged
from ci.changes.project import STALE, Project, is_about
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.pinning import compare_locks, goes_back
from reconciler.planning.resolution import refute, resolve
from schemas.findings.finding import Finding, Place
from schemas.manifest.lock import read_lock
from schemas.repository import FOLDERS, Declared, Repository


def list_touched(change: Change) -> list[str]:
    """The names of the campaigns that have a touched file."""
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
    """The findings on the locks of the campaigns that a change touches, by the catalogue of the connection.

    A lock that was merged and launched is not checked: it was checked before, and new runs wait for the next lock. Campaigns
    with findings are not checked either, since those must be corrected first.
    """
    for name in list_touched(change):
        declared, known = after.campaigns.get(name), before.campaigns.get(name)
        if declared is None or declared.lock is None or not declared.campaign.is_live:
            continue
        merged = known is not None and known.lock == declared.lock
        if (merged and name in launched) or any(is_about(one, [name]) for one in found):
            continue
        lock, problems = resolve(connection, after, declared)
        yield from problems
        if lock != declared.lock:
            moved = ", ".join(compare_locks(declared.lock, lock) or ["generation"])
            message = refute(connection, declared, after) or f"the lock of {name} is not current: {moved}"
            yield Finding(Place(declared.lock_file), STALE, message, f"run `b2prod resolve {name}`")


def take_merged(project: Project, declared: Declared) -> Declared:
    """The campaign with its merged lock, if its own lock is missing or earlier.

    On a branch that does not contain the merged lock's commit, the present lock stays.
    """
    main = read_merged(project.root, declared.folder, {declared.lock_file})
    content = None if main is None else main.files.get(declared.lock_file)
    head = "HEAD" if project.commit is None else project.commit.id
    head = head if project.change is None else project.change.head
    with suppress(SourceUnavailable):
        if main is not None and content is not None and is_ancestor(project.root, main.id, head):
            merged, _ = read_lock(declared.lock_file, content)
            if merged is not None and goes_back(declared.lock, merged.generation, merged.digest()):
                return replace(declared, lock=merged)
    return declared
