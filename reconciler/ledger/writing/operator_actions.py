"""Operator actions: decisions of a person about units, each recorded with the person's name and reason."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.exc import IntegrityError

from reconciler.ledger.reading.observation import BY_HAND
from reconciler.ledger.schema.decision_tables import decisions
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import UNDER_WAY, attempts, intents, jobs, outputs, plans, products
from reconciler.ledger.writing.attempt_rows import ATTEMPTS, make_attempt
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.pauses import PauseWriter
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import quarantine
from reconciler.model.states import LIVE, AttemptState, IntentState, OutputState, PauseKind
from reconciler.model.work_items import Attempt
from reconciler.outside.errors import GuardRefused
from schemas.files.canonical import canonical_json, digest
from schemas.manifest.runs import split_key

MOST = 10_000
"""Largest number of units that one decision can stop before they begin."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Units: of a campaign, of one of its steps, or of some runs of that step. `text` is how it was written."""

    text: str
    campaign: str
    step: str | None = None
    keys: frozenset[int] | None = None


class OperatorActions:
    """Writes the decisions of one person."""

    def __init__(self, writer: Writer, who: str) -> None:
        self._writer = writer
        self._who = who

    def release(self, scope: Scope, reason: str) -> int:
        """Lets quarantined units be tried again; their failures no longer count. Returns the number of units."""
        with self._writer.writing() as journal:
            found = _find_intents(journal, scope, (IntentState.QUARANTINED,))
            for intent in found:
                values = {"state": IntentState.RELEASED, "reason": reason[:500]}
                journal.update(intents, intents.c.id == intent, values)
            self._note(journal, "retry", scope, reason, found)
        return len(found)

    def quarantine(self, scope: Scope, reason: str) -> int:
        """Stops units until a person releases them; their running jobs continue. Returns the number of units.

        If the scope has runs, all its units are stopped, also those that have not begun; else only those that have begun.

        Raises:
            GuardRefused: the scope has more than `MOST` runs.
        """
        if scope.keys is not None and len(scope.keys) > MOST:
            raise GuardRefused(
                f"{scope.text} has {len(scope.keys):,} runs, and at most {MOST:,} are stopped one by one;"
                f" `b2prod pause campaign:{scope.campaign}` stops them all"
            )
        with self._writer.writing() as journal:
            begun = _find_intents(journal, scope, (IntentState.OPEN,))
            found = _leave_made(journal, begun)
            for intent in found:
                quarantine(journal, intent, reason)
            found += self._stop_before(journal, scope, _find_units(journal, begun), reason)
            self._note(journal, "quarantine", scope, reason, found)
        return len(found)

    def _stop_before(
        self, journal: Journal, scope: Scope, stopped: set[tuple[int, int]], reason: str
    ) -> list[int]:
        """Quarantines units that have not begun: an intent without outputs stops the unit, whatever outputs are wanted later."""
        if scope.step is None or scope.keys is None:
            return []
        stopped = stopped | _find_units(journal, _list_by_hand(journal, scope))
        runs = [split_key(key) for key in sorted(scope.keys) if split_key(key) not in stopped]
        if not runs:
            return []
        content = {"plan": "a person's decisions"}
        plan = {"digest": digest(content), "content": canonical_json(content), "serial": 0}
        journal.insert_new(plans, [{**plan, "begun": self._writer.clock.show(), "ended": None}])
        unit = {"plan": plan["digest"], "campaign": scope.campaign, "step": scope.step, "approval": None}
        unit |= {"state": IntentState.QUARANTINED, "reason": reason[:500]}
        return journal.insert(intents, [{**unit, "experiment": one, "run": run} for one, run in runs])

    def cancel(self, scope: Scope, reason: str) -> int:
        """Asks for the end of all live attempts of units, and quarantines the units. Returns the number of units.

        Attempts of abandoned intents are ended too, because their unit waits for them.
        """
        with self._writer.writing() as journal:
            stopped = _leave_made(journal, _find_intents(journal, scope, (IntentState.OPEN,)))
            running = _find_intents(journal, scope, (), live=True)
            given_up = set(_find_intents(journal, scope, (IntentState.ABANDONED, IntentState.RELEASED)))
            for intent in running:
                at = and_(_is_of(intent), attempts.c.state.in_(LIVE), attempts.c.cancel.is_(None))
                if journal.update(attempts, at, {"cancel": reason[:500]}) and intent in given_up:
                    stopped.append(intent)
            for intent in stopped:
                quarantine(journal, intent, reason)
            found = {*stopped, *running}
            self._note(journal, "cancel", scope, reason, found)
        return len(found)

    def adopt(self, scope: Scope, reference: str, reason: str) -> str:
        """Records which job of the engine belongs to a unit's doubtful attempt. Returns the attempt's name.

        Raises:
            GuardRefused: the unit does not have exactly one doubtful attempt (uncertain or unknown).
        """
        with self._writer.writing() as journal:
            attempt = _find_doubtful(journal, scope)
            values = {"state": AttemptState.SUBMITTED, "reference": reference, "unknown": None, "absences": 0}
            journal.update(attempts, attempts.c.id == attempt.id, values)
            self._note(journal, "adopt", scope, f"{reference}: {reason}", [attempt.id])
            return attempt.name

    def find_doubtful(self, scope: Scope) -> Attempt:
        """The doubtful attempt of a unit: it is uncertain, or its engine cannot tell anything of it.

        Raises:
            GuardRefused: there is not exactly one.
        """
        with self._writer.writing(polling=True) as journal:
            return _find_doubtful(journal, scope)

    def list_doubtful(self, scope: Scope) -> list[str]:
        """The names of the doubtful attempts of units."""
        with self._writer.writing(polling=True) as journal:
            return [attempt.name for attempt in _list_doubtful(journal, scope)]

    def declare_absent(self, scope: Scope, names: Sequence[str], reason: str) -> int:
        """Records that attempts, by name, are not at their engine; their jobs may be tried again. Returns their number."""
        with self._writer.writing() as journal:
            at = and_(attempts.c.name.in_(names), attempts.c.state.in_(LIVE))
            values = {"state": AttemptState.LOST, "reason": f"{self._who}: {reason}"[:2000]}
            gone = journal.update(attempts, at, {**values, "ended": self._writer.clock.show()})
            self._note(journal, "absent", scope, reason, [row.id for row in gone])
        return len(gone)

    def accept_incomplete(self, scope: Scope, reason: str) -> int:
        """Accepts units with only their verified jobs; the next turn publishes them. Returns the number of units.

        Raises:
            GuardRefused: a unit has live attempts, none has a verified job, or another unit made the same outputs.
        """
        try:
            with self._writer.writing() as journal:
                if _list_live(journal, scope):
                    raise GuardRefused(f"attempts of {scope.text} are still under way; cancel or await them")
                found = _find_intents(journal, scope, (IntentState.OPEN, IntentState.QUARANTINED))
                made = [intent for intent in found if _has_products(journal, intent)]
                if not made:
                    raise GuardRefused(f"nothing of {scope.text} was verified, so there is nothing to accept")
                for intent in made:
                    values = {"state": IntentState.OPEN, "reason": reason[:500]}
                    journal.update(intents, intents.c.id == intent, values)
                    journal.update(outputs, outputs.c.intent == intent, {"state": OutputState.PUBLISHING})
                accepted = _find_units(journal, made)
                for intent in _list_by_hand(journal, scope):
                    if _find_units(journal, [intent]) <= accepted:  # the unit is not stopped any more
                        journal.update(intents, intents.c.id == intent, {"state": IntentState.ABANDONED})
                self._note(journal, "accept", scope, reason, made)
        except IntegrityError as error:
            raise GuardRefused(f"{scope.text} is being made, or was made, in another way") from error
        return len(made)

    def pause(self, scope: str, reason: str) -> bool:
        """Pauses `all`, `site:NAME` or `campaign:NAME`; returns false if an operator has paused it already."""
        return PauseWriter(self._writer).pause(scope, PauseKind.OPERATOR, reason, self._who)

    def resume(self, scope: str, reason: str) -> int:
        """Ends all pauses of a scope, also those that b2prod began. Returns the number of pauses."""
        return PauseWriter(self._writer).resume(scope, reason, self._who)

    def _note(self, journal: Journal, verb: str, scope: Scope, reason: str, touched: Sized) -> None:
        if touched:
            row = {"time": self._writer.clock.show(), "verb": verb, "what": scope.text[:200]}
            journal.insert(decisions, [{**row, "who": self._who, "reason": reason[:500]}])


