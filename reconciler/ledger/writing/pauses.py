"""Pauses of everything, of a site or of a campaign, begun by a person or by b2prod."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select

from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import PauseKind

EVERYTHING = "all"
B2PROD = "b2prod"
"""The name that begins and ends a pause if no person does."""
LONGEST_REASON = 500
"""The number of characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that has not ended. `scope` is `all`, `site:NAME` or `campaign:NAME`."""

    scope: str
    kind: PauseKind
    reason: str
    who: str
    since: str

    def stops(self, campaign: str, site: str) -> bool:
        """Whether it stops a campaign at a site from beginning new work."""
        scopes = (EVERYTHING, f"campaign:{campaign}", f"site:{site}")
        return self.kind != PauseKind.FULL and self.scope in scopes


def read_pauses(connection: Connection) -> tuple[Pause, ...]:
    """The pauses that have not ended, the oldest first."""
    columns = (pauses.c.scope, pauses.c.kind, pauses.c.reason, pauses.c.who, pauses.c.since)
    rows = connection.execute(select(*columns).where(pauses.c.ended.is_(None)).order_by(pauses.c.id))
    return tuple(Pause(*row) for row in rows)


def find_pause(found: Iterable[Pause], campaign: str, site: str) -> Pause | None:
    """The first of these pauses that stops a campaign at a site."""
    return next((pause for pause in found if pause.stops(campaign, site)), None)


def find_full(found: Iterable[Pause], site: str) -> Pause | None:
    """The pause for the full queue of a site; None if the queue takes jobs."""
    return next((one for one in found if (one.scope, one.kind) == (f"site:{site}", PauseKind.FULL)), None)


def _read_names(content: bytes | None) -> frozenset[str]:
    return frozenset() if content is None else frozenset(json.loads(zlib.decompress(content)))


def _write_names(names: Iterable[str]) -> bytes:
    return zlib.compress(json.dumps(sorted(names)).encode())


def _is_alarm(scope: str) -> ColumnElement[bool]:
    return and_(pauses.c.scope == scope, pauses.c.kind == PauseKind.ALARM)


class PauseWriter:
    """Begins and ends pauses."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def pause(self, scope: str, kind: PauseKind, reason: str, who: str, subject: Iterable[str] = ()) -> bool:
        """Begins a pause; returns False if there is already one with that scope and kind."""
        with self._writer.writing(polling=True) as journal:
            if any((one.scope, one.kind) == (scope, kind) for one in read_pauses(journal.connection)):
                return False
            row: dict[str, Any] = {
                "scope": scope,
                "kind": kind,
                "reason": reason[:LONGEST_REASON],
                "who": who,
            }
            if names := sorted(subject):
                row["subject"] = _write_names(names)
            journal.insert(pauses, [{**row, "since": self._writer.clock.show()}])
        return True

    def resume(self, scope: str, reason: str, who: str, kind: PauseKind | None = None) -> int:
        """Ends the pauses of a scope, of one kind or of all kinds. Returns how many pauses ended."""
        values = {
            "ended": self._writer.clock.show(),
            "ended_by": who,
            "ended_reason": reason[:LONGEST_REASON],
        }
        with self._writer.writing(polling=True) as journal:
            at = and_(pauses.c.scope == scope, pauses.c.ended.is_(None))
            if kind is not None:
                at = and_(at, pauses.c.kind == kind)
            return len(journal.update(pauses, at, values))

    def find_resumed(self, scope: str, kind: PauseKind, *, by_person: bool = False) -> str | None:
        """When the last pause of that kind ended, or was ended by a person; None if none was."""
        at = [pauses.c.scope == scope, pauses.c.kind == kind, pauses.c.ended.is_not(None)]
        if by_person:
            at.append(pauses.c.ended_by != B2PROD)
        query = select(pauses.c.ended).where(*at).order_by(pauses.c.id.desc())
        found: str | None = self._writer.find(query)
        return found

    def read_subject(self, scope: str) -> frozenset[str] | None:
        """The names that the present alarm of a scope asks about; None if there is no alarm."""
        rows = self._writer.read(select(pauses.c.subject).where(_is_alarm(scope), pauses.c.ended.is_(None)))
        return _read_names(rows[0].subject) if rows else None

    def read_answered(self, scope: str, since: str) -> frozenset[str]:
        """The names on which people decided by ending alarms of a scope since a time."""
        answered = (_is_alarm(scope), pauses.c.ended >= since, pauses.c.ended_by != B2PROD)
        rows = self._writer.read(select(pauses.c.subject).where(*answered))
        return frozenset().union(*(_read_names(row.subject) for row in rows))

    def ask_more(self, scope: str, subject: Iterable[str]) -> None:
        """Sets the names that the present alarm of a scope asks about."""
        with self._writer.writing(polling=True) as journal:
            at = and_(_is_alarm(scope), pauses.c.ended.is_(None))
            journal.update(pauses, at, {"subject": _write_names(subject)})

    def list_pauses(self) -> tuple[Pause, ...]:
        """The pauses that have not ended, the oldest first."""
        with self._writer.reading() as connection:
            return read_pauses(connection)
