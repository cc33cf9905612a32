"""Launching: orders become attempts, attempts become results, results become published outputs.

Every effect follows its record, so that a process killed anywhere leaves what `settle` can bring to an end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reconciler.database import SourceUnavailable, State
from reconciler.engine import Accepted, Engine, Sighting, Submission
from reconciler.engines import ENGINES
from reconciler.ledger import Ledger
from reconciler.ordering import Address, OrderWriter, Wish, format_address, list_baselines
from reconciler.orders import Attempt, Order
from reconciler.publishing import PublishingRefused, publish
from reconciler.workspace import Failed, Verified, Workspace
from schemas.repository import Repository

PATIENCE = 10.0
"""Seconds between asking a cancelled job to end and giving it up."""


@dataclass(slots=True)
class Outcome:
    """What came of an apply: units produced, units failed with the reason, units that waited in vain."""

    produced: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0


Report = Callable[[str, Address], None]
"""Called with `produced`, `failed` or `skipped` and the unit."""


@dataclass(slots=True)
class _Making:
    """A unit whose attempts are under way: how many are, and why the latest failed."""

    address: Address | None
    attempts: int
    failure: str | None = None


class Launcher:
    """Drives the engines of a repository's sites for one ledger."""

    def __init__(self, state: State, repository: Repository, ledger: Ledger) -> None:
        self.outcome = Outcome()
        self._state = state
        self._repository = repository
        self._ledger = ledger
        self._workspace = Workspace(state.attempts)
        self._report: Report | None = None
        self._engines: dict[str, Engine] = {}
        self._writer = OrderWriter(state, repository)
        self._flying: dict[int, Attempt] = {}
        self._queues: dict[str, deque[tuple[Attempt, Order]]] = {}
        self._making: dict[int, _Making] = {}
        self._ended: list[tuple[Address, bool]] = []
        self._cancelling = False
        self._pause = 0.0

    def listen(self, report: Report | None) -> None:
        """Names who hears of every unit that ends."""
        self._report = report

    def settle(self) -> None:
        """Brings to an end what an earlier process left: waits for what still runs, and records what ended."""
        for intent in self._ledger.list_publishing():
            self._publish(intent)
        self._flying = {attempt.id: attempt for attempt in self._ledger.list_live()}
        while self._flying:
            before = len(self._flying)
            unknown = self._poll()
            if len(unknown) == len(self._flying):
                break  # nothing can be said of these: they stay in flight
            self._rest(moved=len(self._flying) < before)
        self._flying.clear()
        self._making.clear()
        self._workspace.sweep(sorted(self._ledger.list_ended(self._workspace.names())))

    def launch(self, wishes: Sequence[Wish]) -> None:
        """Makes every unit wished for, as many at a time as the sites have slots.

        On KeyboardInterrupt the running jobs are ended and recorded as cancelled; then it is raised again.
        """
        self._ledger.keep_snapshots(list_baselines(self._repository, wishes))
        wished = {wish.address for wish in wishes}
        behind: dict[Address, list[Wish]] = {}
        ready: deque[Wish] = deque()
        for wish in wishes:
            if wish.upstream is not None and wish.upstream in wished:
                behind.setdefault(wish.upstream, []).append(wish)
            else:
                ready.append(wish)
        try:
            while ready or self._flying or any(self._queues.values()):
                before = len(self._flying)
                self._intend(ready)
                self._submit()
                self._poll()
                moved = bool(self._ended) or len(self._flying) != before
                while self._ended:
                    address, fine = self._ended.pop()
                    following = behind.pop(address, [])
                    if fine:
                        ready.extend(following)
                    else:
                        self._skip(following, behind)
                self._rest(moved=moved)
        except KeyboardInterrupt:
            self._cancel()
            raise

    def _intend(self, ready: deque[Wish]) -> None:
        """Writes intents for as many units as the free slots can begin."""
        orders: list[Order] = []
        coming: dict[str, int] = {}
        for _ in range(len(ready)):
            wish = ready[0]
            site = wish.view.campaign.site
            queue = self._queues.setdefault(site, deque())
            if len(queue) + coming.get(site, 0) >= self._free(site):
                if len(self._repository.sites) == 1 or all(w.view.campaign.site == site for w in ready):
                    break
                ready.rotate(-1)
                continue
            wish = ready.popleft()
            order = self._writer.make_order(wish)
            if not order.jobs:
                self._give_up(wish)
                continue
            orders.append(order)
            coming[site] = coming.get(site, 0) + len(order.jobs)
        if not orders:
            return
        for order, attempts in zip(orders, self._ledger.intend(orders), strict=True):
            address = (order.campaign.name, order.step.name, order.run)
            if not attempts:  # another unit makes the same: once it has, this one is done as well
                self.outcome.skipped += 1
                self._ended.append((address, False))
                self._tell("skipped", address)
            for attempt in attempts:
                self._making.setdefault(attempt.intent, _Making(address, 0)).attempts += 1
                self._queues[order.campaign.site].append((attempt, order))

    def _give_up(self, wish: Wish) -> None:
        """Notes a unit whose input is known to the ledger, but not at this storage: nothing is written of it."""
        reason = f"its input is not in the storage of {wish.view.campaign.site}"
        self.outcome.failed.append((format_address(wish.address), reason))
        self._ended.append((wish.address, False))
        self._tell("failed", wish.address)

    def _submit(self) -> None:
        """Submits from the queues what the slots take."""
        for site, queue in self._queues.items():
            batch = [queue.popleft() for _ in range(min(len(queue), self._free(site)))]
            for attempt, order in batch:
                self._prepare(attempt, order)
                self._flying[attempt.id] = attempt
            answers = self._engine(site).submit([self._submission(attempt) for attempt, _ in batch])
            accepted: dict[int, str] = {}
            for (attempt, _), answer in zip(batch, answers, strict=True):
                if isinstance(answer, Accepted):
                    accepted[attempt.id] = answer.reference
                else:
                    del self._flying[attempt.id]
                    self._fail(attempt, Failed("infrastructure", answer.reason))
            if accepted:
                self._ledger.record_submitted(accepted)

    def _poll(self) -> set[int]:
        """Records the attempts that have ended; returns those of which nothing is known."""
        unknown: set[int] = set()
        groups: dict[str, list[Attempt]] = {}
        for attempt in self._flying.values():
            groups.setdefault(attempt.site, []).append(attempt)
        for site, group in groups.items():
            known = site in self._repository.sites
            seen = self._engine(site).query([self._submission(attempt) for attempt in group]) if known else {}
            for attempt in group:
                sighting = seen.get(attempt.name, Sighting.UNKNOWN)
                if sighting is Sighting.UNKNOWN:
                    unknown.add(attempt.id)
                elif sighting is Sighting.ENDED:
                    del self._flying[attempt.id]
                    self._collect(attempt)
        return unknown

    def _collect(self, attempt: Attempt) -> None:
        """Records what came of an attempt that has ended."""
        match self._workspace.collect(attempt):
            case Verified(made, _) if clash := self._ledger.find_clash(attempt, made):
                reason = f"another job of the unit writes {clash} too; give the input files other names"
                self._fail(attempt, Failed("permanent", reason))
            case Verified(made, events_read):
                complete = self._ledger.record_verified(attempt, made, events_read)
                self._land(attempt.intent)
                if complete:
                    self._publish(attempt.intent)
            case Failed() | None if self._cancelling:
                self._lose(attempt, "cancelled", "interrupted")
            case Failed() as failed:
                self._fail(attempt, failed)
            case None if self._workspace.was_started(attempt):
                self._fail(attempt, Failed("transient", "the job was started and ended without a result"))
            case None:
                self._lose(attempt, "lost", "the job was never started")

    def _lose(self, attempt: Attempt, state: str, reason: str) -> None:
        """Records an attempt that tells nothing of its job, which may be tried again as often as before."""
        self._ledger.record_gone(attempt, state, reason)
        self._land(attempt.intent, reason)

    def _fail(self, attempt: Attempt, failed: Failed) -> None:
        declared = self._repository.campaigns.get(attempt.campaign)
        limit = declared.campaign.limits.max_attempts if declared else 1
        self._ledger.record_failed(attempt, failed.failure, failed.reason, limit)
        self._land(attempt.intent, failed.reason)

    def _publish(self, intent: int) -> None:
        moves = self._ledger.list_moves(intent)
        try:
            publish(moves, self._workspace)
        except PublishingRefused as refused:
            self._ledger.record_refused(intent, str(refused))
            self._end(intent, str(refused))
        else:
            self._ledger.record_produced(intent)
            self._workspace.sweep(sorted({move.attempt for move in moves}))
            self._end(intent)

    def _land(self, intent: int, failure: str | None = None) -> None:
        """Notes the end of one attempt; with the last one a unit that had a failure has failed."""
        making = self._making.setdefault(intent, _Making(None, 1))
        making.attempts -= 1
        making.failure = failure or making.failure
        if making.attempts == 0 and making.failure:
            self._end(intent, making.failure)

    def _end(self, intent: int, failure: str | None = None) -> None:
        making = self._making.pop(intent, None)
        if making is None or making.address is None:
            return
        self._ended.append((making.address, failure is None))
        if failure is None:
            self.outcome.produced += 1
        else:
            self.outcome.failed.append((format_address(making.address), failure))
        self._tell("produced" if failure is None else "failed", making.address)

    def _skip(self, wishes: Sequence[Wish], behind: dict[Address, list[Wish]]) -> None:
        for wish in wishes:
            self.outcome.skipped += 1
            self._tell("skipped", wish.address)
            self._skip(behind.pop(wish.address, []), behind)

    def _tell(self, what: str, address: Address) -> None:
        if self._report is not None:
            self._report(what, address)

    def _cancel(self) -> None:
        """Ends what runs; what had ended by itself in the meantime counts."""
        self._poll()
        self._cancelling = True
        for queue in self._queues.values():
            for attempt, _ in queue:
                self._ledger.record_gone(attempt, "cancelled", "interrupted before it was submitted")
            queue.clear()
        deadline = time.monotonic() + PATIENCE
        while self._flying and time.monotonic() < deadline:
            for site in {attempt.site for attempt in self._flying.values()}:
                here = [
                    self._submission(attempt) for attempt in self._flying.values() if attempt.site == site
                ]
                self._engine(site).cancel(here)
            self._poll()
            self._rest(moved=False)

    def _prepare(self, attempt: Attempt, order: Order) -> None:
        job = next(job for job in order.jobs if job.key == attempt.key)
        self._workspace.prepare(attempt, self._writer.render(order, job))

    def _submission(self, attempt: Attempt) -> Submission:
        return Submission(attempt.name, attempt.nonce, self._workspace.path(attempt.name))

    def _engine(self, site: str) -> Engine:
        if site not in self._engines:
            described = self._repository.sites[site]
            if described.engine not in ENGINES:
                known = ", ".join(ENGINES)
                raise SourceUnavailable(
                    f"nothing can be submitted to {site} yet: its engine is {described.engine}, and there is {known}"
                )
            self._engines[site] = ENGINES[described.engine](described)
        return self._engines[site]

    def _free(self, site: str) -> int:
        return max(
            0, self._engine(site).slots - sum(attempt.site == site for attempt in self._flying.values())
        )

    def _rest(self, *, moved: bool) -> None:
        """Waits before the next poll: shortly while things move, longer while they do not."""
        self._pause = 0.01 if moved else min(0.2, self._pause * 1.5 + 0.01)
        if self._flying:
            time.sleep(self._pause)
