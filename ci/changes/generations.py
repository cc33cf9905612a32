"""Generations: a lock says since when each part of a decision is as it is, and with that which signatures still count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ci.changes.commits import is_ancestor, read_merged
from ci.changes.project import Project
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.pinning import goes_back
from schemas.findings.finding import Finding, Place
from schemas.manifest.lock import read_lock
from schemas.policy.scopes import pin_scopes
from schemas.repository import Declared, Repository


def check_since(before: Repository, after: Repository) -> Iterator[Finding]:
    """Ensure that no lock says that a part is as it was for longer than the lock on the base shows.

    What was withdrawn and comes back would pass on its old signatures.
    """
    for name, declared in after.campaigns.items():
        old, lock = before.campaigns.get(name), declared.lock
        if lock is None or old is None or old.lock is None or lock == old.lock:
            continue
        known = dict(pin_scopes(lock, declared.campaign, declared.document.data, old.lock).since)
        for scope, since in lock.since:
            if since < known.get(scope, since):
                message = (
                    f"the lock says that its {scope} is as it was since generation {since}; by the lock on the base it is"
                    f" since {known[scope]}"
                )
                hint = f"take the lock of the base, and run `b2prod resolve {name}`"
                yield Finding(Place(declared.lock_file), "BP605", message, hint)


def take_merged(project: Project, declared: Declared) -> Declared:
    """The campaign with the lock that was merged, where the campaign lacks it, or has an earlier one.

    On a branch that left main before that lock came, the present one stays: it is old, and was not put back.
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
