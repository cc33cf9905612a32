"""Generations: a lock says since when each part of a decision is as it is, and with that which signatures still count."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding, Place
from schemas.policy.scopes import pin_scopes
from schemas.repository import Repository


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
