"""What was handed over to calibration and what came back, by scheme, stage and iteration. Only reads.

Where a scheme has buckets, `stage` is with the bucket: `calibrate.bucket1`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, func, select

from reconciler.ledger.schema.calibration_tables import hand_overs, payload_returns
from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import Snapshot, read_snapshot

_NAMES = ("id", "scheme", "stage", "iteration", "digest")


@dataclass(frozen=True, slots=True)
class StoredHandOver:
    """A hand-over without its content. `editions` maps names to digests.

    `place` is the folder where it was last written; `written` is when that was read back, None while it is only intended.
    `announced` is the address of the issue that tells of it. In an export `who` and `place` are empty.
    """

    id: int
    scheme: str
    stage: str
    iteration: int
    digest: str
    editions: Mapping[str, str] = field(hash=False)
    place: str
    who: str
    created: str
    written: str | None
    announced: str | None


@dataclass(frozen=True, slots=True)
class StoredReturn:
    """Payloads that came back for a hand-over, whose digest is `hand_over`. `snapshot` is their name as a local database.

    `place` is the folder with their files; `written` is when that was read back, None while it is only intended.
    """

    id: int
    scheme: str
    stage: str
    iteration: int
    digest: str
    hand_over: str
    snapshot: str
    place: str
    who: str
    created: str
    written: str | None


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """What the ledger has of one iteration of a stage: the last hand-over that was written, and the last return for any.

    `base` is the snapshot from which the global tag that comes back may differ only by `returned`, the payloads that came
    back, as `release` reads them; all three are None until then.
    """

    hand_over: StoredHandOver | None = None
    payload_return: StoredReturn | None = None
    base: Snapshot | None = None
    returned: Snapshot | None = None
    release: str | None = None


def list_hand_overs(connection: Connection, scheme: str, stage: str | None = None) -> list[StoredHandOver]:
    """The hand-overs of a scheme, or of one of its stages, the latest last; also those that are only intended."""
    where = [hand_overs.c.scheme == scheme, *([] if stage is None else [hand_overs.c.stage == stage])]
    return _read_hand_overs(connection, *where)


def list_open_hand_overs(connection: Connection) -> list[StoredHandOver]:
    """The hand-overs for which nothing came back yet, neither for them nor for a later one of their stage.

    Calibration may be reading what is in them: their editions must not be deleted. Intended ones count too.
    """
    columns = (hand_overs.c.scheme, hand_overs.c.stage, func.max(hand_overs.c.id))
    answered = hand_overs.join(payload_returns, payload_returns.c.hand_over == hand_overs.c.digest)
    query = select(*columns).select_from(answered).where(payload_returns.c.written.is_not(None))
    rows = connection.execute(query.group_by(*columns[:2]))
    last = {(scheme, stage): number for scheme, stage, number in rows}
    found = _read_hand_overs(connection)
    return [one for one in found if one.id > last.get((one.scheme, one.stage), 0)]


def find_hand_over(connection: Connection, digest: str) -> StoredHandOver | None:
    """The hand-over with this digest, or None."""
    return next(iter(_read_hand_overs(connection, hand_overs.c.digest == digest)), None)


def list_returns(connection: Connection, scheme: str, stage: str) -> list[StoredReturn]:
    """The returns of a stage, the latest last; also those that are only intended."""
    columns = [payload_returns.c[name] for name in (*_NAMES, "hand_over", "snapshot", *_WHERE)]
    where = (payload_returns.c.scheme == scheme, payload_returns.c.stage == stage)
    rows = connection.execute(select(*columns).where(*where).order_by(payload_returns.c.id))
    return [StoredReturn(*row) for row in rows]


def read_calibration(connection: Connection, scheme: str, stage: str, iteration: int) -> CalibrationRecord:
    """What was handed over and came back in one iteration of a stage.

    Raises:
        SourceUnavailable: a snapshot in the ledger is damaged.
    """
    given = [
        one
        for one in list_hand_overs(connection, scheme, stage)
        if one.iteration == iteration and one.written
    ]
    back = [
        one for one in list_returns(connection, scheme, stage) if one.iteration == iteration and one.written
    ]
    if not back:
        return CalibrationRecord(given[-1] if given else None)
    last = back[-1]
    return CalibrationRecord(
        given[-1] if given else None,
        last,
        read_base(connection, last.hand_over),
        read_returned_snapshot(connection, last),
        read_hand_over_content(connection, last.hand_over)["release"],
    )


def read_base(connection: Connection, digest: str) -> Snapshot:
    """The snapshot of the hand-over with this digest from which the tag that comes back may differ.

    Raises:
        SourceUnavailable: the ledger does not have it, or it is damaged.
    """
    stored = connection.execute(select(hand_overs.c.base).where(hand_overs.c.digest == digest)).scalar()
    return _read_snapshot(stored, f"the base of the hand-over {digest[:12]}")


def read_returned_snapshot(connection: Connection, one: StoredReturn) -> Snapshot:
    """The payloads that came back, as the snapshot of a local database.

    Raises:
        SourceUnavailable: the ledger does not have it, or it is damaged.
    """
    stored = connection.execute(
        select(payload_returns.c.content).where(payload_returns.c.id == one.id)
    ).scalar()
    return _read_snapshot(stored, f"what was returned as {one.snapshot}")


def read_hand_over_content(connection: Connection, digest: str) -> dict[str, Any]:
    """What a hand-over says, without its digest.

    Raises:
        SourceUnavailable: the ledger does not have it, or it is not what was handed over.
    """
    stored = connection.execute(select(hand_overs.c.content).where(hand_overs.c.digest == digest)).scalar()
    content = b"" if stored is None else _decompress(stored, f"the hand-over {digest[:12]}")
    if sha256(content).hexdigest() != digest:
        raise SourceUnavailable(f"the content of the hand-over {digest[:12]} is not what was handed over")
    found: dict[str, Any] = json.loads(content)
    return found


_WHERE = ("place", "who", "created", "written")


def _read_hand_overs(connection: Connection, *where: Any) -> list[StoredHandOver]:
    columns = [hand_overs.c[name] for name in (*_NAMES, "editions", *_WHERE, "announced")]
    rows = connection.execute(select(*columns).where(*where).order_by(hand_overs.c.id))
    return [StoredHandOver(**{**row._mapping, "editions": json.loads(row.editions)}) for row in rows]  # noqa: SLF001 -- SQLAlchemy's name


def _read_snapshot(stored: bytes | None, what: str) -> Snapshot:
    if stored is None:
        raise SourceUnavailable(f"the ledger does not have {what}")
    content = _decompress(stored, what)
    first = next(
        (line for line in content.decode("utf-8", "replace").splitlines() if line.startswith("# name: ")), ""
    )
    name = first.removeprefix("# name: ")
    snapshot, findings = read_snapshot(f"{name}.iov", name, content, any_state=True)
    if snapshot is None:
        raise SourceUnavailable(f"{what} is damaged in the ledger: {findings[0].message}")
    return snapshot


def _decompress(stored: bytes, what: str) -> bytes:
    try:
        return zlib.decompress(stored)
    except zlib.error as error:
        raise SourceUnavailable(f"{what} cannot be read: {error}") from error
