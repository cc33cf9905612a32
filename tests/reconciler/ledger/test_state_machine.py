"""Random production: edits, kills, stops, clock jumps, payload changes, levers, and an engine that fails and lies.

After every step the invariants I1-I5, I10 and I12 hold; when all trouble has ended, everything declared is there, exactly
once (I11). The engine of `Honest` keeps the port's contract: there, no job comes to a good end twice. (9.5; B18-B24, B28)
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reconciler.ledger.writing.operator_actions import Scope
from reconciler.outside.errors import GuardRefused
from tests.support.doubles.engine_double import OUTCOMES, QUERY_FAULTS, SUBMIT_FAULTS
from tests.support.doubles.simulated_process import Killed
from tests.support.worlds.production_model import LEASE, NAME, RUNS, Production, Template

STEPS = 50
REASONS = ("at work", "approval", "stale", "could not be judged", "took over")
EFFECTS = strategies.integers(1, 60)
UNITS = strategies.tuples(strategies.sampled_from(("reco", "thin")), strategies.integers(1, RUNS))
FAULTS = (
    *(("submit", fault) for fault in SUBMIT_FAULTS),
    *(("query", fault) for fault in QUERY_FAULTS),
    *(("cancel", fault) for fault in ("down", "ignored")),
    *((call, "down") for call in ("find", "fetch")),
)
PLACES = strategies.integers(0, 30)


class Honest(RuleBasedStateMachine):
    """An engine that keeps its contract."""

    template: Template
    patch: pytest.MonkeyPatch
    manner: dict[str, bool]
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.production = Production(self.template, self.patch, **self.manner)
        self.stored = None
        self.repeats = False  # whether a good end may come twice

    # the reconciler

    @rule(seconds=strategies.sampled_from((0, 10, 100, 1000)))
    def turn(self, seconds):
        self.production.pass_time(seconds)
        self._tolerate(self.production.turn)

    @rule()
    def turn_and_work(self):
        self._tolerate(self.production.turn)
        self.production.cluster.work_all()

    @rule(at=EFFECTS, waits=strategies.booleans())
    def kill(self, at, waits):
        with suppress(Killed):
            self._tolerate(self.production.process(kill=at).run)
        if waits:
            self.production.pass_time(LEASE + 1)

    @precondition(lambda self: self.production.stopped is None and not self.production.cluster.attached)
    @rule(at=EFFECTS)
    def stop(self, at):
        self._tolerate(lambda: self.production.stop(at))

    @precondition(lambda self: self.production.stopped is not None)
    @rule()
    def take_over(self):
        self.production.pass_time(LEASE + 1)
        self._tolerate(self.production.turn)

    @precondition(lambda self: self.production.stopped is not None)
    @rule()
    def wake(self):
        self.production.wake()

    @rule()
    def plan(self):
        self.stored = self.production.store()

    @precondition(lambda self: self.stored is not None)
    @rule()
    def apply(self):
        """A stored plan does what it says, or nothing at all (I8)."""
        self._tolerate(lambda: self.production.apply(self.stored))

    # the site

    @rule(place=PLACES)
    def work(self, place):
        active = self.production.cluster.active()
        if active:
            self.production.cluster.work(active[place % len(active)])

    @rule()
    def work_all(self):
        self.production.cluster.work_all()

    @rule(fault=strategies.sampled_from(FAULTS))
    def break_call(self, fault):
        call, what = fault
        self.production.cluster.faults[call] = what

    @rule()
    def mend_calls(self):
        self.production.cluster.faults.clear()

    @rule(unit=UNITS, outcome=strategies.sampled_from(OUTCOMES))
    def choose_outcome(self, unit, outcome):
        step, run = unit
        self.production.cluster.outcomes = {f"{step}-e3r{run}-": outcome}

    # people

    @rule(
        runs=strategies.integers(1, RUNS),
        mode=strategies.sampled_from(("all", "hlt")),
        payload=strategies.integers(1, 2),
    )
    def edit(self, runs, mode, payload):
        self.production.variant = (runs, mode, payload)

    @rule(valid=strategies.booleans())
    def approve(self, valid):
        self.production.approvals.valid = valid
        self.production.approvals.number += 1

    @rule(
        scope=strategies.sampled_from(("all", "site:local", f"campaign:{NAME}")), stops=strategies.booleans()
    )
    def pause(self, scope, stops):
        with self.production.levers() as levers:
            (levers.pause if stops else levers.resume)(scope, "so")

    @rule(unit=UNITS)
    def cancel(self, unit):
        self.repeats = True  # the job that is cancelled may have had its good end
        with self.production.levers() as levers:
            levers.cancel(self.production.unit(*unit), "not wanted")

    @rule(unit=UNITS)
    def quarantine(self, unit):
        with self.production.levers() as levers:
            levers.quarantine(self.production.unit(*unit), "suspicious")

    @rule()
    def retry(self):
        with self.production.levers() as levers:
            levers.release(Scope(NAME, NAME), "mended")

    @rule(unit=UNITS)
    def settle(self, unit):
        """A person tells the truth of an attempt of which nothing is known."""
        site = {job.name: job.reference for job in self.production.cluster.jobs}
        scope = self.production.unit(*unit)
        with self.production.levers() as levers:
            names = levers.list_doubtful(scope)
            absent = [name for name in names if name not in site]
            if absent:
                levers.declare_absent(scope, absent, "it is not there")
            elif len(names) == 1:
                levers.adopt(scope, site[names[0]], "it is there")

    @invariant()
    def check(self):
        type(self).steps += 1
        self.production.check()
        if not self.repeats:
            ends = Counter(what for _, what in self.production.cluster.done)
            twice = [what for what, count in ends.items() if count > 1]
            assert not twice, f"came to a good end twice: {twice}"

    def teardown(self):
        try:
            self.production.converge()
        finally:
            self.production.close()

    def _tolerate(self, work):
        """Does what may be refused, for a reason that is there; a look that fails moves no attempt (I6)."""
        production = self.production
        faults = production.cluster.faults
        blind = "find" in faults and faults.get("query") in ("down", "unknown")
        before, calls, submitted = production.tried(), production.cluster.calls, production.submitted
        told = {path.parent.name for path in production.state.attempts.glob("*/result.json")}
        try:
            work()
        except GuardRefused as refused:
            why = str(refused)
        else:
            why = ""
        assert not why or any(word in why for word in REASONS), why
        if "at work" in why or "stale" in why:
            assert production.cluster.calls == calls, "refused, and the engine was called"
        if not production.approvals.valid:
            assert production.submitted == submitted, "I5: submitted without approvals"
        if blind:
            after = production.tried()
            moved = {name for name, state in before.items() if after[name] not in (state, "uncertain")}
            assert moved <= told, f"I6: {moved - told} moved, nothing was seen, and no result was there"


class Lying(Honest):
    """An engine that breaks its contract, storage that loses files, and clocks that jump."""

    def __init__(self) -> None:
        super().__init__()
        self.repeats = True

    @rule(place=PLACES)
    def vanish(self, place):
        """The engine no longer knows a job that it has."""
        active = self.production.cluster.active()
        if active:
            active[place % len(active)].hidden = True

    @rule()
    def come_back(self):
        for job in self.production.cluster.jobs:
            job.hidden = False

    @rule()
    def submit_too_late(self):
        self.production.cluster.faults["submit"] = "too_late"

    @rule(seconds=strategies.sampled_from((-86400, -60, 60, 86400)))
    def jump(self, seconds):
        self.production.offset += seconds

    @rule(place=PLACES)
    def delete(self, place):
        files = sorted(self.production.files)
        if files:
            self.production.delete(files[place % len(files)])

    @rule()
    def refresh(self):
        self._tolerate(lambda: self.production.turn(refresh=True))

    @rule(place=PLACES)
    def start_twice(self, place):
        """The batch system starts a job anew, whatever it was asked for."""
        jobs = self.production.cluster.jobs
        if jobs:
            jobs[place % len(jobs)].state = "pending"


EXAMPLES = int(os.environ.get("B2PROD_EXAMPLES", "8"))
"""More of them, and `SHRINK=1`, where a person looks for failures."""


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Honest, Lying])
@pytest.mark.parametrize(
    "manner",
    [
        {"shared": True, "attached": False},
        {"shared": False, "attached": False},
        {"shared": True, "attached": True},
    ],
    ids=["shared", "fetched", "attached"],
)
def test_i1_to_i12_hold_whatever_happens(machine, manner, template, monkeypatch):
    class Machine(machine):
        pass

    Machine.template, Machine.patch, Machine.manner = template, monkeypatch, manner
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if "SHRINK" in os.environ else (Phase.generate,),
    )
    run_state_machine_as_test(Machine, settings=bounds)
    assert Machine.steps >= EXAMPLES * STEPS * 0.8
