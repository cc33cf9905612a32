"""Submission: gives attempts to their engine as a batch, and records the engine's answers in the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.datasets.places import Places
from reconciler.execution.launch.preparation import WorkPreparation
from reconciler.execution.sites.queues import Queues
from reconciler.execution.sites.site_engines import SiteEngines, contain
from reconciler.execution.tracking.attempt_recorder import AttemptRecorder
from reconciler.execution.tracking.workspace import Failed, Workspace
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.engine import Accepted, Answer, Batch, Deferred, Refused, Uncertain
from reconciler.model.work_items import Attempt, WorkItem
from reconciler.outside.errors import SourceUnavailable

Submission = tuple[Attempt, WorkItem]
"""An attempt that was begun, and the work item of its job."""


class UnwritableInput(Exception):
    """The files that a job needs cannot be made because of its campaign; the message says why."""


@dataclass(eq=False, frozen=True, slots=True)
class Submitter:
    """Submits batches for one ledger."""

    writer: Writer
    places: Places
    attempts: AttemptLedger
    site_engines: SiteEngines
    workspace: Workspace
    recorder: AttemptRecorder
    queues: Queues
    preparation: WorkPreparation

    def prepare(self, site: str, made: Sequence[Submission]) -> Batch:
        """Writes the folders of the batch and of its attempts, with all that the jobs need; returns the batch.

        Raises:
            SourceUnavailable: the folders cannot be written; nothing was submitted.
            UnwritableInput: the files that a job needs cannot be made; nothing was submitted.
        """
        name = made[0][0].batch
        handles = tuple(self.workspace.make_handle(attempt) for attempt, _ in made)
        minutes = self.preparation.choose_minutes(site, made)
        batch = Batch(name, self.workspace.batches / name, handles, made[0][0].memory, minutes)
        for attempt, item in made:
            try:
                files = self.preparation.render(item)
            except SourceUnavailable as error:
                raise UnwritableInput(str(error)) from error
            except Exception as error:
                raise UnwritableInput(contain(error)) from error
            self.workspace.prepare(attempt, files)
        if not self.site_engines.engine(site).attached:
            self.workspace.prepare_batch(batch)
        return batch

    def submit(self, site: str, batch: Batch, made: Sequence[Submission]) -> tuple[int, list[Submission]]:
        """Submits a batch and records the answers. Returns the number of accepted attempts, and the deferred submissions."""
        engine = self.site_engines.engine(site)
        self.writer.prolong()
        self.places.mark_state()
        answers = [
            self._bury(attempt, answer) if engine.shared and isinstance(answer, Deferred) else answer
            for (attempt, _), answer in zip(made, engine.submit(batch), strict=True)
        ]
        self._record(site, made, answers)
        left = [one for one, answer in zip(made, answers, strict=True) if isinstance(answer, Deferred)]
        return sum(isinstance(answer, Accepted) for answer in answers), left

    def _record(self, site: str, made: Sequence[Submission], answers: Sequence[Answer]) -> None:
        accepted: dict[int, str] = {}
        doubtful: defaultdict[Uncertain, list[int]] = defaultdict(list)
        deferred: defaultdict[str, list[int]] = defaultdict(list)
        for (attempt, _), answer in zip(made, answers, strict=True):
            match answer:
                case Accepted(reference):
                    accepted[attempt.id] = reference
                case Uncertain() as doubt:
                    doubtful[doubt].append(attempt.id)
                case Deferred(reason):
                    deferred[reason].append(attempt.id)
                case Refused(reason, failure):
                    self.recorder.fail(attempt, Failed(failure, reason))
        self.attempts.record_submitted(accepted)
        for reason, numbers in deferred.items():
            self.attempts.record_deferred(numbers, reason)
        if full := [answer for answer in answers if isinstance(answer, Deferred)]:
            self.queues.record_deferred(site, full)
        elif accepted:
            self.queues.record_taken(site)
        for doubt, numbers in doubtful.items():
            self.attempts.record_uncertain(numbers, doubt.reason)
            if doubt.busy:
                self.queues.record_full(site, doubt.reason, doubt.pause or 0.0)
            else:
                self.site_engines.record_silence(site, doubt.reason)

    def _bury(self, attempt: Attempt, answer: Deferred) -> Answer:
        """The answer if the attempt can no longer begin. If it began (the command timed out, but submitted it): uncertain."""
        try:
            if self.workspace.bury(attempt.name):
                return answer
        except SourceUnavailable:
            pass
        return Uncertain(answer.reason, busy=True, pause=answer.pause)
