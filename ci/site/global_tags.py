"""Global tags as the site shows them: which campaigns use one, and which payloads change at which run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from reconciler.ledger.schema.tables import snapshots
from schemas.conditions.snapshot import Snapshot
from schemas.manifest.runs import format_run
from schemas.manifest.variant import is_expandable
from schemas.repository import Repository

LATEST = 60
"""How many of the last runs at which payloads change are told."""
NAMED = 12
"""How many payloads that change at a run are named."""


@dataclass(frozen=True, slots=True)
class TagChange:
    """Payloads of a tag that become valid at a run, and that others were valid for before it; names are sorted."""

    run: str
    payloads: tuple[str, ...]

    @property
    def named(self) -> str:
        """The payloads as text, shortened."""
        more = len(self.payloads) - NAMED
        return ", ".join(self.payloads[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class TagRow:
    """A global tag that is declared. `followed` are the snapshots of a running tag in the ledger: digest, and when it was found so."""

    name: str
    state: str
    digest: str
    retrieved: str
    payloads: int
    iovs: int
    campaigns: tuple[str, ...]
    changes: tuple[TagChange, ...]
    followed: tuple[tuple[str, str], ...]

    def describe(self) -> dict[str, Any]:
        """The tag as JSON data."""
        return {
            **{name: getattr(self, name) for name in ("name", "state", "digest", "payloads", "iovs")},
            "campaigns": list(self.campaigns),
            "changes": [{"run": one.run, "payloads": list(one.payloads)} for one in self.changes],
            "followed": [{"digest": digest, "since": since} for digest, since in self.followed],
        }


def list_changes(snapshot: Snapshot) -> tuple[TagChange, ...]:
    """The runs at which payloads change, the last ones first; the begin of the first IoV of a payload is not counted."""
    begins: dict[str, int] = {}
    for iov in snapshot.iovs:
        begins[iov.payload] = min(iov.first, begins.get(iov.payload, iov.first))
    found: dict[int, set[str]] = {}
    for iov in snapshot.iovs:
        if iov.first > begins[iov.payload]:
            found.setdefault(iov.first, set()).add(iov.payload)
    return tuple(
        TagChange(format_run(run), tuple(sorted(found[run]))) for run in sorted(found, reverse=True)[:LATEST]
    )


def read_tags(connection: Connection, repository: Repository) -> tuple[TagRow, ...]:
    """The declared tags by name."""
    followed: dict[str, list[tuple[str, str]]] = {}
    query = select(snapshots.c.tag, snapshots.c.digest, snapshots.c.followed)
    rows = connection.execute(query.where(snapshots.c.followed.is_not(None)).order_by(snapshots.c.followed))
    for tag, digest, since in rows:
        followed.setdefault(tag, []).append((digest, since))
    return tuple(_make_rows(repository, followed))


def _make_rows(repository: Repository, followed: dict[str, list[tuple[str, str]]]) -> Iterator[TagRow]:
    users: dict[str, list[str]] = {}
    for name, declared in repository.campaigns.items():
        campaign = declared.campaign
        steps = campaign.expand() if is_expandable(campaign.steps) else ()
        tried = {one.name for step in steps for one in step.deviations.testing_payloads}
        for tag in {*campaign.tag_names, *tried}:
            users.setdefault(tag, []).append(name)
    for name, snapshot in sorted(repository.snapshots.items()):
        payloads = {iov.payload for iov in snapshot.iovs}
        told: Sequence[tuple[str, str]] = followed.get(name, ())
        yield TagRow(
            *(name, snapshot.state, snapshot.digest, snapshot.retrieved, len(payloads), len(snapshot.iovs)),
            campaigns=tuple(sorted(users.get(name, ()))),
            changes=list_changes(snapshot),
            followed=tuple(told),
        )
