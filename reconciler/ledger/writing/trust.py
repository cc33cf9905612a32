"""What the ledger remembers of approvals: the pinned trust root, how far campaigns have come, what no longer counts.

These rows limit production, and they only grow. Nothing is judged here: the readers of the rows decide.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select, update

from reconciler.ledger.schema.decision_tables import floors, launches, revocations, trust_roots
from reconciler.ledger.store.database import insert_new
from reconciler.ledger.writing.transaction import now
from schemas.files.canonical import canonical_json
from schemas.files.times import format_time, read_time


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
    """The last lock of a campaign under which anything was launched, and the approvals for it.

    `scopes` are name → digest and the generation since which it was so; None: it was launched before they were recorded.
    """

    generation: int
    lock: str
    approval: str
    scopes: Mapping[str, tuple[str, int]] | None = None


def list_roots(connection: Connection) -> tuple[Root, ...]:
    """All trust roots that were ever pinned, the one that counts last."""
    rows = connection.execute(select(trust_roots).order_by(trust_roots.c.id))
    return tuple(Root(row.digest, row.version, _unpack(row.content), row.pinned, row.by) for row in rows)


def pin_root(connection: Connection, digest: str, version: int, files: Mapping[str, bytes], by: str) -> None:
    """Makes a trust root the one that counts."""
    content = {file: data.decode("utf-8") for file, data in files.items()}
    row = {"digest": digest, "version": version, "content": zlib.compress(canonical_json(content))}
    connection.execute(insert(trust_roots).values(**row, pinned=now(), by=by))


def read_launch(connection: Connection, campaign: str) -> Launch | None:
    """How far a campaign has come; None: nothing of it was launched under approvals."""
    row = connection.execute(select(launches).where(launches.c.campaign == campaign)).first()
    if row is None:
        return None
    scopes = row.scopes and {name: tuple(one) for name, one in json.loads(row.scopes).items()}
    return Launch(row.generation, row.lock, row.approval, scopes)


def record_launch(connection: Connection, campaign: str, launch: Launch) -> None:
    """Records the lock under which a campaign is launched from now on."""
    connection.execute(delete(launches).where(launches.c.campaign == campaign))
    row = asdict(launch)
    if launch.scopes is not None:
        row["scopes"] = canonical_json(launch.scopes).decode()
    connection.execute(insert(launches).values(**row, campaign=campaign, since=now()))


def list_revoked(connection: Connection) -> frozenset[str]:
    """Digests of all statements that were seen to be revoked."""
    return frozenset(connection.scalars(select(revocations.c.statement)))


def record_revoked(connection: Connection, statements: Iterable[str]) -> None:
    """Remembers that statements were revoked, so that taking the revocation away again changes nothing."""
    for statement in statements:
        connection.execute(insert_new(connection, revocations).values(statement=statement, since=now()))


def list_withdrawals(connection: Connection, subject: str) -> dict[tuple[str, str], datetime]:
    """(Role, person) → the moment before which nothing counts any more of what they signed about a subject."""
    rows = connection.execute(select(floors).where(floors.c.subject == subject))
    return {(row.role, row.principal): read_time(row.moment) for row in rows}


def record_withdrawals(
    connection: Connection, subject: str, moments: Mapping[tuple[str, str], datetime]
) -> None:
    """Remembers moments before which statements about a subject count no longer; they only move on, whoever else writes."""
    for (role, principal), moment in sorted(moments.items()):
        whose = {"subject": subject, "role": role, "principal": principal}
        text = format_time(moment)
        connection.execute(insert_new(connection, floors).values(**whose, moment=text))
        mine = and_(*(floors.c[key] == value for key, value in whose.items()), floors.c.moment < text)
        connection.execute(update(floors).where(mine).values(moment=text))


def _unpack(content: bytes) -> dict[str, bytes]:
    return {file: text.encode() for file, text in json.loads(zlib.decompress(content)).items()}