def _is_of(intent: int) -> ColumnElement[bool]:
    return attempts.c.job.in_(select(jobs.c.id).where(jobs.c.intent == intent))


def _find_intents(
    journal: Journal, scope: Scope, states: Sequence[IntentState], *, live: bool = False
) -> list[int]:
    """The intents of units in one of the states or, with `live`, with a live attempt."""
    chosen: ColumnElement[bool] = intents.c.state.in_(states)
    if live:
        chosen = or_(chosen, intents.c.id.in_(UNDER_WAY))
    at = and_(intents.c.campaign == scope.campaign, chosen)
    if scope.step is not None:
        at = and_(at, intents.c.step == scope.step)
    rows = journal.connection.execute(select(intents.c.id, intents.c.experiment, intents.c.run).where(at))
    wanted = None if scope.keys is None else {split_key(key) for key in scope.keys}
    return [row.id for row in rows.all() if wanted is None or (row.experiment, row.run) in wanted]


def _leave_made(journal: Journal, found: Sequence[int]) -> list[int]:
    """The intents without those that are being published, because their files may be at their final places already."""
    made = select(outputs.c.intent).where(outputs.c.state == OutputState.PUBLISHING)
    publishing = set(journal.connection.scalars(made))
    return [intent for intent in found if intent not in publishing]


