"""What is stopped for the time being: everything, a site, or a campaign; by a person, a breaker or a canary."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, select

from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import PauseKind

EVERYTHING = "all"
B2PROD = "b2prod"
"""Who begins and ends a pause where no person does."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that goes on. `scope` is `all`, `site:NAME` or `campaign:NAME`."""

    scope: str
    kind: PauseKind
    reason: str
    who: str
    since: str

    def stops(self, campaign: str, site: str) -> bool:
        """Whether nothing of a campaign may begin at a site."""
        return self.kind != PauseKind.FULL and self.scope in (
            EVERYTHING,
            f"campaign:{campaign}",
            f"site:{site}",
        )


def read_pauses(connection: Connection) -> tuple[Pause, ...]:
    """The pauses that go on, the oldest first."""
    columns = (pauses.c.scope, pauses.c.kind, pauses.c.reason, pauses.c.who, pauses.c.since)
    rows = connection.execute(select(*columns).where(pauses.c.ended.is_(None)).order_by(pauses.c.id))
    return tuple(Pause(*row) for row in rows)


def find_pause(found: Iterable[Pause], campaign: str, site: str) -> Pause | None:
    """The first of these pauses that stops a campaign at a site."""
    return next((pause for pause in found if pause.stops(campaign, site)), None)


def find_full(found: Iterable[Pause], site: str) -> Pause | None:
    """The pause that says since when a site's queue takes no more jobs; None where it does."""
    return next((one for one in found if (one.scope, one.kind) == (f"site:{site}", PauseKind.FULL)), None)


def read_ended(connection: Connection, scope: str, kind: PauseKind) -> str | None:
    """When the last pause of that kind was ended by a person; None where none was."""
    at = and_(pauses.c.scope == scope, pauses.c.kind == kind, pauses.c.ended.is_not(None))
    found: str | None = connection.execute(
        select(pauses.c.ended).where(at).order_by(pauses.c.id.desc())
    ).scalar()
    return found


def _read_names(content: bytes | None) -> frozenset[str]:
    return frozenset() if content is None else frozenset(json.loads(zlib.decompress(content)))


class PauseWriter:
    """Pauses and resumes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def pause(self, scope: str, kind: PauseKind, reason: str, who: str, subject: Iterable[str] = ()) -> bool:
        """Begins a pause; false where one of that scope and kind goes on already."""
        with self._writer.writing(polling=True) as journal:
            if any((one.scope, one.kind) == (scope, kind) for one in read_pauses(journal.connection)):
                return False
            row: dict[str, Any] = {"scope": scope, "kind": kind, "reason": reason[:500], "who": who}
            if names := sorted(subject):
                row["subject"] = zlib.compress(json.dumps(names).encode())
            journal.insert(pauses, [{**row, "since": self._writer.clock.show()}])
        return True

    def resume(self, scope: str, reason: str, who: str, kind: PauseKind | None = None) -> int:
        """Ends the pauses of a scope, of one kind or of whatever kind: how many went on."""
        values = {"ended": self._writer.clock.show(), "ended_by": who, "ended_reason": reason[:500]}
        with self._writer.writing(polling=True) as journal:
            at = and_(pauses.c.scope == scope, pauses.c.ended.is_(None))
            if kind is not None:
                at = and_(at, pauses.c.kind == kind)
            return len(journal.update(pauses, at, values))

    def find_resumed(self, scope: str, kind: PauseKind) -> str | None:
        """When a person last ended a pause of that kind; None where none did."""
        with self._writer.reading() as connection:
            return read_ended(connection, scope, kind)

    def read_subject(self, scope: str) -> frozenset[str] | None:
        """What an alarm of a scope that goes on asks about; None where there is none."""
        at = and_(pauses.c.scope == scope, pauses.c.kind == PauseKind.ALARM, pauses.c.ended.is_(None))
        with self._writer.reading() as connection:
            row = connection.execute(select(pauses.c.subject).where(at)).first()
        return None if row is None else _read_names(row.subject)

    def read_answered(self, scope: str, since: str) -> frozenset[str]:
        """What people answered for by ending alarms of a scope since a time."""
        at = and_(pauses.c.scope == scope, pauses.c.kind == PauseKind.ALARM, pauses.c.ended >= since)
        query = select(pauses.c.subject).where(at, pauses.c.ended_by != B2PROD)
        with self._writer.reading() as connection:
            return frozenset().union(*map(_read_names, connection.scalars(query)))

    def ask_more(self, scope: str, subject: Iterable[str]) -> None:
        """Adds to what the alarm of a scope asks about."""
        content = zlib.compress(json.dumps(sorted(subject)).encode())
        with self._writer.writing(polling=True) as journal:
            at = and_(pauses.c.scope == scope, pauses.c.kind == PauseKind.ALARM, pauses.c.ended.is_(None))
            journal.update(pauses, at, {"subject": content})

    def list_pauses(self) -> tuple[Pause, ...]:
        """The pauses that go on, the oldest first."""
        with self._writer.reading() as connection:
            return read_pauses(connection)
