"""What the ledger stores on approvals: pinned trust roots, launched locks, revocations and withdrawals.

These rows limit production. Nothing is judged here; the readers of the rows decide.
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
    """A pinned trust root: its files, path → content; `by` says who decided to pin it."""

    digest: str
    version: int
    files: Mapping[str, bytes]
    pinned: str
    by: str


@dataclass(frozen=True, slots=True)
class Launch:
    """The last lock with which a campaign was launched, and the approvals for it.

    `scopes` maps each scope to its digest and the generation since which the digest is so; None: not recorded.
    """

    generation: int
    lock: str
    approval: str
    scopes: Mapping[str, tuple[str, int]] | None = None


def list_roots(connection: Connection) -> tuple[Root, ...]:
    """All trust roots that were ever pinned; the last one counts."""
    rows = connection.execute(select(trust_roots).order_by(trust_roots.c.id))
    return tuple(Root(row.digest, row.version, _unpack(row.content), row.pinned, row.by) for row in rows)


def pin_root(connection: Connection, digest: str, version: int, files: Mapping[str, bytes], by: str) -> None:
    """Pins a trust root; from now on it counts."""
    content = {file: data.decode("utf-8") for file, data in files.items()}
    row = {"digest": digest, "version": version, "content": zlib.compress(canonical_json(content))}
    connection.execute(insert(trust_roots).values(**row, pinned=now(), by=by))


def read_launch(connection: Connection, campaign: str) -> Launch | None:
    """The last launch of a campaign; None if it was never launched with approvals."""
    row = connection.execute(select(launches).where(launches.c.campaign == campaign)).first()
    if row is None:
        return None
    scopes = row.scopes and {name: tuple(one) for name, one in json.loads(row.scopes).items()}
    return Launch(row.generation, row.lock, row.approval, scopes)


def record_launch(connection: Connection, campaign: str, launch: Launch) -> None:
    """Records the lock with which a campaign is launched from now on."""
    connection.execute(delete(launches).where(launches.c.campaign == campaign))
    row = asdict(launch)
    if launch.scopes is not None:
        row["scopes"] = canonical_json(launch.scopes).decode()
    connection.execute(insert(launches).values(**row, campaign=campaign, since=now()))


def list_revoked(connection: Connection) -> frozenset[str]:
    """The digests of all recorded revoked statements."""
    return frozenset(connection.scalars(select(revocations.c.statement)))


def record_revoked(connection: Connection, statements: Iterable[str]) -> None:
    """Records that statements are revoked. They stay revoked if the revocation is removed from the files."""
    for statement in statements:
        connection.execute(insert_new(connection, revocations).values(statement=statement, since=now()))


def list_withdrawals(connection: Connection, subject: str) -> dict[tuple[str, str], datetime]:
    """(Role, person) → the moment before which their statements about a subject no longer count."""
    rows = connection.execute(select(floors).where(floors.c.subject == subject))
    return {(row.role, row.principal): read_time(row.moment) for row in rows}


def list_all_withdrawals(connection: Connection) -> dict[str, dict[tuple[str, str], datetime]]:
    """Subject → the result of `list_withdrawals`, for every subject that has one."""
    found: dict[str, dict[tuple[str, str], datetime]] = {}
    for row in connection.execute(select(floors)):
        found.setdefault(row.subject, {})[row.role, row.principal] = read_time(row.moment)
    return found


def record_withdrawals(
    connection: Connection, subject: str, moments: Mapping[tuple[str, str], datetime]
) -> None:
    """Records moments before which statements about a subject no longer count. A recorded moment never goes back."""
    for (role, principal), moment in sorted(moments.items()):
        whose = {"subject": subject, "role": role, "principal": principal}
        text = format_time(moment)
        connection.execute(insert_new(connection, floors).values(**whose, moment=text))
        mine = and_(*(floors.c[key] == value for key, value in whose.items()), floors.c.moment < text)
        connection.execute(update(floors).where(mine).values(moment=text))


def _unpack(content: bytes) -> dict[str, bytes]:
    return {file: text.encode() for file, text in json.loads(zlib.decompress(content)).items()}