def _list_by_hand(journal: Journal, scope: Scope) -> list[int]:
    """The intents by which a person stopped units of a scope before they began."""
    mine = set(journal.connection.scalars(select(intents.c.id).where(BY_HAND)))
    return [intent for intent in _find_intents(journal, scope, (IntentState.QUARANTINED,)) if intent in mine]


def _find_units(journal: Journal, numbers: Sequence[int]) -> set[tuple[int, int]]:
    """Experiment and run of the units of intents."""
    query = select(intents.c.experiment, intents.c.run)
    return {
        (row.experiment, row.run)
        for part in divide(numbers)
        for row in journal.connection.execute(query.where(intents.c.id.in_(part)))
    }


def _list_live(journal: Journal, scope: Scope) -> list[Attempt]:
    live = ATTEMPTS.where(attempts.c.state.in_(LIVE))
    return [
        make_attempt(row)
        for intent in _find_intents(journal, scope, (), live=True)
        for row in journal.connection.execute(live.where(_is_of(intent)))
    ]


def _list_doubtful(journal: Journal, scope: Scope) -> list[Attempt]:
    return [one for one in _list_live(journal, scope) if one.state == AttemptState.UNCERTAIN or one.unknown]


def _find_doubtful(journal: Journal, scope: Scope) -> Attempt:
    doubtful = _list_doubtful(journal, scope)
    if len(doubtful) != 1:
        raise GuardRefused(
            f"{scope.text} has {len(doubtful)} attempts of which nothing is known; one can be adopted"
        )
    return doubtful[0]


def _has_products(journal: Journal, intent: int) -> bool:
    query = select(products.c.path).join(outputs, outputs.c.id == products.c.output)
    return journal.connection.execute(query.where(outputs.c.intent == intent)).first() is not None
