"""Records in the ledger how attempts end, and publishes a unit when all its jobs are verified."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from hashlib import sha256

from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.alarms import Alarm, Alarms
from reconciler.execution.tracking.job_file_keeper import JobFileKeeper
from reconciler.execution.tracking.publication import EndedUnit, Publisher
from reconciler.execution.tracking.workspace import Failed, Verified, Workspace
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.pauses import PauseWriter
from reconciler.model.counts import judge_counts, judge_record
from reconciler.model.states import AttemptState, FailureClass, PauseKind
from reconciler.model.work_items import Address, Attempt
from reconciler.outside.clock import Clock
from renderer.jobs.logs import Culprit, find_signature, normalise
from schemas.repository import Repository

IDENTICAL = 5
"""Number of jobs of a campaign that must fail in the same way to pause it."""

FRUITLESS = 5
"""Allowed attempts of a job for each allowed failure. An attempt that never began is not a failure, but its number is limited too.

Only those that others of their bundle kept from beginning are not counted: each time, one of these others has come to its end.
"""

PAUSE, SPREAD = 3600.0, (0.7, 1.3)
"""Longest wait in seconds before a failed job is tried again, and the range of its random factor, which spreads the retries."""
LONGEST = int(PAUSE * max(SPREAD))


@dataclass(eq=False, slots=True)
class AttemptRecorder:
    """Records how the attempts of one ledger end, and which units end with them."""

    repository: Repository
    publisher: Publisher
    attempts: AttemptLedger
    pauses: PauseWriter
    site_engines: SiteEngines
    workspace: Workspace
    keeper: JobFileKeeper
    alarms: Alarms
    clock: Clock
    _ended: list[EndedUnit] = field(default_factory=list)

    def take_ended(self) -> list[EndedUnit]:
        """The units that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def collect(self, attempt: Attempt) -> bool:
        """Records the result of an attempt; returns false if it left none. `SourceUnavailable`: its folder cannot be read."""
        match self.workspace.collect(attempt, self.attempts.list_due(attempt)):
            case Verified() if self.attempts.is_done(attempt.job):
                self.lose(attempt, AttemptState.DISCARDED, "another attempt of its job was faster")
            case Failed() if attempt.state == AttemptState.LOST:
                pass
            case Verified(made) if clash := self.attempts.find_clash(attempt, made):
                reason = f"another job of the unit writes {clash} too; give the input files other names"
                self._refuse(attempt, Failed(FailureClass.PERMANENT, reason))
            case Verified() as verified if miscount := self._judge_counts(attempt, verified):
                self._refuse(attempt, miscount)
            case Verified(made, events_read, usage, record):
                kept = self.keeper.keep(attempt.name)  # before anything can remove the folder
                if self.attempts.record_verified(attempt, made, events_read, usage, record, kept):
                    self.publish(attempt.intent, attempt.address)
                elif failure := self.attempts.find_failure(attempt.intent):
                    self._end_unit(attempt, failure)
            case Failed() if attempt.cancel:
                self.lose(attempt, AttemptState.CANCELLED, attempt.cancel)
            case Failed() as failed:
                self.fail(attempt, failed)
            case None:
                return False
        return True

    def _judge_counts(self, attempt: Attempt, found: Verified) -> Failed | None:
        """The failure of a job that read other events than are registered, more than its run has, or kept more than it read."""
        kept = [(product.path, product.events) for product in found.products]
        wrong = judge_counts("the job", attempt.events, found.events_read, kept)
        if wrong is None:
            before, record = self.attempts.tallies.count_read(attempt)
            read = found.events_read if found.events_read is not None else attempt.events
            wrong = judge_record("the unit", record, before + (read or 0))
        return Failed(*wrong) if wrong else None

    def publish(self, intent: int, address: Address) -> None:
        """Publishes a unit whose jobs are all verified."""
        if ended := self.publisher.publish_unit(intent, address):
            self._ended.append(ended)
            if ended.failure is not None:
                self._doubt_refusals(address)

    def _doubt_refusals(self, address: Address) -> None:
        """Raises an alarm if many units of a campaign are refused at their final places."""
        campaign = address[0]
        scope = f"campaign:{campaign}"
        since = self.pauses.find_resumed(scope, PauseKind.ALARM) or ""
        refused, produced = self.attempts.tallies.list_refused(campaign, since)
        total = len(refused) + produced
        what = "units that were made are refused when published"
        event = Alarm(scope, "unit", what, refused, refused, total)
        declared = self.repository.campaigns.get(campaign)
        self.alarms.doubt(event, declared.campaign.site if declared else "")

    def _refuse(self, attempt: Attempt, failed: Failed) -> None:
        """Records an attempt that ended well but whose result cannot be used. Its log does not say why."""
        self.fail(attempt, failed, _blame(failed))

    def fail(self, attempt: Attempt, failed: Failed, culprit: Culprit | None = None) -> None:
        """Records a failed attempt. It counts as a failure of its job, and may pause its campaign."""
        culprit = culprit or self._find_culprit(attempt, failed)
        signature = sha256(culprit.signature.encode()).hexdigest()
        limit, after = self._read_limit(attempt), self._choose_time(attempt)
        self.attempts.record_failed(
            attempt, failed.failure, failed.reason, max_attempts=limit, after=after, signature=signature
        )
        self._trip(attempt, culprit, signature, failed.scope)
        self._end_unit(attempt, failed.reason)

    def _find_culprit(self, attempt: Attempt, failed: Failed) -> Culprit:
        """The line of the attempt's log that says why it failed; if there is none, the reason of the failure."""
        text, first = self.workspace.read_log(attempt.name)
        declared = self.repository.campaigns.get(attempt.campaign)
        steps = declared.campaign.expand() if declared else ()
        application = next((one.application for one in steps if one.name == attempt.address[1]), None)
        return find_signature(text, application, first=first) or _blame(failed)

    def _trip(self, attempt: Attempt, culprit: Culprit, signature: str, extent: str | None) -> None:
        """Pauses a campaign if several of its jobs failed in the same way, and these are more than the verified jobs.

        If all jobs of the step would fail in this way, one failure is enough. Attempts count from the beginning, or from the
        time at which a person last resumed the campaign.
        """
        scope = f"campaign:{attempt.campaign}"
        step = attempt.address[1] if extent == "step" else None
        since = self.pauses.find_resumed(scope, PauseKind.BREAKER) or ""
        failed, verified = self.attempts.tallies.count_ended(attempt.campaign, signature, since, step)
        if failed < (IDENTICAL if step is None else 1) or failed <= verified:
            return
        place = f"{culprit.place} of the log of {attempt.name}" if culprit.number else attempt.name
        how = f"{failed} jobs failed in the same way" if step is None else f"all jobs of {step} would fail so"
        self.pauses.pause(scope, PauseKind.BREAKER, f"{how}: {culprit.line.strip()} ({place})", "b2prod")

    def lose(self, attempt: Attempt, state: AttemptState, reason: str) -> None:
        """Records an attempt that is not a failure of its job. The job's number of lost attempts is limited all the same."""
        most = FRUITLESS * self._read_limit(attempt) if state == AttemptState.LOST else None
        self.attempts.record_gone(attempt, state, reason, most=most)
        self._end_unit(attempt, reason)

    def lose_job(self, attempt: Attempt, reason: str) -> None:
        """Records an attempt as lost: the engine took its job and does not know it any more. It may come back."""
        limit, after = self._read_limit(attempt), self._choose_time(attempt)
        self.attempts.record_lost(attempt, reason, max_attempts=limit, after=after)
        self._end_unit(attempt, reason)

    def _end_unit(self, attempt: Attempt, reason: str) -> None:
        if self.attempts.is_resting(attempt.intent):
            self._ended.append(EndedUnit(attempt.address, reason))

    def _read_limit(self, attempt: Attempt) -> int:
        """How often the attempt's job may fail; 1 if its campaign is not declared any more."""
        declared = self.repository.campaigns.get(attempt.campaign)
        return declared.campaign.limits.max_attempts if declared else 1

    def _choose_time(self, attempt: Attempt) -> int | None:
        """When a failed job may be tried again, in seconds since 1970; the wait grows. None (at once) for jobs of this machine."""
        if self.site_engines.engine(attempt.site).attached:
            return None
        failures = min(attempt.failures, 12)
        pause = min(PAUSE, 60.0 * 2**failures) * random.uniform(*SPREAD)  # noqa: S311 -- no secret
        return int(self.clock.time() + pause)


def _blame(failed: Failed) -> Culprit:
    """The reason of a failure, used instead of a line of a log."""
    return Culprit(normalise(failed.reason), 0, failed.reason)
