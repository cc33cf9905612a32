"""An operator's levers: what a person decides about units, each recorded with who and why.

They need no lease: a reconciler that is at work finds what was decided at its next look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, select
from sqlalchemy.exc import IntegrityError

from reconciler.guard import GuardRefused
from reconciler.ledger.journal import Journal
from reconciler.ledger.pauses import OPERATOR, PauseWriter
from reconciler.ledger.tables import LIVE, attempts, decisions, intents, jobs, outputs, products
from reconciler.ledger.units import quarantine
from reconciler.ledger.writing import Writer
from schemas.runs import split_key


@dataclass(frozen=True, slots=True)
class Scope:
    """Units: of a campaign, of one step of it, or of certain runs of that step. `text` is how it was written."""

    text: str
    campaign: str
    step: str | None = None
    keys: frozenset[int] | None = None


class Levers:
    """Writes the decisions of one person."""

    def __init__(self, writer: Writer, who: str) -> None:
        self._writer = writer
        self._who = who

    def release(self, scope: Scope, reason: str) -> int:
        """Lets quarantined units be tried again, as if anew: how many there were."""
        with self._writer.writing() as journal:
            found = _find_intents(journal, scope, ("quarantined",))
            for intent in found:
                values = {"state": "abandoned", "reason": reason[:500]}
                journal.update(intents, intents.c.id == intent, values)
            self._note(journal, "retry", scope, reason, found)
        return len(found)

    def quarantine(self, scope: Scope, reason: str) -> int:
        """Stops open units until a person lets them be tried again; their running jobs are not ended. How many."""
        with self._writer.writing() as journal:
            found = _find_intents(journal, scope, ("open",))
            for intent in found:
                quarantine(journal, intent, reason)
            self._note(journal, "quarantine", scope, reason, found)
        return len(found)

    def cancel(self, scope: Scope, reason: str) -> int:
        """Asks for the end of all running attempts of units, and quarantines these: how many units."""
        with self._writer.writing() as journal:
            found = _find_intents(journal, scope, ("open",))
            for intent in found:
                at = and_(_is_of(intent), attempts.c.state.in_(LIVE), attempts.c.cancel.is_(None))
                journal.update(attempts, at, {"cancel": reason[:500]})
                quarantine(journal, intent, reason)
            self._note(journal, "cancel", scope, reason, found)
        return len(found)

    def adopt(self, scope: Scope, reference: str, reason: str) -> str:
        """Says which job of the engine a unit's doubtful attempt is; the attempt's name.

        Raises:
            GuardRefused: there is not exactly one attempt of which nothing is known.
        """
        with self._writer.writing() as journal:
            doubtful = [row for row in _list_live(journal, scope) if row.state == "uncertain" or row.unknown]
            if len(doubtful) != 1:
                raise GuardRefused(
                    f"{scope.text} has {len(doubtful)} attempts of which nothing is known; one can be adopted"
                )
            values = {"state": "submitted", "reference": reference, "unknown": None, "absences": 0}
            journal.update(attempts, attempts.c.id == doubtful[0].id, values)
            self._note(journal, "adopt", scope, f"{reference}: {reason}", [doubtful[0].id])
            return str(doubtful[0].name)

    def list_doubtful(self, scope: Scope) -> list[str]:
        """The names of the live attempts of units of which nothing is known."""
        with self._writer.writing() as journal:
            return [row.name for row in _list_live(journal, scope) if row.state == "uncertain" or row.unknown]

    def declare_absent(self, scope: Scope, names: Sequence[str], reason: str) -> int:
        """Says that attempts, by name, do not exist at their engine, so that their jobs may be tried again."""
        with self._writer.writing() as journal:
            at = and_(attempts.c.name.in_(names), attempts.c.state.in_(LIVE))
            values = {
                "state": "lost",
                "reason": f"{self._who}: {reason}"[:2000],
                "ended": self._writer.clock.show(),
            }
            gone = journal.update(attempts, at, values)
            self._note(journal, "absent", scope, reason, [row.id for row in gone])
        return len(gone)

    def accept_incomplete(self, scope: Scope, reason: str) -> int:
        """Says that units are complete with what was verified of them; the next turn publishes that. How many.

        Raises:
            GuardRefused: something of a unit still runs, nothing of it was verified, or it was produced elsewise.
        """
        try:
            with self._writer.writing() as journal:
                if _list_live(journal, scope):
                    raise GuardRefused(f"attempts of {scope.text} are still under way; cancel or await them")
                found = _find_intents(journal, scope, ("open", "quarantined"))
                made = [intent for intent in found if _has_products(journal, intent)]
                if not made:
                    raise GuardRefused(f"nothing of {scope.text} was verified, so there is nothing to accept")
                for intent in made:
                    journal.update(intents, intents.c.id == intent, {"state": "open", "reason": reason[:500]})
                    journal.update(outputs, outputs.c.intent == intent, {"state": "publishing"})
                self._note(journal, "accept", scope, reason, made)
        except IntegrityError as error:
            raise GuardRefused(f"{scope.text} is being made, or was made, in another way") from error
        return len(made)

    def pause(self, scope: str, reason: str) -> bool:
        """Stops what begins in `all`, `site:NAME` or `campaign:NAME`; false where it is stopped already."""
        return PauseWriter(self._writer).pause(scope, OPERATOR, reason, self._who)

    def resume(self, scope: str, reason: str) -> int:
        """Ends the pauses of a scope, a breaker's and a canary's too: how many."""
        return PauseWriter(self._writer).resume(scope, reason, self._who)

    def _note(
        self, journal: Journal, verb: str, scope: Scope, reason: str, touched: Iterable[object]
    ) -> None:
        if any(True for _ in touched):
            row = {"time": self._writer.clock.show(), "verb": verb, "what": scope.text[:200]}
            journal.insert(decisions, [{**row, "who": self._who, "reason": reason[:500]}])


def _is_of(intent: int) -> ColumnElement[bool]:
    return attempts.c.job.in_(select(jobs.c.id).where(jobs.c.intent == intent))


def _find_intents(journal: Journal, scope: Scope, states: Sequence[str]) -> list[int]:
    at = and_(intents.c.campaign == scope.campaign, intents.c.state.in_(states))
    if scope.step is not None:
        at = and_(at, intents.c.step == scope.step)
    rows = journal.connection.execute(select(intents.c.id, intents.c.experiment, intents.c.run).where(at))
    wanted = None if scope.keys is None else {split_key(key) for key in scope.keys}
    return [row.id for row in rows.all() if wanted is None or (row.experiment, row.run) in wanted]


def _list_live(journal: Journal, scope: Scope) -> list[Row[Any]]:
    rows: list[Row[Any]] = []
    for intent in _find_intents(journal, scope, ("open", "quarantined")):
        query = select(attempts).where(_is_of(intent), attempts.c.state.in_(LIVE))
        rows += list(journal.connection.execute(query))
    return rows


def _has_products(journal: Journal, intent: int) -> bool:
    query = select(products.c.path).join(outputs, outputs.c.id == products.c.output)
    return journal.connection.execute(query.where(outputs.c.intent == intent)).first() is not None
