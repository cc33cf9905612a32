"""Bundles whose jobs end early, and bundles at a full site: what units had no part in is no fault of theirs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from sqlalchemy import select

from reconciler import engines
from reconciler.execution.apply import reconcile
from reconciler.execution.tracking.attempt_recorder import AttemptRecorder
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.schema import decision_tables, tables
from reconciler.ledger.store.database import reading
from reconciler.outside.clock import Clock
from reconciler.outside.errors import SourceUnavailable
from tests.support.doubles.engine_double import Cluster, EngineDouble
from tests.support.worlds.builders import swap
from tests.support.worlds.production_model import BEGIN, Approvals
from tests.support.worlds.slurm_campaign import SlurmWorld
from tests.support.worlds.worlds import QUIET, pin_checkout

PARAMETERS = "    parameters: {trigger_mode: all}\n"


class BundleWorld:
    """A campaign of bundles at a batch system in memory, whose time a test moves."""

    def __init__(self, root, monkeypatch, units, bundle, *, slots=1000, attempts=1, site="}"):
        self.now = 0.0
        self.cluster = Cluster(root / "site", lambda: self.now, shared=True, attached=False)
        engine = type("BundleEngine", (EngineDouble,), {"slots": slots, "width": 1000})
        monkeypatch.setitem(engines.ENGINES, "slurm", lambda *_: engine(self.cluster))
        self.world = SlurmWorld(root / "world", units, width=1000)
        file = self.world.root / "productions/sites/local.yaml"
        file.write_text(swap(file.read_text(), ("batch: {width: 1000}", f"batch: {{width: 1000{site}")))
        pin_checkout(self.world.root, self.world.state)
        few = (f"max_units: {units}", f"max_units: {units}, max_attempts: {attempts}")
        self.world.change((PARAMETERS, f"{PARAMETERS}    bundle: {bundle}\n"), few, lock=False)
        self.repository = self.world.repository()

    def turn(self, seconds=4000.0):
        """One turn of the reconciler, which waits for nothing; then time goes on."""
        clock = Clock(lambda: BEGIN + self.now, lambda: self.now, self._wait)
        options = TurnOptions(Approvals(), bound=0.0, lease=90.0, clock=clock)
        outcome = reconcile(self.world.state, self.repository, ("proc7",), QUIET, options)
        self.now += seconds
        return outcome

    def list_active(self):
        """The jobs that wait or run, as their members in order."""
        shared = defaultdict(list)
        for one in self.cluster.active():
            shared[one.handle.batch, one.handle.index].append(one)
        return list(shared.values())

    def make(self, members):
        """Lets members of a job do their work."""
        for one in members:
            self.cluster.work(one)
            self.cluster.work(one)

    def end(self, members):
        """Ends a job: none of these members begins."""
        for one in members:
            self.cluster.kill(one)

    def finish(self):
        """Takes turns in which all jobs end well, until no unit is left."""
        for _ in range(20):
            for members in self.list_active():
                self.make(members)
            self.turn()
            if self.world.summary().keys() <= {"done", "quarantined"}:
                return
        raise AssertionError(self.world.summary())

    def list_sizes(self):
        """The sizes of all bundles, in the order in which they were submitted; 1 for each unit that went alone."""
        columns = tables.batches.c.id, tables.batches.c.origin
        with reading(self.world.state) as connection:
            rows = connection.execute(select(*columns).order_by(columns[0])).all()
            place = tables.attempts.c.batch
            counts = Counter(connection.scalars(select(place)))
        return [size for row in rows for size in json.loads(row.origin).get("bundles", [1] * counts[row.id])]

    def _wait(self, seconds):
        self.now += seconds


def test_what_never_begins_is_submitted_again_however_often_its_bundle_is_cut_short(tmp_path, monkeypatch):
    """One unit is made of each job, so that the last one is lost more often than a unit may be lost else."""
    bundled = BundleWorld(tmp_path, monkeypatch, 8, "{runs: 8}")
    for _ in range(40):
        bundled.turn()
        for members in bundled.list_active():
            bundled.make(members[:1])
            bundled.end(members[1:])
        if bundled.world.attempts()["verified"] == 8:
            break
    assert bundled.world.summary() == {"done": 8}
    assert bundled.world.attempts() == {"verified": 8, "lost": sum(range(8))}


def test_one_job_that_never_begins_is_one_failure_and_pauses_nothing(tmp_path, monkeypatch):
    bundled = BundleWorld(tmp_path, monkeypatch, 6, "{runs: 6}", attempts=3)
    bundled.turn()
    (members,) = bundled.list_active()
    bundled.end(members)
    bundled.finish()
    assert bundled.list_sizes() == [6, 1, 5]
    assert bundled.world.attempts() == {"verified": 6, "failed": 1, "lost": 5}
    assert bundled.world.rows(decision_tables.pauses, "reason") == []


def test_while_the_first_of_a_bundle_cannot_be_judged_the_others_are_not_spared(tmp_path, monkeypatch):
    """Else it would be spared itself later, as one whose job had others, and no failure would be counted."""
    bundled = BundleWorld(tmp_path, monkeypatch, 3, "{runs: 3}", attempts=3)
    bundled.turn()
    bundled.end(*bundled.list_active())

    def fail(*_):
        raise SourceUnavailable("its folder cannot be read")

    with monkeypatch.context() as patched:
        patched.setattr(AttemptRecorder, "fail", fail)
        for _ in range(3):
            bundled.turn()
        assert bundled.world.attempts() == {"submitted": 3}
    bundled.finish()
    assert bundled.world.attempts() == {"verified": 3, "failed": 1, "lost": 2}


def test_bundles_that_never_begin_pause_their_campaign_like_single_jobs(tmp_path, monkeypatch):
    bundled = BundleWorld(tmp_path, monkeypatch, 15, "{runs: 3}", attempts=3)
    bundled.turn()
    assert len(bundled.list_active()) == 5
    for members in bundled.list_active():
        bundled.end(members)
    for _ in range(4):
        bundled.turn()
    ((reason,),) = bundled.world.rows(decision_tables.pauses, "reason")
    assert reason.startswith("5 jobs failed in the same way")
    assert bundled.world.attempts() == {"failed": 5, "lost": 10}


def test_a_bundle_that_never_begins_comes_to_an_end(tmp_path, monkeypatch):
    bundled = BundleWorld(tmp_path, monkeypatch, 3, "{runs: 3}")
    for _ in range(20):
        bundled.turn()
        for members in bundled.list_active():
            bundled.end(members)
    assert bundled.world.summary() == {"quarantined": 3}
    assert bundled.world.attempts() == {"failed": 3, "lost": 3}


def test_a_full_site_gets_whole_bundles_as_its_units_end_one_by_one(tmp_path, monkeypatch):
    bundled = BundleWorld(tmp_path, monkeypatch, 60, "{runs: 4}", slots=40)
    bundled.turn()
    assert bundled.list_sizes() == [4] * 10
    for ended in (1, 1, 1, 3, 1, 5, 1, 2, 4, 1):
        for members in bundled.list_active()[:ended]:
            bundled.make(members[:1])
        bundled.turn()
        assert len(bundled.cluster.active()) <= 40
    assert bundled.list_sizes() == [4] * 15
    bundled.finish()


def test_a_bundle_has_no_more_units_than_fit_into_the_time_of_the_queue(tmp_path, monkeypatch):
    site = ", minutes: 60}\nqueues: {prod: {minutes: 300}}"
    bundled = BundleWorld(tmp_path, monkeypatch, 12, "{runs: 1000}", site=site)
    bundled.turn()
    assert bundled.list_sizes() == [5, 5, 2]
