"""Tracking: what engines say of the live attempts becomes what the ledger says, by evidence alone.

Unknown moves nothing. Absence counts when it was told in full, twice, after the time in which a job may be invisible;
and where the attempt's folder can be reached, only once the mark that its job would begin with is taken from it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from reconciler.clock import CLOCK, Clock, format_time
from reconciler.counts import judge_counts, judge_record
from reconciler.delivery import Delivery, Ended
from reconciler.engine import Engine, EngineUnavailable, Observation, Sighting, Ticket
from reconciler.fleet import Fleet
from reconciler.ledger.attempts import AttemptLedger
from reconciler.ledger.database import SourceUnavailable
from reconciler.ledger.pauses import BREAKER, PauseWriter
from reconciler.ledger.units import Ledger
from reconciler.orders import Address, Attempt
from reconciler.workspace import Failed, Verified, Workspace
from renderer.logs import Culprit, find_signature, normalise
from schemas.repository import Repository

IDENTICAL = 5
"""Jobs of a campaign that must have failed in the same way to pause it."""

MEMORY = timedelta(days=7)
"""How long an attempt that was taken for lost may come back."""

_NOTHING = Observation(Sighting.UNKNOWN)

PAUSE, SPREAD = 3600.0, (0.7, 1.3)
"""Seconds that a failed job waits at most before it is tried again, and what that is multiplied by, so that not all come at once."""
LONGEST = int(PAUSE * max(SPREAD))

DOUBTS = 2
"""Complete answers in a row that must lack an attempt before it is taken for gone."""


@dataclass(slots=True)
class Look:
    """What one look found: the attempts that are still live, those of which nothing is known, units that ended."""

    live: list[Attempt] = field(default_factory=list)
    unknown: set[int] = field(default_factory=set)
    ended: list[Ended] = field(default_factory=list)


class Tracker:
    """Follows the live attempts of one ledger."""

    def __init__(
        self,
        repository: Repository,
        ledger: Ledger,
        attempts: AttemptLedger,
        pauses: PauseWriter,
        fleet: Fleet,
        workspace: Workspace,
        clock: Clock = CLOCK,
    ) -> None:
        self._repository = repository
        self._ledger = ledger
        self._attempts = attempts
        self._pauses = pauses
        self._fleet = fleet
        self._workspace = workspace
        self._clock = clock.time
        self._look = Look()
        self._ended: list[Ended] = []
        self.delivery = Delivery(ledger, workspace)
        self.troubles: dict[str, None] = {}
        """What else a person should hear of, in words."""

    def resume(self) -> None:
        """Takes up what an earlier process left half-way: intents to submit, and publishing."""
        self._attempts.doubt_intents()
        for intent in self._ledger.list_publishing():
            self._publish(intent, self._ledger.find_address(intent))

    def look(self, sites: Callable[[str], bool] = lambda _: True) -> Look:
        """One look at every live attempt at the sites wanted, by one bulk query of each engine."""
        self._look = Look()
        groups: dict[str, list[Attempt]] = {}
        for attempt in self._attempts.list_live():
            groups.setdefault(attempt.site, []).append(attempt)
        for site, group in groups.items():
            if not sites(site):
                self._look.live += group
            elif self._fleet.is_resting(site):
                self._look.live += group
                self._look.unknown.update(attempt.id for attempt in group)
            else:
                self._follow(site, group)
        self._look.ended, self._ended = self._ended, []
        return self._look

    def refuse(self, attempt: Attempt, failed: Failed) -> None:
        """Records an attempt that its engine certainly did not take."""
        self._fail(attempt, failed)

    def sweep(self) -> None:
        """Removes the folders that nobody needs any more."""
        self._workspace.sweep(
            self._attempts.list_ended(self._workspace.names()),
            self._attempts.list_ended_batches(self._workspace.batch_names()),
        )

    def ticket(self, attempt: Attempt) -> Ticket:
        """An attempt as engines know it."""
        ticket = attempt.write_ticket(self._workspace.path(attempt.name))
        return replace(ticket, home=self._workspace.batches / attempt.batch)

    def _follow(self, site: str, group: Sequence[Attempt]) -> None:
        """Looks at the attempts of one site; where it does not answer, nothing is said of any."""
        try:
            engine = self._fleet.engine(site)
            group = self._set_apart(group)
            if not group:
                return
            group = self._adopt(engine, group)
            known = [attempt for attempt in group if attempt.state != "uncertain"]
            ending = [self.ticket(attempt) for attempt in known if attempt.cancel]
            if ending:
                self._cancel(site, engine, ending)
            returning = [] if engine.shared else self._list_returning(site)
            asked = [self.ticket(attempt) for attempt in (*known, *returning)]
            seen = engine.query(asked) if asked else {}
        except (EngineUnavailable, SourceUnavailable) as error:
            self._fleet.record_silence(site, str(error))
            self._note_unknown(group, str(error))
            return
        self._fleet.record_answer(site)
        self._judge(engine, group, seen)
        for attempt in returning:
            if seen.get(attempt.name, _NOTHING).sighting is Sighting.ENDED:
                with contextlib.suppress(SourceUnavailable):  # it may still come back in a later turn
                    self._settle(engine, attempt, seen[attempt.name])

    def _cancel(self, site: str, engine: Engine, tickets: Sequence[Ticket]) -> bool:
        """Asks for the end of jobs; a system that refuses is asked how its jobs are all the same."""
        try:
            engine.cancel(tickets)
        except EngineUnavailable as error:
            self.troubles[f"{site} did not end {len(tickets)} jobs as asked: {error}"] = None
            return False
        return True

    def _set_apart(self, group: Sequence[Attempt]) -> list[Attempt]:
        """The group without attempts that another engine took: what this one says of their ids is about other jobs."""
        elsewhere: dict[str, list[Attempt]] = {}
        for attempt in group:
            if (reason := self._fleet.tell_elsewhere(attempt)) is not None:
                elsewhere.setdefault(reason, []).append(attempt)
        for reason, some in elsewhere.items():
            self._look.live += some
            self._look.unknown.update(attempt.id for attempt in some)
            self._attempts.record_elsewhere([attempt.id for attempt in some], reason)
        apart = {attempt.id for some in elsewhere.values() for attempt in some}
        return [attempt for attempt in group if attempt.id not in apart]

    def _list_returning(self, site: str) -> tuple[Attempt, ...]:
        """Attempts that were taken for lost: where no folder is shared, a job may come back all the same."""
        lost = self._attempts.list_lost(site, format_time(self._clock() - MEMORY.total_seconds()))
        return tuple(attempt for attempt in lost if self._fleet.tell_elsewhere(attempt) is None)

    def _adopt(self, engine: Engine, group: Sequence[Attempt]) -> list[Attempt]:
        """The group, in which uncertain attempts that the engine has are known by its ids now.

        Where it cannot tell (accounting may be away while the queue answers), the others are followed all the same.
        """
        doubtful = [attempt for attempt in group if attempt.state == "uncertain"]
        if not doubtful:
            return list(group)
        try:
            found = engine.find([self.ticket(attempt) for attempt in doubtful])
        except EngineUnavailable as error:
            if len(doubtful) == len(group):
                raise
            self._note_unknown(doubtful, str(error))
            return [attempt for attempt in group if attempt.state != "uncertain"]
        adopted = {attempt.id: found[attempt.name] for attempt in doubtful if found.get(attempt.name)}
        twins = [
            replace(self.ticket(attempt), reference=other)
            for attempt in doubtful
            for other in adopted.get(attempt.id, ())[1:]
        ]
        # before the record: whoever is killed in between finds them once more
        if twins and not self._cancel(doubtful[0].site, engine, twins):
            both = [attempt for attempt in doubtful if len(adopted.get(attempt.id, ())) > 1]
            self._note_unknown(both, "the engine has it twice, and does not end one of the two")
            adopted = {number: ids for number, ids in adopted.items() if len(ids) == 1}
            group = [attempt for attempt in group if attempt not in both]
        self._attempts.record_submitted({number: ids[0] for number, ids in adopted.items()})
        return [
            replace(attempt, state="submitted", reference=adopted[attempt.id][0])
            if attempt.id in adopted
            else attempt
            for attempt in group
        ]

    def _judge(self, engine: Engine, group: Sequence[Attempt], seen: Mapping[str, Observation]) -> None:
        running, again, unknown = [], [], []
        for attempt in group:
            absent = attempt.state == "uncertain"  # complete answers did not have its name
            default = Observation(Sighting.ABSENT if absent else Sighting.UNKNOWN)
            observation = seen.get(attempt.name, default)
            try:
                match observation.sighting:
                    case Sighting.UNKNOWN:
                        unknown.append(attempt)
                        continue
                    case Sighting.ENDED:
                        self._settle(engine, attempt, observation)
                        continue
                    case Sighting.ABSENT:
                        self._doubt(engine, attempt, observation)
                        continue
                    case Sighting.RUNNING if attempt.state == "submitted":
                        running.append(attempt.id)
                    case _:
                        pass
            except SourceUnavailable as error:  # its folder does not say, which is no word about the others
                self._note_unknown([attempt], str(error))
                continue
            if attempt.absences or attempt.unknown:
                again.append(attempt.id)
            self._look.live.append(attempt)
        self._attempts.record_running(running)
        self._attempts.record_seen(again)
        self._note_unknown(unknown, "the engine cannot tell")

    def _settle(self, engine: Engine, attempt: Attempt, observation: Observation) -> None:
        """Records what came of an attempt that its engine says has ended; one taken for lost is welcome if it is done."""
        if not engine.shared:
            try:
                engine.fetch(self.ticket(attempt))
            except EngineUnavailable as error:
                self._note_unknown([attempt], str(error))
                return
        if self._collect(attempt) or attempt.state == "lost":
            return
        if attempt.absences + 1 < DOUBTS:
            self._note_absent(attempt)  # a result may still be on its way through the file system
        elif attempt.cancel:
            self._lose(attempt, "cancelled", attempt.cancel)
        elif observation.failure is not None:
            self._fail(
                attempt, Failed(observation.failure, observation.reason or "the engine says it failed")
            )
        elif engine.shared and self._workspace.bury(attempt.name):
            self._fail(attempt, Failed("infrastructure", "the engine says it ended well, but it never began"))
        else:
            self._fail(attempt, Failed("transient", "the job was started and ended without a result"))

    def _doubt(self, engine: Engine, attempt: Attempt, observation: Observation) -> None:
        """Weighs a complete answer without the attempt."""
        if self._collect(attempt):
            return
        began = datetime.strptime(attempt.begun, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        visible = self._clock() - began.timestamp() >= engine.visibility.total_seconds()
        if not visible:
            self._look.live.append(attempt)
            return
        if attempt.absences + 1 < DOUBTS:
            self._note_absent(attempt)
            return
        has_begun = engine.shared and not self._workspace.bury(attempt.name)
        if attempt.cancel:
            self._lose(attempt, "cancelled", attempt.cancel)
        elif has_begun:
            self._fail(attempt, Failed("transient", "the job was started and ended without a result"))
        elif attempt.reference is None:
            self._lose(attempt, "lost", observation.reason or "the job was never started")
        else:
            reason = observation.reason or "the engine took the job, and knows it no more"
            self._attempts.record_lost(
                attempt, reason, max_attempts=self._read_limit(attempt), after=self._choose_time(attempt)
            )
            self._land(attempt, reason)

    def _collect(self, attempt: Attempt) -> bool:
        """Records the result of an attempt; false where it left none."""
        match self._workspace.collect(attempt, self._attempts.list_due(attempt)):
            case Verified() if self._attempts.is_done(attempt.job):
                self._lose(attempt, "discarded", "another attempt of its job was faster")
            case Failed() if attempt.state == "lost":
                pass
            case Verified(made) if clash := self._attempts.find_clash(attempt, made):
                reason = f"another job of the unit writes {clash} too; give the input files other names"
                self._refuse(attempt, Failed("permanent", reason))
            case Verified() as verified if miscount := self._judge_counts(attempt, verified):
                self._refuse(attempt, miscount)
            case Verified(made, events_read, cpu_seconds, record):
                if self._attempts.record_verified(attempt, made, events_read, cpu_seconds, record):
                    self._publish(attempt.intent, attempt.address)
                elif failure := self._attempts.find_failure(attempt.intent):
                    self._land(attempt, failure)
            case Failed() if attempt.cancel:
                self._lose(attempt, "cancelled", attempt.cancel)
            case Failed() as failed:
                self._fail(attempt, failed)
            case None:
                return False
        return True

    def _judge_counts(self, attempt: Attempt, found: Verified) -> Failed | None:
        """Whether a job read what is registered, no more of a run than it has, and kept no more than it read."""
        kept = [(product.path, product.events) for product in found.products]
        wrong = judge_counts("the job", attempt.events, found.events_read, kept)
        if wrong is None:
            before, record = self._attempts.count_read(attempt)
            read = found.events_read if found.events_read is not None else attempt.events
            wrong = judge_record("the unit", record, before + (read or 0))
        return Failed(*wrong) if wrong else None

    def _publish(self, intent: int, address: Address) -> None:
        if ended := self.delivery.deliver(intent, address):
            self._ended.append(ended)

    def _refuse(self, attempt: Attempt, failed: Failed) -> None:
        """Records an attempt that ended well, and whose result cannot be taken: its log has nothing of that."""
        self._fail(attempt, failed, Culprit(normalise(failed.reason), 0, failed.reason))

    def _fail(self, attempt: Attempt, failed: Failed, culprit: Culprit | None = None) -> None:
        culprit = culprit or self._find_culprit(attempt, failed)
        self._attempts.record_failed(
            attempt,
            failed.failure,
            failed.reason,
            max_attempts=self._read_limit(attempt),
            after=self._choose_time(attempt),
            signature=sha256(culprit.signature.encode()).hexdigest(),
        )
        self._trip(attempt, culprit, failed.scope)
        self._land(attempt, failed.reason)

    def _find_culprit(self, attempt: Attempt, failed: Failed) -> Culprit:
        """The line of the attempt's log that tells why it failed; what the failure says, where none does."""
        text, first = self._workspace.read_log(attempt.name)
        declared = self._repository.campaigns.get(attempt.campaign)
        step = declared and next(
            (one for one in declared.campaign.expand() if one.name == attempt.address[1]), None
        )
        found = find_signature(text, step.application if step else None, first=first)
        return found or Culprit(normalise(failed.reason), 0, failed.reason)

    def _trip(self, attempt: Attempt, culprit: Culprit, extent: str | None) -> None:
        """Pauses a campaign in which the same error struck several jobs, and more than came to a good end.

        Where the error is one of all jobs of the step, the first is enough. Counted is from the beginning, or from when
        a person last let the campaign go on.
        """
        scope = f"campaign:{attempt.campaign}"
        step = attempt.address[1] if extent == "step" else None
        signature = sha256(culprit.signature.encode()).hexdigest()
        since = self._pauses.find_resumed(scope, BREAKER) or ""
        failed, verified = self._attempts.count_ended(attempt.campaign, signature, since, step)
        if failed < (IDENTICAL if step is None else 1) or failed <= verified:
            return
        place = f"{culprit.place} of the log of {attempt.name}" if culprit.number else attempt.name
        how = f"{failed} jobs failed in the same way" if step is None else f"all jobs of {step} would fail so"
        self._pauses.pause(scope, BREAKER, f"{how}: {culprit.line.strip()} ({place})", "b2prod")

    def _lose(self, attempt: Attempt, state: str, reason: str) -> None:
        """Records an attempt that tells nothing of its job, which may be tried again as often as before."""
        self._attempts.record_gone(attempt, state, reason)
        self._land(attempt, reason)

    def _land(self, attempt: Attempt, reason: str) -> None:
        if self._attempts.is_resting(attempt.intent):
            self._ended.append(Ended(attempt.address, reason))

    def _read_limit(self, attempt: Attempt) -> int:
        """How often the attempt's job may fail; a campaign that is not declared any more is not tried again."""
        declared = self._repository.campaigns.get(attempt.campaign)
        return declared.campaign.limits.max_attempts if declared else 1

    def _choose_time(self, attempt: Attempt) -> int | None:
        """When a failed job may be tried again: later each time, and at once where jobs run on this machine."""
        if self._fleet.engine(attempt.site).attached:
            return None
        pause = min(PAUSE, 30.0 * 2**attempt.number) * random.uniform(*SPREAD)  # noqa: S311 -- no secret
        return int(self._clock() + pause)

    def _note_absent(self, attempt: Attempt) -> None:
        self._attempts.record_absent([attempt.id])
        self._look.live.append(attempt)

    def _note_unknown(self, group: Sequence[Attempt], reason: str) -> None:
        self._look.live += group
        self._look.unknown.update(attempt.id for attempt in group)
        self._attempts.record_unknown([one.id for one in group if one.unknown is None], reason)
