"""Launching: orders become attempts, and attempts are submitted in batches.

Every effect follows its record, so that a process killed anywhere leaves what `Tracker` can bring to an end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from signal import SIGINT

from reconciler.datasets.places import ForeignPlace, Places
from reconciler.execution.launch.admission import choose_wishes, limit_wishes, read_traffic, tell_pause
from reconciler.execution.launch.capacity import Capacity
from reconciler.execution.launch.preparation import OrderWriter, Wish, list_baselines
from reconciler.execution.launch.scouts import Scouts, read_outlook
from reconciler.execution.launch.staging import Stager
from reconciler.execution.launch.submission import Submitter, UnwritableInput
from reconciler.execution.outcome import Outcome
from reconciler.execution.sites.queues import Queues
from reconciler.execution.sites.readiness import Readiness
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.alarms import Alarms
from reconciler.execution.tracking.delivery import EndedUnit
from reconciler.execution.tracking.endings import Endings
from reconciler.execution.tracking.orphan_jobs import end_orphan_jobs
from reconciler.execution.tracking.publication import StorageClosed
from reconciler.execution.tracking.tracker import Look, Tracker
from reconciler.execution.tracking.workspace import Failed, Workspace
from reconciler.execution.turn_options import PLAIN, TurnOptions
from reconciler.ledger.store.database import State
from reconciler.ledger.writing.attempts import AttemptLedger, Pick
from reconciler.ledger.writing.pause_orders import PauseOrders
from reconciler.ledger.writing.pauses import Pause, PauseWriter, find_pause
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.model.states import FailureClass
from reconciler.model.work_items import Address, Attempt, format_address
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.signals import find_number
from reconciler.planning.views import View
from schemas.policy.site import Site
from schemas.repository import Repository

PATIENCE = 10.0
"""Seconds between asking a cancelled job to end and giving it up."""

ROUND = 1000
"""Units for which intents are written in one transaction."""

POLL = 5.0
"""Seconds between two looks at a system that is not this machine, while a turn waits for it."""

Report = Callable[[str, Address], None]
"""Called with `produced`, `failed` or `skipped` and the unit."""

Approve = Callable[[], Mapping[str, str]]
"""Campaign → digest of its approvals, or a refusal."""


class Launcher:
    """Drives engines for one ledger: what is launched is what `repository` declares, at `sites` that may be acted upon."""

    def __init__(
        self, state: State, repository: Repository, sites: Mapping[str, Site], writer: Writer
    ) -> None:
        self.ledger = Ledger(writer)
        self._attempts = AttemptLedger(writer)
        self._pauses = PauseWriter(writer)
        self._stops = PauseOrders(state)
        self._engines = SiteEngines(sites, writer)
        self._workspace = Workspace(state.attempts, state.batches)
        self.alarms, self.tallies = Alarms(self._pauses, writer.clock), self._attempts.tallies
        endings = Endings(
            repository,
            self.ledger,
            self._attempts,
            self._pauses,
            self._engines,
            self._workspace,
            self.alarms,
            writer.clock,
        )
        self._tracker = Tracker(
            self.ledger, self._attempts, self._engines, self._workspace, endings, self.alarms, writer.clock
        )
        self._queues = Queues(self._engines, self._pauses, writer.clock.time)
        self._capacity = Capacity(self._engines, self._queues, endings.delivery, repository)
        self.outcome = Outcome(delayed=endings.delivery.delayed, troubles=self._tracker.troubles)
        self._clock = writer.clock
        self._repository = repository
        self._writer = writer
        # also what other sites are like is in orders, as what their cores can do
        self._orders = OrderWriter(state, replace(repository, sites=sites))
        self.places = Places(state, writer)
        endings.delivery.guard(self._guard)
        self._submitter = Submitter(
            writer,
            self.places,
            self._attempts,
            self._engines,
            self._workspace,
            self._tracker,
            self._queues,
            self._orders,
        )
        self._readiness = Readiness(state, sites, self._engines, self._pauses, writer.clock.time)
        self._stager = Stager(sites, writer)
        self._report: Report | None = None
        self._scouts = Scouts({})
        self._ready: dict[str, deque[Wish]] = {}
        self._behind: dict[Address, list[Wish]] = {}
        self._failing: dict[Address, EndedUnit] = {}
        self._done: set[Address] = set()
        self._picks: dict[str, deque[Pick]] = {}
        self._looked: dict[str, float] = {}
        self._begun: set[Address] = set()
        self._pause = 0.0

    def listen(self, report: Report | None) -> None:
        """Names who hears of every unit that ends."""
        self._report = report

    def _guard(self, storage: str) -> None:
        try:
            self.places.check_storage(storage)
        except (ForeignPlace, SourceUnavailable) as error:
            raise StorageClosed(str(error)) from error

    def settle(self, options: TurnOptions = PLAIN) -> None:
        """Brings to an end what an earlier process left: records what ended, and waits for what runs on this machine."""
        for file, order in self._stops.read():
            if order.since:  # it could be read
                self._pauses.pause(order.scope, order.kind, order.reason, order.who)
                file.unlink(missing_ok=True)
        self._tracker.resume()
        while True:
            look = self._look()
            waited = self._list_waited(look, options)
            if not waited or {one.id for one in waited} <= look.unknown or options.bound is not None:
                break
            self._rest(moved=bool(look.ended))
        end_orphan_jobs(self._writer, self._engines, self._workspace, self._attempts.leftovers)
        self._tracker.sweep()

    def brake(self, views: Sequence[View], wishes: Sequence[Wish]) -> list[Wish]:
        """Those of the wishes that nothing holds back in this turn: no pause, canary, limit, recent failure, or tape."""
        for site in {wish.view.campaign.site for wish in wishes}:
            self._readiness.allow(site, self._capacity.live[site])
        with self._writer.reading() as connection:
            traffic = read_traffic(connection, int(self._clock.time()))
        held = self.outcome.held
        chosen = self._look_ahead(
            choose_wishes(self._list_pauses(), self._pauses, traffic, views, wishes, held)
        )
        staged = self._stager.stage(chosen)
        self.outcome.staging = staged.waiting
        for address, path in staged.lost:
            self.outcome.failed.append(
                (format_address(address), f"{path} is lost, says the site's prestage command")
            )
        return limit_wishes(traffic, wishes, staged.wishes, held)

    def _look_ahead(self, wishes: Sequence[Wish]) -> list[Wish]:
        """The wishes without those of steps whose input lacks what they read: it is told once, and no job fails for it."""
        with self._writer.reading() as connection:
            outlook = read_outlook(connection, self._repository, wishes)
        self._scouts = Scouts(outlook.unproven)
        self.outcome.failed += [("/".join(key), text) for key, text in outlook.lacking.items()]
        chosen = [wish for wish in wishes if wish.address[:2] not in outlook.lacking]
        if left := len(wishes) - len(chosen):
            self.outcome.held["the input lacks what their step reads"] += left
        return chosen

    def launch(self, wishes: Sequence[Wish], approve: Approve, options: TurnOptions = PLAIN) -> None:
        """Makes every unit wished for, as many at a time as the sites have slots.

        At Ctrl-C (SIGINT) the jobs of this machine are ended and recorded as cancelled; at other signals they run on.
        """
        end = None if options.bound is None else self._clock.steady() + options.bound
        self.ledger.keep_snapshots(list_baselines(self._repository, wishes))
        wished = {wish.address for wish in wishes}
        for wish in wishes:
            if wish.upstream is not None and wish.upstream in wished:
                self._behind.setdefault(wish.upstream, []).append(wish)
            else:
                self._make_ready([wish])
        try:
            while True:
                begun = self._begin(approve)
                look = self._look()
                self._take(look.ended)
                waited = {one.id for one in self._list_waited(look, options)}
                if not look.ended and not begun and waited <= look.unknown and not self._can_begin():
                    break
                if end is not None and self._clock.steady() > end:
                    break
                self._rest(moved=bool(begun or look.ended))
        except KeyboardInterrupt as told:
            if find_number(told) == SIGINT:
                self._cancel()
            raise
        self._tell_rest()
        self.outcome.live, self.outcome.unknown = len(look.live), len(look.unknown)
        self.outcome.attached = sum(self._engines.is_attached(one.site) for one in look.live)

    def _can_begin(self) -> bool:
        """Whether something is ready for a site that takes it."""
        return any(
            queue and self._count_room(site, queued=False) > 0 for site, queue in self._picks.items()
        ) or any(queue and self._count_room(site) > 0 for site, queue in self._ready.items())

    def _list_pauses(self) -> tuple[Pause, ...]:
        """What is stopped now, by the ledger or by an order beside it."""
        return (*(pause for _, pause in self._stops.read()), *self._pauses.list_pauses())

    def _make_ready(self, wishes: Iterable[Wish]) -> None:
        self._queue(wish for wish in wishes if self._scouts.admit(wish))

    def _queue(self, wishes: Iterable[Wish]) -> None:
        for wish in wishes:
            self._ready.setdefault(wish.view.campaign.site, deque()).append(wish)

    def _begin(self, approve: Approve) -> int:
        """Submits as much of what is ready as the sites take now: how many attempts."""
        begun = 0
        for site in [*self._ready, *self._picks]:
            ready = self._ready.get(site, deque())
            while ready and (room := min(ROUND, self._count_room(site))) > 0:
                approvals = approve()  # which may leave a campaign out
                stopped = self._list_pauses()
                taken = [ready.popleft() for _ in range(min(room, len(ready)))]
                self._intend([wish for wish in taken if self._is_open(wish, stopped)], approvals)
            begun += self._submit(site, approve)
        return begun

    def _is_open(self, wish: Wish, stopped: Sequence[Pause]) -> bool:
        """Whether a unit is still to be made: it is not paused, and no earlier attempt made it in the meantime."""
        campaign = wish.view.campaign
        if wish.address in self._done or self.outcome.is_left_out(campaign.name):
            return False
        if pause := find_pause(stopped, campaign.name, campaign.site):
            self.outcome.held[tell_pause(pause)] += 1
            return False
        return True

    def _intend(self, wishes: Iterable[Wish], approvals: Mapping[str, str]) -> None:
        """Writes the intents of units, and queues their jobs."""
        orders = []
        for wish, order in self._orders.make_orders(wishes, approvals):
            if isinstance(order, str):
                self.outcome.leave_out(wish.view.campaign.name, order)
            elif order.jobs:
                orders.append(order)
            else:  # its input is known to the ledger, but not at this storage: nothing is written of it
                reason = f"its input is not in the storage of {wish.view.campaign.site}"
                self._take([EndedUnit(wish.address, reason)])
        for order, intent in zip(orders, self.ledger.intend(orders), strict=True):
            if intent is None:  # another unit makes the same: once it has, this one is done as well
                self.outcome.skipped += 1
                self._tell("skipped", order.address)
                self._skip(self._behind.pop(order.address, []))
                self._queue(self._scouts.end(order.address, produced=False))
                continue
            queue = self._picks.setdefault(order.campaign.site, deque())
            queue.extend((order, intent, job) for job in order.jobs)

    def _submit(self, site: str, approve: Approve) -> int:
        """Submits what waits for a site, in batches of one campaign's step and of a kind: how many attempts."""
        queue, submitted = self._picks.get(site, deque()), 0
        while queue and (room := self._count_room(site, queued=False)) > 0:
            if not self._readiness.allow(site, self._capacity.live[site]):
                self._capacity.close(site, self._readiness.tell(site))
                break
            width = min(room, self._queues.find_width(site, self._engines.engine(site).width))
            first = queue[0][0]
            picks = []
            for order, intent, job in islice(queue, width):
                if not order.joins(first):
                    break
                picks.append((order, intent, job))
            approve()
            for _ in picks:
                queue.popleft()
            if self.outcome.is_left_out(first.campaign.name):
                continue
            made = self._attempts.begin(picks)
            dropped = {order.address for order, _, _ in picks} - {attempt.address for attempt, _ in made}
            self._take([self._failing.pop(address) for address in dropped & self._failing.keys()])
            if made:
                submitted += self._submit_batch(site, made)
        return submitted

    def _submit_batch(self, site: str, made: Sequence[tuple[Attempt, Pick]]) -> int:
        """Submits attempts as a batch: how many. What the site has no room for waits on."""
        try:
            batch = self._submitter.prepare(site, made)
        except UnwritableInput as error:
            self.outcome.leave_out(made[0][1][0].campaign.name, str(error))
            for attempt, _ in made:
                self._tracker.refuse(attempt, Failed(FailureClass.INFRASTRUCTURE, str(error)))
            return 0
        except SourceUnavailable as error:  # a disk that is full, or only to be read, is no failure of theirs
            self._capacity.close(site, str(error))
            self.outcome.held[str(error)] += len({attempt.address for attempt, _ in made} - self._begun)
            self._attempts.record_deferred([attempt.id for attempt, _ in made], str(error))
            return 0
        accepted, left = self._submitter.submit(site, batch, made)
        self._picks[site].extendleft(pick for _, pick in reversed(left))
        waiting = {attempt.id for attempt, _ in left}
        self._begun.update(attempt.address for attempt, _ in made if attempt.id not in waiting)
        self._capacity.live[site] += len(made) - len(left)
        self.outcome.submitted += accepted
        return len(made) - len(left)

    def _look(self) -> Look:
        """One look: at this machine always, at other systems not more often than they should be asked."""
        now = self._clock.steady()
        self._writer.prolong(idle=True)

        def is_due(site: str) -> bool:
            if self._engines.is_attached(site) or now - self._looked.get(site, -POLL) >= POLL:
                self._looked[site] = now
                return True
            return False

        look = self._tracker.look(is_due)
        self._capacity.live = Counter(attempt.site for attempt in look.live)
        return look

    def _take(self, ended: Iterable[EndedUnit]) -> None:
        """Counts units that ended; what waited behind them is ready, or waited in vain."""
        pending = {order.address for queue in self._picks.values() for order, _, _ in queue}
        for unit in ended:
            if unit.address in pending:
                self._failing[unit.address] = unit  # it has jobs that did not begin yet
                continue
            self._failing.pop(unit.address, None)
            following = self._behind.pop(unit.address, [])
            self._queue(self._scouts.end(unit.address, produced=unit.failure is None))
            if unit.failure is None:
                self._done.add(unit.address)
                self.outcome.produced += 1
                self._tell("produced", unit.address)
                self._make_ready(following)
            else:
                self.outcome.failed.append((format_address(unit.address), unit.failure))
                self._tell("failed", unit.address)
                self._skip(following)

    def _skip(self, wishes: Iterable[Wish]) -> None:
        for wish in wishes:
            self.outcome.skipped += 1
            self._tell("skipped", wish.address)
            self._skip(self._behind.pop(wish.address, []))

    def _tell(self, what: str, address: Address) -> None:
        if self._report is not None:
            self._report(what, address)

    def _cancel(self) -> None:
        """Ends what runs on this machine; what had ended by itself in the meantime counts."""
        self._ready.clear()
        self._picks.clear()
        deadline = self._clock.steady() + PATIENCE
        self._tracker.resume()
        while self._clock.steady() < deadline:
            mine = [one for one in self._tracker.look().live if self._engines.is_attached(one.site)]
            if not mine:
                break
            self._attempts.ask_end([one.id for one in mine if not one.cancel], "interrupted")
            self._rest(moved=False)

    def _count_room(self, site: str, *, queued: bool = True) -> int:
        """How many attempts more a site takes now, those waiting for it counted or not."""
        return self._capacity.count_room(site, len(self._picks.get(site, ())) if queued else 0)

    def _tell_rest(self) -> None:
        """Says why what was ready has not begun."""
        stopped = self._list_pauses()
        held = self.outcome.held
        for wish in self._scouts.list_waiting():
            if self._is_open(wish, stopped):
                held[f"the first unit of {'/'.join(wish.address[:2])} goes first"] += 1
        for site, queue in self._ready.items():
            held.update(self._capacity.tell(site) for wish in queue if self._is_open(wish, stopped))
        for site, picks in self._picks.items():
            left = {order.address for order, _, _ in picks} - self._begun
            held.update(self._capacity.tell(site) for _ in left)

    def _list_waited(self, look: Look, options: TurnOptions) -> list[Attempt]:
        return [one for one in look.live if options.patient or self._engines.is_attached(one.site)]

    def _rest(self, *, moved: bool) -> None:
        """Waits before the next look: shortly while things move, longer while they do not."""
        self._pause = 0.01 if moved else min(0.2, self._pause * 1.5 + 0.01)
        if self._capacity.live:
            self._clock.sleep(self._pause)
