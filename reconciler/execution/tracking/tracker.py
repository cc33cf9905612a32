"""Tracking: records in the ledger what engines say about live attempts, and only what is proved.

An unknown state changes nothing. An attempt counts as absent when two complete answers lack it, after the time for which a
job may be invisible. If its folder can be reached, it must also be certain that its job can no longer begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from reconciler.execution.sites.site_engines import SiteEngines, contain
from reconciler.execution.tracking.alarms import Alarm, Alarms
from reconciler.execution.tracking.attempt_recorder import AttemptRecorder
from reconciler.execution.tracking.publication import EndedUnit
from reconciler.execution.tracking.shared_jobs import SharedJobs
from reconciler.execution.tracking.workspace import Failed, Workspace
from reconciler.ledger.writing.attempts import SPARED, AttemptLedger
from reconciler.ledger.writing.units import Ledger
from reconciler.model.engine import Engine, EngineUnavailable, JobHandle, Observation, Sighting
from reconciler.model.states import AttemptState, FailureClass
from reconciler.model.work_items import Attempt, format_address
from reconciler.outside.clock import Ages, Clock, format_time
from reconciler.outside.errors import SourceUnavailable

MEMORY = timedelta(days=7)
"""How long an attempt that was recorded as lost may come back."""

_NOTHING = Observation(Sighting.UNKNOWN)

WITHOUT_RESULT = "the job was started and ended without a result"

DOUBTS = 2
"""How many complete answers in a row must lack an attempt before it is lost."""


@dataclass(slots=True)
class Poll:
    """The result of a poll: attempts that are still `live`, the ids of those that are `unknown`, units that `ended`."""

    live: list[Attempt] = field(default_factory=list)
    unknown: set[int] = field(default_factory=set)
    ended: list[EndedUnit] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Tracker:
    """Follows the live attempts of one ledger. `troubles` are other messages for a person, in order."""

    ledger: Ledger
    attempts: AttemptLedger
    site_engines: SiteEngines
    workspace: Workspace
    recorder: AttemptRecorder
    alarms: Alarms
    clock: Clock
    ages: Ages
    troubles: dict[str, None] = field(default_factory=dict)
    _poll: Poll = field(default_factory=Poll)
    _shared: SharedJobs = field(init=False)

    def __post_init__(self) -> None:
        self._shared = SharedJobs(self.workspace)

    def resume(self) -> None:
        """Continues what an earlier process did not finish: submissions and publishing."""
        self.attempts.doubt_intents()
        for intent in self.ledger.list_publishing():
            address = self.ledger.find_address(intent)
            try:
                self.recorder.publish(intent, address)
            except Exception as error:  # noqa: BLE001 -- as below
                self.troubles[f"{format_address(address)} could not be published: {contain(error)}"] = None

    def poll(self, sites: Callable[[str], bool] = lambda _: True) -> Poll:
        """Asks each engine once about all its live attempts, at the sites for which `sites` is true. Returns what was found."""
        self._poll = Poll()
        groups: dict[str, list[Attempt]] = {}
        for attempt in self.attempts.list_live():
            groups.setdefault(attempt.site, []).append(attempt)
        for site in self.attempts.tallies.list_sites_of_lost(self._since()):
            groups.setdefault(site, [])
        for site, group in groups.items():
            if not sites(site):
                self._poll.live += group
            elif self.site_engines.is_resting(site):
                self._leave(self._take_results(group))
            else:
                try:
                    self._follow(site, group)
                except Exception as error:  # noqa: BLE001 -- an unexpected error at one site must not stop the others
                    self._break_off(site, group, contain(error))
        self._poll.ended = self.recorder.take_ended()
        return self._poll

    def _break_off(self, site: str, group: Sequence[Attempt], reason: str) -> None:
        """After an unexpected error at a site: records the attempts that were not judged yet as unknown."""
        self.site_engines.record_silence(site, reason)
        self.troubles[f"{site}: {reason}"] = None
        seen = {attempt.id for attempt in self._poll.live}
        still = {attempt.id for attempt in self.attempts.list_live()}
        self._note_unknown([one for one in group if one.id in still - seen], reason)

    def sweep(self) -> None:
        """Removes folders that nobody needs any more; those of failed attempts, and kept files, after some days."""
        names = self.workspace.names()
        leftovers, now = self.attempts.leftovers, self.clock.time()
        expired = {
            name
            for name, (site, ended) in leftovers.list_failed(names).items()
            if ended < format_time(now - 86400 * self.site_engines.find_kept_days(site))
        }
        batches = leftovers.list_ended_batches(self.workspace.batch_names())
        self.workspace.sweep(leftovers.list_ended(names) | expired, batches)
        self.recorder.keeper.sweep()

    def _follow(self, site: str, group: Sequence[Attempt]) -> None:
        """Follows the attempts of one site. If the site does not answer, all of them are unknown."""
        try:
            engine = self.site_engines.engine(site)
            group = self._set_apart(group)
            # jobs outside this machine may come back after they were lost
            lost = () if engine.attached else self.attempts.list_lost(site, self._since())
            returning = [one for one in lost if self.site_engines.tell_elsewhere(one) is None]
            if not group and not returning:
                return
            group = self._adopt(engine, group)
            self._shared = SharedJobs(self.workspace, group)
            group = [attempt for attempt in group if not self._withdraw(attempt)]
            known = [attempt for attempt in group if attempt.state != AttemptState.UNCERTAIN]
            ended = [one for one in known if one.cancel and not self._shared.goes_on(one)]
            if ended:
                self._cancel(site, engine, [self.workspace.make_handle(attempt) for attempt in ended])
            asked = [self.workspace.make_handle(attempt) for attempt in (*known, *returning)]
            seen = engine.query(asked) if asked else {}
        except (EngineUnavailable, SourceUnavailable) as error:
            self.site_engines.record_silence(site, str(error), getattr(error, "pause", None))
            self._note_unknown(self._take_results(group), str(error))
            return
        self.site_engines.record_answer(site)
        self._judge(engine, group, seen)
        for attempt in returning:
            with contextlib.suppress(SourceUnavailable):  # it may still come back in a later turn
                self._take_back(engine, attempt, seen.get(attempt.name, _NOTHING))

    def _take_back(self, engine: Engine, attempt: Attempt, observation: Observation) -> None:
        """Makes a lost attempt live again if its engine knows it again; if another attempt replaced it, ends its job."""
        if observation.sighting is Sighting.ENDED and self.attempts.is_awaited(attempt, alone=False):
            self._settle(engine, attempt, observation)
        elif observation.sighting in (Sighting.PENDING, Sighting.RUNNING):
            begins = not engine.shared or self.workspace.was_started(attempt.name)
            if begins and self.attempts.is_awaited(attempt, alone=True):
                self.attempts.record_returned(attempt)
                self._poll.live.append(replace(attempt, state=AttemptState.RUNNING))
            elif attempt.bundle > 1:  # its job may go on for others
                self.workspace.ask_end(attempt.name)
            else:  # also if the job can no longer begin
                self._cancel(attempt.site, engine, [self.workspace.make_handle(attempt)])

    def _withdraw(self, attempt: Attempt) -> bool:
        """Ends an attempt, as asked, whose job goes on for others. Returns true if it has ended, as it cannot begin any more."""
        if attempt.cancel is None or not self._shared.withdraw(attempt):
            return False
        self.recorder.lose(attempt, AttemptState.CANCELLED, attempt.cancel)
        return True

    def _cancel(self, site: str, engine: Engine, handles: Sequence[JobHandle]) -> bool:
        """Asks for the end of jobs; returns false if the engine refuses, which does not stop the poll."""
        try:
            engine.cancel(handles)
        except EngineUnavailable as error:
            self.troubles[f"{site} did not end {len(handles)} jobs as asked: {error}"] = None
            return False
        return True

    def _set_apart(self, group: Sequence[Attempt]) -> list[Attempt]:
        """The group without attempts that another engine took, because their ids mean other jobs here."""
        elsewhere: dict[str, list[Attempt]] = {}
        for attempt in group:
            if (reason := self.site_engines.tell_elsewhere(attempt)) is not None:
                elsewhere.setdefault(reason, []).append(attempt)
        for reason, some in elsewhere.items():
            left = self._leave(self._take_results(some))
            self.attempts.record_elsewhere([attempt.id for attempt in left], reason)
        return [attempt for attempt in group if self.site_engines.tell_elsewhere(attempt) is None]

    def _since(self) -> str:
        """The earliest time of loss for which an attempt may still come back."""
        return format_time(self.clock.time() - MEMORY.total_seconds())

    def _adopt(self, engine: Engine, group: Sequence[Attempt]) -> list[Attempt]:
        """The group, where uncertain attempts that the engine has become submitted ones, with its ids.

        If the engine cannot find them (its accounting may be down while the queue answers), the other attempts are still followed.
        """
        doubtful = [attempt for attempt in group if attempt.state == AttemptState.UNCERTAIN]
        if not doubtful:
            return list(group)
        try:
            found = engine.find([self.workspace.make_handle(attempt) for attempt in doubtful])
        except EngineUnavailable as error:
            if len(doubtful) == len(group):
                raise
            self._note_unknown(doubtful, str(error))
            return [attempt for attempt in group if attempt.state != AttemptState.UNCERTAIN]
        adopted = {attempt.id: found[attempt.name] for attempt in doubtful if found.get(attempt.name)}
        twins = [
            replace(self.workspace.make_handle(attempt), reference=other)
            for attempt in doubtful
            for other in adopted.get(attempt.id, ())[1:]
        ]
        # before the record: a process that is killed in between finds them again
        if twins and not self._cancel(doubtful[0].site, engine, twins):
            both = [attempt for attempt in doubtful if len(adopted.get(attempt.id, ())) > 1]
            self._note_unknown(both, "the engine has it twice, and does not end one of the two")
            adopted = {number: ids for number, ids in adopted.items() if len(ids) == 1}
            group = [attempt for attempt in group if attempt not in both]
        self.attempts.record_submitted({number: ids[0] for number, ids in adopted.items()})
        return [
            replace(attempt, state=AttemptState.SUBMITTED, reference=adopted[attempt.id][0])
            if attempt.id in adopted
            else attempt
            for attempt in group
        ]

    def _judge(self, engine: Engine, group: Sequence[Attempt], seen: Mapping[str, Observation]) -> None:
        doubted = not engine.attached and self._doubt_losses(engine, group, seen)
        running, again, unknown = [], [], []
        for attempt in group:
            absent = attempt.state == AttemptState.UNCERTAIN  # `find` gave a complete answer without its name
            default = Observation(Sighting.ABSENT if absent else Sighting.UNKNOWN)
            observation = seen.get(attempt.name, default)
            try:
                if observation.sighting is Sighting.UNKNOWN:
                    unknown.append(attempt)
                elif observation.sighting is Sighting.ENDED:
                    self._settle(engine, attempt, observation)
                elif observation.sighting is not Sighting.ABSENT:
                    if attempt.bundle > 1 and self._take_result(attempt):
                        continue
                    if observation.sighting is Sighting.RUNNING and self._shared.begins(attempt):
                        running.append(attempt.id)
                    if attempt.absences or attempt.unknown:
                        again.append(attempt.id)
                    self._poll.live.append(attempt)
                elif doubted and self._is_missed(engine, attempt):
                    self._keep_missed(attempt)
                else:
                    self._doubt(engine, attempt, observation)
            except SourceUnavailable as error:  # its folder cannot be read; the others are still judged
                self._note_unknown([attempt], str(error))
            except Exception as error:  # noqa: BLE001 -- an unexpected error must not stop the others either
                self._note_unknown([attempt], self._doubt_result(attempt, error))
        self.attempts.record_running(running)
        self.attempts.record_seen(again)
        self._note_unknown(self._take_results(unknown), "the engine cannot tell")

    def _take_results(self, group: Sequence[Attempt]) -> list[Attempt]:
        """The attempts that left no result. Results of the others are recorded, without asking the engine."""
        return [attempt for attempt in group if not self._take_result(attempt)]

    def _take_result(self, attempt: Attempt) -> bool:
        try:
            return self.workspace.has_result(attempt.name) and self.recorder.collect(attempt)
        except SourceUnavailable:  # its folder cannot be read
            return False
        except Exception as error:  # noqa: BLE001 -- as above
            self._doubt_result(attempt, error)
            return False

    def _doubt_result(self, attempt: Attempt, error: Exception) -> str:
        self.troubles[f"{attempt.name} could not be judged: {contain(error)}"] = None
        return contain(error)

    def _settle(self, engine: Engine, attempt: Attempt, observation: Observation) -> None:
        """Records the result of an attempt that has ended, as its engine says. A lost attempt counts only if it left a result."""
        if not engine.shared:
            try:
                engine.fetch(self.workspace.make_handle(attempt))
            except EngineUnavailable as error:
                self._note_unknown([attempt], str(error))
                return
        if self.recorder.collect(attempt) or attempt.state == AttemptState.LOST:
            return
        late = observation.failure is None and not self._is_missed(engine, attempt)
        if attempt.absences + 1 < DOUBTS or late or self._shared.follows(attempt):
            self._note_absent(attempt)  # a result may still be on its way through the file system
        elif attempt.cancel:
            self.recorder.lose(attempt, AttemptState.CANCELLED, attempt.cancel)
        elif self._shared.spares(attempt):
            self._spare(attempt, observation.reason)
        elif observation.failure is not None:
            self._fail(attempt, *_judge_failure(attempt, observation.failure, observation.reason))
        elif engine.shared and self.workspace.bury(attempt.name):
            reason = "the engine says it ended well, but it never began"
            self._fail(attempt, FailureClass.INFRASTRUCTURE, reason)
        else:
            self._fail(attempt, FailureClass.TRANSIENT, WITHOUT_RESULT)

    def _spare(self, attempt: Attempt, reason: str | None) -> None:
        """Records an attempt whose job ended before its turn came: no failure of its own, however often it happens."""
        told = f"{SPARED}: {reason or 'the engine does not say why'}"
        self.recorder.lose(attempt, AttemptState.LOST, told)

    def _fail(self, attempt: Attempt, failure: FailureClass, reason: str) -> None:
        self.recorder.fail(attempt, Failed(failure, reason))

    def _doubt(self, engine: Engine, attempt: Attempt, observation: Observation) -> None:
        """Judges an attempt that a complete answer lacks."""
        if self.recorder.collect(attempt):
            return
        if self.ages.tell(attempt.begun) < self.site_engines.find_visibility(attempt.site):
            self._poll.live.append(attempt)
            return
        if not self._is_missed(engine, attempt) or self._shared.follows(attempt):
            self._note_absent(attempt)
            return
        has_begun = engine.shared and not self.workspace.bury(attempt.name)
        if attempt.cancel:
            self.recorder.lose(attempt, AttemptState.CANCELLED, attempt.cancel)
        elif self._shared.spares(attempt):
            self._spare(attempt, observation.reason)
        elif has_begun and (attempt.reference is None or engine.attached):
            self._fail(attempt, FailureClass.TRANSIENT, WITHOUT_RESULT)
        elif has_begun:
            reason = "the job was started and left no result, and its engine does not know it any more"
            self.recorder.lose_job(attempt, reason)
        elif attempt.reference is None:
            self.recorder.lose(attempt, AttemptState.LOST, observation.reason or "the job was never started")
        else:
            reason = observation.reason or "the engine took the job, and does not know it any more"
            self.recorder.lose_job(attempt, reason)

    def _is_missed(self, engine: Engine, attempt: Attempt) -> bool:
        """Whether an attempt was absent for so long, with this poll, that neither its job nor its result can still come."""
        if attempt.absences + 1 < DOUBTS:
            return False
        if engine.attached or attempt.missed is None:
            return True
        return self.ages.tell(attempt.missed) >= self.site_engines.find_visibility(attempt.site)

    def _doubt_losses(
        self, engine: Engine, group: Sequence[Attempt], seen: Mapping[str, Observation]
    ) -> bool:
        """Whether so many attempts of a site are missing at once that the engine's complete answer is probably wrong."""
        known = [attempt for attempt in group if attempt.reference is not None and not attempt.cancel]
        if not known:
            return False
        sightings = {one.name: seen.get(one.name, _NOTHING).sighting for one in known}
        lost = (Sighting.ABSENT, Sighting.UNKNOWN)
        silent = [one for one in known if sightings[one.name] in lost]
        silent = [one for one in silent if not self.workspace.has_result(one.name)]
        absent = [one for one in silent if sightings[one.name] is Sighting.ABSENT]
        missed = [one.name for one in absent if self._is_missed(engine, one)]
        site, what = known[0].site, "live jobs are unknown to their engine"
        event = Alarm(f"site:{site}", "job", what, missed, [one.name for one in silent], len(known))
        return self.alarms.doubt(event, site)

    def _keep_missed(self, attempt: Attempt) -> None:
        """Leaves a missing attempt unknown until a person has decided. A result of it is recorded."""
        if not self._take_result(attempt):
            reason = "its engine does not know many of its jobs, and a person has to decide"
            self._note_unknown([attempt], reason)

    def _note_absent(self, attempt: Attempt) -> None:
        self.attempts.record_absent([attempt.id])
        self._poll.live.append(attempt)

    def _leave(self, group: Sequence[Attempt]) -> Sequence[Attempt]:
        """Keeps attempts live and unknown in this poll; returns them."""
        self._poll.live += group
        self._poll.unknown.update(attempt.id for attempt in group)
        return group

    def _note_unknown(self, group: Sequence[Attempt], reason: str) -> None:
        self._leave(group)
        self.attempts.record_unknown([one.id for one in group if one.unknown is None], reason)


def _judge_failure(attempt: Attempt, failure: FailureClass, reason: str | None) -> tuple[FailureClass, str]:
    """The class and the reason of a failure that an engine tells of. With all of the site's memory it may not fail again, nor alone."""
    told = reason or "the engine says it failed"
    if failure is FailureClass.PERMANENT and attempt.bundle > 1:
        return FailureClass.TRANSIENT, f"{told}; {attempt.bundle} shared the job: it is tried again alone"
    if attempt.memory is None or failure is not FailureClass.PERMANENT:
        return failure, told
    again = "what is tried again asks for all that the site gives"
    return (
        FailureClass.TRANSIENT,
        f"{told}; it had asked for {attempt.memory} MB, as earlier jobs took: {again}",
    )
