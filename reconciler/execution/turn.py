"""A turn: work items become attempts, attempts are submitted in batches, and their results are published.

Each action is recorded in the ledger before it is done. So `Tracker` can finish what a killed process left.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from signal import SIGINT

from reconciler.datasets.places import Places
from reconciler.execution.canaries import CanaryJudge
from reconciler.execution.launch.admission import (
    FirstUnits,
    check_inputs,
    choose_canaries,
    choose_work,
    limit_work,
    read_traffic,
    tell_pause,
)
from reconciler.execution.launch.capacity import Capacity
from reconciler.execution.launch.claimed_work import ClaimedWork
from reconciler.execution.launch.preparation import WorkPreparation, list_baselines
from reconciler.execution.launch.staging import Stager
from reconciler.execution.launch.submission import Submission, Submitter, UnwritableInput
from reconciler.execution.outcome import Outcome
from reconciler.execution.sites.queues import Queues
from reconciler.execution.sites.readiness import Readiness
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.alarms import Alarms
from reconciler.execution.tracking.attempt_recorder import AttemptRecorder
from reconciler.execution.tracking.job_file_keeper import JobFileKeeper
from reconciler.execution.tracking.orphan_jobs import end_orphan_jobs
from reconciler.execution.tracking.publication import EndedUnit, Publisher
from reconciler.execution.tracking.stopped_jobs import end_stopped_jobs
from reconciler.execution.tracking.tracker import Poll, Tracker
from reconciler.execution.tracking.workspace import Failed, Workspace
from reconciler.execution.turn_options import PLAIN, TurnOptions
from reconciler.ledger.store.database import State
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.pause_orders import PauseOrders
from reconciler.ledger.writing.pauses import Pause, PauseWriter, find_pause
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.model.states import FailureClass
from reconciler.model.work_items import Address, Attempt, WorkItem, format_address
from reconciler.outside.clock import Ages
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.signals import find_number
from reconciler.planning.views import View
from schemas.policy.site import Site
from schemas.repository import Repository

PATIENCE = 10.0
"""Seconds that a turn waits for cancelled jobs to end."""

ROUND = 1000
"""Units for which intents are written in one transaction."""

POLL = 5.0
"""Seconds between two polls of a site whose jobs run elsewhere, while a turn waits for it."""


Report = Callable[[str, Address], None]
"""Called with `produced`, `failed` or `skipped`, and with the unit."""

Approve = Callable[[], Mapping[str, str]]
"""Returns campaign → digest of its approvals, or raises `GuardRefused`."""


class Launcher:
    """Runs turns for one ledger. It launches what `repository` declares, at `sites`: those that a launch may use."""

    def __init__(
        self,
        state: State,
        repository: Repository,
        sites: Mapping[str, Site],
        writer: Writer,
        options: TurnOptions = PLAIN,
    ) -> None:
        clock = writer.clock
        self.ledger, attempts, pauses = Ledger(writer), AttemptLedger(writer), PauseWriter(writer)
        engines, workspace = SiteEngines(sites, writer), Workspace(state.attempts, state.batches)
        self.alarms, self.tallies = Alarms(pauses, engines, clock), attempts.tallies
        self.places, self._stops = Places(state, writer), PauseOrders(state)
        self.outcome, self.sites, self.options = Outcome(), sites, options
        self._attempts, self._pauses, self._engines, self._workspace = attempts, pauses, engines, workspace
        self._publisher = publisher = Publisher(self.ledger, workspace, self.places)
        keeper = JobFileKeeper(state, workspace, attempts.leftovers, engines, clock)
        self._recorder = recorder = AttemptRecorder(
            repository, publisher, attempts, pauses, engines, workspace, keeper, self.alarms, clock
        )
        self._tracker = Tracker(
            self.ledger, attempts, engines, workspace, recorder, self.alarms, clock, Ages(clock)
        )
        self._queues = Queues(engines, pauses, clock.time)
        self._capacity = Capacity(engines, self._queues, self._publisher, repository)
        # a job is prepared for its site as `sites` describes it, not as the repository does
        self._preparation = WorkPreparation(state, replace(repository, sites=sites))
        self._submitter = Submitter(
            writer, self.places, attempts, engines, workspace, recorder, self._queues, self._preparation
        )
        self._readiness = Readiness(state, sites, engines, pauses, clock.time)
        self._stager = Stager(sites, writer)
        self._canaries = CanaryJudge(state, repository, writer, options)
        self._clock, self.repository, self.writer = clock, repository, writer
        self._report: Report = lambda _what, _address: None
        self._first_units = FirstUnits({})
        self._claimed = ClaimedWork({name: str(state.storage(site.storage)) for name, site in sites.items()})
        self._ready: dict[str, deque[WorkItem]] = {}  # by site
        self._behind: dict[Address, list[WorkItem]] = {}  # by the unit whose output they read
        self._failing: dict[Address, EndedUnit] = {}
        self._done: set[Address] = set()
        self._jobs: dict[str, deque[WorkItem]] = {}  # by site; each item has an intent and one job
        self._polled: dict[str, float] = {}
        self._begun: set[Address] = set()
        self._pause = 0.0

    def listen(self, report: Report | None) -> None:
        """Sets the function that is told of every unit that ends; None changes nothing."""
        self._report = report or self._report

    def settle(self) -> None:
        """Finishes what an earlier process left: records which jobs have ended, and waits for the jobs of this machine."""
        for file, order in self._stops.read():
            if order.since:  # it could be read
                self._pauses.pause(order.scope, order.kind, order.reason, order.who)
                file.unlink(missing_ok=True)
        self._tracker.resume()
        end_stopped_jobs(self.repository, self._attempts)
        while True:
            poll = self._poll()
            waited = self._list_waited(poll)
            if not waited or {one.id for one in waited} <= poll.unknown or self.options.bound is not None:
                break
            self._rest(moved=bool(poll.ended))
        end_orphan_jobs(self.writer, self._engines, self._workspace, self._attempts.leftovers)
        self._tracker.sweep()

    def admit(self, views: Sequence[View], items: Sequence[WorkItem]) -> list[WorkItem]:
        """The items that may begin now. The others are held back by pauses, canaries, limits, recent failures or files on tape."""
        for site in {item.campaign.site for item in items}:
            self._readiness.allow(site, self._capacity.live[site])
        with self.writer.reading() as connection:
            traffic = read_traffic(connection, int(self._clock.time()))
            canaries = choose_canaries(connection, views, items)
        hold = self.outcome.hold
        paused, judge = self._list_pauses(), self._canaries.judge
        allowed, behind = choose_work(paused, self._pauses, traffic, views, items, hold, canaries, judge)
        # the input of what a canary holds back is brought to disk meanwhile, after that of what may begin
        staged, waiting, lost = self._stager.stage([*self._check_inputs(allowed), *behind])
        held = {item.address for item in behind}
        ready = [item for item in staged if item.address not in held]
        self.outcome.staging = len(waiting - held)
        for address, path in lost.items():
            told = f"{path} is lost, says the site's prestage command"
            self.outcome.failed.append((format_address(address), told))
        return limit_work(traffic, items, ready, hold)

    def _check_inputs(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        """The items whose input has what their step reads. For other steps no job is submitted, and one failure is reported."""
        with self.writer.reading() as connection:
            lacking, unproven = check_inputs(connection, self.repository, items)
        self._first_units = FirstUnits(unproven)
        self.outcome.failed += [("/".join(key), text) for key, text in lacking.items()]
        chosen = [item for item in items if item.address[:2] not in lacking]
        if left := len(items) - len(chosen):
            self.outcome.held["the input lacks what their step reads"] += left
        return chosen

    def launch(self, items: Sequence[WorkItem], approve: Approve) -> None:
        """Makes all units of `items`, as many at the same time as the sites have slots; fills `outcome`.

        After Ctrl-C (SIGINT) the jobs of this machine are ended and recorded as cancelled; after other signals they continue.
        Raises `GuardRefused` if an approval is missing.
        """
        end = None if self.options.bound is None else self._clock.steady() + self.options.bound
        self.ledger.keep_snapshots(list_baselines(self.repository, items))
        try:
            self._make(self._claimed.keep(items), approve, end)
            with self.writer.reading() as connection:
                late = self._claimed.release(connection)
            if late:
                self._make(late, approve, end)
        except KeyboardInterrupt as told:
            if find_number(told) == SIGINT:
                self._cancel()
            raise
        self._tell_rest()
        self.outcome.delayed = dict(self._publisher.delayed)
        self.outcome.troubles = (*self._tracker.troubles, *self._recorder.keeper.tell())

    def _make(self, items: Sequence[WorkItem], approve: Approve, end: float | None) -> None:
        """Begins items and polls, until nothing more can begin and no job is waited for, or until the time `end`."""
        given = {item.address for item in items}
        for item in items:
            if item.upstream is not None and item.upstream in given:
                self._behind.setdefault(item.upstream, []).append(item)
            else:
                self._make_ready([item])
        while True:
            begun = self._begin(approve)
            poll = self._poll()
            self._record_ended(poll.ended)
            waited = {one.id for one in self._list_waited(poll)}
            if not poll.ended and not begun and waited <= poll.unknown and not self._can_begin():
                break
            if end is not None and self._clock.steady() > end:
                break
            self._rest(moved=bool(begun or poll.ended))
        self.outcome.live, self.outcome.unknown = len(poll.live), len(poll.unknown)
        self.outcome.attached = sum(self._engines.is_attached(one.site) for one in poll.live)

    def _can_begin(self) -> bool:
        """Whether a unit or a job is ready for a site that has room for it."""
        return any(self._count_next(site) > 0 for site in {*self._ready, *self._jobs})

    def _list_pauses(self) -> tuple[Pause, ...]:
        """The pauses of now: those in the ledger, and those in files beside it."""
        return (*(pause for _, pause in self._stops.read()), *self._pauses.list_pauses())

    def _make_ready(self, items: Iterable[WorkItem]) -> None:
        self._queue(item for item in items if self._first_units.admit(item))

    def _queue(self, items: Iterable[WorkItem]) -> None:
        for item in items:
            self._ready.setdefault(item.campaign.site, deque()).append(item)

    def _begin(self, approve: Approve) -> int:
        """Submits as many of the ready items as the sites accept now. Returns the number of attempts."""
        begun = 0
        for site in [*self._ready, *self._jobs]:
            ready, jobs = self._ready.get(site, deque()), self._jobs.setdefault(site, deque())
            while ready and (room := min(ROUND, self._count_next(site) - len(jobs))) > 0:
                approvals = approve()  # this may leave a campaign out
                stopped = self._list_pauses()
                taken = [ready.popleft() for _ in range(min(room, len(ready)))]
                self._intend([item for item in taken if self._is_open(item, stopped)], approvals)
            begun += self._submit(site, approve)
        return begun

    def _is_open(self, item: WorkItem, stopped: Sequence[Pause]) -> bool:
        """Whether a unit must still be made: it is not done, not paused, and its campaign is not left out."""
        campaign = item.campaign
        if item.address in self._done or self.outcome.is_left_out(campaign.name):
            return False
        if pause := find_pause(stopped, campaign.name, campaign.site):
            self.outcome.hold(item, tell_pause(pause))
            return False
        return True

    def _intend(self, items: Iterable[WorkItem], approvals: Mapping[str, str]) -> None:
        """Prepares units, writes their intents, and puts their jobs into the queue of their site."""
        prepared = []
        for item, trouble in self._preparation.prepare(items, approvals):
            if trouble is not None:
                self.outcome.leave_out(item.campaign.name, trouble)
            elif item.jobs:
                if self._claimed.begin(item):
                    prepared.append(item)
            else:  # the ledger knows its input, but at another storage: no intent is written
                reason = f"its input is not in the storage of {item.campaign.site}"
                self._record_ended([EndedUnit(item.address, reason)])
        for item, intended in zip(prepared, self.ledger.intend(prepared), strict=True):
            if intended is None:  # another unit makes the same output; then this one is done too
                self._skip([item])
                self._queue(self._first_units.end(item.address, produced=False))
            else:
                self._jobs.setdefault(item.campaign.site, deque()).extend(intended.split())

    def _submit(self, site: str, approve: Approve) -> int:
        """Submits the jobs that wait for a site, in batches of similar jobs of one step. Returns the number of attempts."""
        queue, submitted = self._jobs.get(site, deque()), 0
        while queue and (room := self._count_next(site)) > 0:
            if not self._readiness.allow(site, self._capacity.live[site]):
                self._capacity.close(site, self._readiness.tell(site))
                break
            width = min(room, self._queues.find_width(site, self._engines.engine(site).width))
            items = list(takewhile(queue[0].joins, islice(queue, width)))
            approve()
            for _ in items:
                queue.popleft()
            if self.outcome.is_left_out(items[0].campaign.name):
                continue
            made = self._attempts.begin(items)
            dropped = {item.address for item in items} - {attempt.address for attempt, _ in made}
            self._record_ended([self._failing.pop(address) for address in dropped & self._failing.keys()])
            if made:
                submitted += self._submit_batch(site, made)
        return submitted

    def _submit_batch(self, site: str, made: Sequence[Submission]) -> int:
        """Submits attempts as one batch. Returns how many the engine got and did not defer. Deferred jobs wait again."""
        try:
            batch = self._submitter.prepare(site, made)
        except UnwritableInput as error:
            self.outcome.leave_out(made[0][1].campaign.name, str(error))
            for attempt, _ in made:
                self._recorder.fail(attempt, Failed(FailureClass.INFRASTRUCTURE, str(error)))
            return 0
        except SourceUnavailable as error:  # a full or read-only disk is not a failure of the jobs
            self._capacity.close(site, str(error))
            self.outcome.held[str(error)] += len({attempt.address for attempt, _ in made} - self._begun)
            self._attempts.record_deferred([attempt.id for attempt, _ in made], str(error))
            return 0
        accepted, left = self._submitter.submit(site, batch, made)
        self._jobs[site].extendleft(item for _, item in reversed(left))
        waiting = {attempt.id for attempt, _ in left}
        self._begun.update(attempt.address for attempt, _ in made if attempt.id not in waiting)
        self._capacity.live[site] += len(made) - len(left)
        self.outcome.submitted += accepted
        return len(made) - len(left)

    def _poll(self) -> Poll:
        """Asks the engines: this machine in every round, other sites at most once per `POLL` seconds."""
        now = self._clock.steady()
        self.writer.prolong(idle=True)

        def is_due(site: str) -> bool:
            due = self._engines.is_attached(site) or now - self._polled.get(site, -POLL) >= POLL
            if due:
                self._polled[site] = now
            return due

        poll = self._tracker.poll(is_due)
        self._capacity.live = Counter(attempt.site for attempt in poll.live)
        return poll

    def _record_ended(self, ended: Iterable[EndedUnit]) -> None:
        """Counts units that ended. If a unit was produced, units that read its outputs become ready; if not, they are skipped."""
        pending = {item.address for queue in self._jobs.values() for item in queue}
        for unit in ended:
            if unit.address in pending:
                self._failing[unit.address] = unit  # some of its jobs did not begin yet
                continue
            self._failing.pop(unit.address, None)
            following = self._behind.pop(unit.address, [])
            self._queue(self._first_units.end(unit.address, produced=unit.failure is None))
            if unit.failure is None:
                self._done.add(unit.address)
                self.outcome.produced += 1
                self._report("produced", unit.address)
                self._make_ready(following)
            else:
                self.outcome.failed.append((format_address(unit.address), unit.failure))
                self._report("failed", unit.address)
                self._skip(following)

    def _skip(self, items: Iterable[WorkItem]) -> None:
        for item in items:
            self.outcome.skipped += 1
            self._report("skipped", item.address)
            self._skip(self._behind.pop(item.address, []))

    def _cancel(self) -> None:
        """Ends the jobs of this machine. A job that ends by itself before that counts."""
        self._ready.clear()
        self._jobs.clear()
        deadline = self._clock.steady() + PATIENCE
        self._tracker.resume()
        while self._clock.steady() < deadline:
            mine = [one for one in self._tracker.poll().live if self._engines.is_attached(one.site)]
            if not mine:
                break
            self._attempts.ask_end([one.id for one in mine if not one.cancel], "interrupted")
            self._rest(moved=False)

    def _count_next(self, site: str) -> int:
        """How many attempts may begin at a site now, of the jobs that wait for it and the units that are ready."""
        return self._capacity.count_next(site, self._jobs.get(site, ()), self._ready.get(site, ()))

    def _tell_rest(self) -> None:
        """Counts, by reason, the units that were ready and did not begin."""
        stopped = self._list_pauses()
        hold = self.outcome.hold
        for item in self._first_units.list_waiting():
            if self._is_open(item, stopped):
                hold(item, f"the first unit of {'/'.join(item.address[:2])} goes first")
        for site, queue in self._ready.items():
            for item in queue:
                if self._is_open(item, stopped):
                    hold(item, self._capacity.tell(site))
        for site, queue in self._jobs.items():
            left = {item.address for item in queue} - self._begun
            self.outcome.held.update(self._capacity.tell(site) for _ in left)

    def _list_waited(self, poll: Poll) -> list[Attempt]:
        return [one for one in poll.live if self.options.patient or self._engines.is_attached(one.site)]

    def _rest(self, *, moved: bool) -> None:
        """Waits before the next poll: a short time after a change, longer when nothing changes."""
        self._pause = 0.01 if moved else min(0.2, self._pause * 1.5 + 0.01)
        if self._capacity.live:
            self._clock.sleep(self._pause)
