"""What the ledger remembers of approvals: the pinned trust root, how far campaigns have come, what was revoked.

These are not rows of production: they bound it, and only grow. Who reads them decides; here nothing is judged.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from reconciler.ledger.database import insert_new
from reconciler.ledger.trust_tables import launches, revocations, trust_roots
from reconciler.ledger.writing import now
from schemas.canonical import canonical_json


@dataclass(frozen=True, slots=True)
class Root:
    """A trust root that was pinned: its files, path → content; `by` says on whose word."""

    digest: str
    version: int
    files: Mapping[str, bytes]
    pinned: str
    by: str


@dataclass(frozen=True, slots=True)
class Launch:
    """The last lock of a campaign under which anything was launched, and the approvals for it."""

    generation: int
    lock: str
    approval: str


def list_roots(connection: Connection) -> tuple[Root, ...]:
    """All trust roots that were ever pinned, the one that counts last."""
    rows = connection.execute(select(trust_roots).order_by(trust_roots.c.id))
    return tuple(Root(row.digest, row.version, _unpack(row.content), row.pinned, row.by) for row in rows)


def pin_root(connection: Connection, digest: str, version: int, files: Mapping[str, bytes], by: str) -> None:
    """Makes a trust root the one that counts."""
    content = {file: data.decode("utf-8") for file, data in files.items()}
    connection.execute(
        insert(trust_roots).values(
            digest=digest,
            version=version,
            content=zlib.compress(canonical_json(content)),
            pinned=now(),
            by=by,
        )
    )


def read_launch(connection: Connection, campaign: str) -> Launch | None:
    """How far a campaign has come; None: nothing of it was launched under approvals."""
    row = connection.execute(select(launches).where(launches.c.campaign == campaign)).first()
    return None if row is None else Launch(row.generation, row.lock, row.approval)


def record_launch(connection: Connection, campaign: str, launch: Launch) -> None:
    """Records the lock under which a campaign is launched from now on."""
    connection.execute(delete(launches).where(launches.c.campaign == campaign))
    connection.execute(
        insert(launches).values(
            campaign=campaign,
            generation=launch.generation,
            lock=launch.lock,
            approval=launch.approval,
            since=now(),
        )
    )


def list_revoked(connection: Connection) -> frozenset[str]:
    """Digests of all statements that were seen to be revoked."""
    return frozenset(connection.scalars(select(revocations.c.statement)))


def record_revoked(connection: Connection, statements: Iterable[str]) -> None:
    """Remembers that statements were revoked, so that taking the revocation away again changes nothing."""
    for statement in statements:
        connection.execute(insert_new(connection, revocations).values(statement=statement, since=now()))


def _unpack(content: bytes) -> dict[str, bytes]:
    return {file: text.encode() for file, text in json.loads(zlib.decompress(content)).items()}
