"""What a watching process keeps of its last plan is what a fresh process would read, whatever happened in between."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import event, update

from reconciler.conditions.following import record_snapshot
from reconciler.datasets.markers import MARKER
from reconciler.datasets.places import STATE, STORAGE
from reconciler.execution.plan_memory import PlanMemory
from reconciler.execution.recovery.recovering import adopt_place
from reconciler.ledger.reading.changed_runs import find_changed
from reconciler.ledger.reading.event_log import read_last_entry
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.operator_actions import Scope
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.model.run import File, Run
from reconciler.model.states import OutputState, PlanAction
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.views import read_state_view
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.file_removal import remove_files
from reconciler.run_catalogue.run_import import import_runs, mark_runs
from schemas.conditions.snapshot import read_snapshot
from schemas.manifest.runs import run_key
from tests.support.doubles.engine_double import OUTCOMES, SUBMIT_FAULTS
from tests.support.doubles.simulated_process import Killed
from tests.support.worlds.builders import snapshot
from tests.support.worlds.production_model import NAME, Production, Template
from tests.support.worlds.worlds import ONE_STEP, World, make_work_item

OTHER = "proc8"
OPEN = ('ranges: "1-2"', "from: 1, max_runs: 3")
FEWER = ('ranges: "1-2"', "from: 1, max_runs: 1")
RUNNING = ("mode: snapshot", "mode: running, on_change: restate")
FORWARD = ("mode: snapshot", "mode: running, on_change: forward")
HELD = ("title:", "state: held\ntitle:")
CUT = ("trigger_mode: all", "trigger_mode: hlt")
DECLARATIONS = ((), (OPEN,), (FEWER,), (RUNNING,), (OPEN, FORWARD), (HELD,), (CUT,), (OPEN, CUT))
RUNS = strategies.integers(1, 4)
UNITS = strategies.tuples(strategies.sampled_from(("reco", "thin")), strategies.integers(1, 3))


class Declarations(Template):
    """The repositories of a campaign that is edited, beside one that makes the same as it did before."""

    def _productions(self, campaign):
        found = super()._productions(campaign)
        other = f"productions/campaigns/{OTHER}/campaign.yaml"
        return {**found, other: campaign.replace("title:", f"supersedes: [{NAME}]\ntitle:")}

    @functools.cache  # noqa: B019 -- there is one, for the whole module
    def read(self, changes):
        manifest = self.root / f"productions/campaigns/{NAME}/campaign.yaml"
        before = manifest.read_text()
        try:
            self.change(*changes)
            return self.repository()
        finally:
            manifest.write_text(before)


class Compared(PlanMemory):
    """A memory whose every answer is compared with what is read without it."""

    kept = 0
    renewed = 0

    def read(self, connection, repository, names, state, *judges):
        before = self._kept
        found = super().read(connection, repository, names, state, *judges)
        type(self).kept += before is not None and self._kept is before
        if before is not None and self._kept is not before:
            former = {view.campaign.name: view.declaration for view in before.state_view.views}
            type(self).renewed += any(
                former.get(view.campaign.name) is view.declaration for view in found.views
            )
        fresh = read_state_view(connection, repository, names, state, spare=True)
        assert found.plan.content() == fresh.plan.content()
        assert found.absent == fresh.absent
        for mine, other in zip(found.views, fresh.views, strict=True):
            assert mine.entrants == other.entrants
            assert mine.units == other.units
            assert mine.searched == other.searched
        return found


class Histories(RuleBasedStateMachine):
    """Everything that moves a plan: files, runs, tags, manifests, jobs, people, other reconcilers, old copies of the ledger."""

    template: Declarations
    patch: pytest.MonkeyPatch

    def __init__(self):
        super().__init__()
        self.production = Production(self.template, self.patch, shared=True, attached=False)
        self.production.variant, self.production.names = (), (NAME, OTHER)
        self.memory = Compared()
        self.files = 0
        self.kept = self.production.folder / "kept.sqlite"

    def _turn(self, memory, **options):
        self.production.memory = memory
        with suppress(GuardRefused, SourceUnavailable):
            self.production.turn(**options)

    @rule(times=strategies.integers(1, 3))
    def watch(self, times):
        for _ in range(times):
            self._turn(self.memory)

    @rule()
    def finish(self):
        """Comes to rest, if it can."""
        for _ in range(3):
            self._turn(self.memory)
            self.production.cluster.work_all()
        self._turn(self.memory)
        self._turn(self.memory)

    @rule()
    def turn_of_another(self):
        self._turn(None)

    @rule()
    def look_at_the_storage(self):
        self._turn(self.memory, refresh=True)

    @rule(at=strategies.integers(1, 60))
    def kill_another(self, at):
        self.production.memory = None
        with suppress(GuardRefused, SourceUnavailable, Killed):
            self.production.process(kill=at).run()
        self.production.pass_time(100)

    @rule(declaration=strategies.sampled_from(DECLARATIONS))
    def edit(self, declaration):
        self.production.variant = declaration

    @rule(fault=strategies.sampled_from(SUBMIT_FAULTS))
    def break_submission(self, fault):
        self.production.cluster.faults["submit"] = fault

    @rule()
    def mend(self):
        self.production.cluster.faults.clear()

    @rule(unit=UNITS, outcome=strategies.sampled_from(OUTCOMES))
    def choose_outcome(self, unit, outcome):
        step, run = unit
        self.production.cluster.outcomes = {f"{step}-e3r{run}-": outcome}

    @rule()
    def work(self):
        self.production.cluster.work_all()

    @rule(seconds=strategies.sampled_from((10, 1000, 100_000)))
    def pass_time(self, seconds):
        self.production.pass_time(seconds)

    @rule(seconds=strategies.sampled_from((-86400, -60, 86400)))
    def jump(self, seconds):
        self.production.offset += seconds

    @rule(run=RUNS)
    def import_file(self, run):
        self.files += 1
        name = f"raw.{run}.late{self.files}.root"
        checksum = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        with opened(self.production.state) as engine:
            import_runs(engine, [Run(3, run, "physics")])
            import_files(engine, [File(3, run, "raw", name, f"/raw/{name}", 10, checksum)])

    @precondition(lambda self: self.files)
    @rule()
    def remove_file(self):
        run_and_name = f"late{self.files}.root"
        names = [f"raw.{run}.{run_and_name}" for run in range(1, 5)]
        with opened(self.production.state) as engine, suppress(SourceUnavailable):
            for name in names:
                with suppress(SourceUnavailable):
                    remove_files(engine, [name], "broken", "a test", "2019-03-01T00:00:00Z")

    @rule(run=RUNS, reason=strategies.sampled_from((None, "bad")))
    def mark_run(self, run, reason):
        with opened(self.production.state) as engine, suppress(SourceUnavailable):
            mark_runs(engine, [run_key(3, run)], reason)

    @rule(revision=strategies.integers(1, 3))
    def follow(self, revision):
        text = snapshot("tag_a", f"CDCGeometry {revision} {revision:032x} 0,0,-1,-1")
        found, _ = read_snapshot("tag_a.iov", "tag_a", text.encode())
        with opened(self.production.state) as engine:
            record_snapshot(engine, found, "2019-03-01T00:00:00.000000Z")

    @rule(stops=strategies.booleans())
    def pause(self, stops):
        with self.production.levers() as levers:
            (levers.pause if stops else levers.resume)("all", "so")

    @rule(unit=UNITS, lever=strategies.sampled_from(("cancel", "quarantine")))
    def stop_unit(self, unit, lever):
        with self.production.levers() as levers:
            getattr(levers, lever)(self.production.unit(*unit), "so")

    @rule()
    def retry(self):
        with self.production.levers() as levers:
            levers.release(Scope(NAME, NAME), "mended")

    @rule(place=strategies.integers(0, 9))
    def delete(self, place):
        files = sorted(self.production.published())
        if files:
            (self.production.storage / files[place % len(files)]).unlink()

    @rule()
    def keep_copy(self):
        self._forget_log()
        shutil.copyfile(self.production.state.database, self.kept)

    @precondition(lambda self: self.kept.exists())
    @rule()
    def put_back_copy(self):
        """By hand, and a person says that it is right."""
        state = self.production.state
        self._forget_log()
        os.replace(self.kept, state.database)
        for kind, place in ((STATE, state.folder), (STORAGE, self.production.storage)):
            if (place / MARKER).exists():
                with suppress(GuardRefused):
                    adopt_place(state, kind, str(place), "a test", "so")

    def _forget_log(self):
        """All of an SQLite database is in its file if nobody has it open."""
        database = self.production.state.database
        assert not database.with_name(f"{database.name}-wal").exists()

    def teardown(self):
        self.production.close()


@pytest.fixture(scope="module")
def declarations(tmp_path_factory):
    return Declarations(tmp_path_factory.mktemp("template"))


EXAMPLES = int(os.environ.get("B2PROD_EXAMPLES", "8"))


def test_a_watching_process_plans_what_a_fresh_one_plans_whatever_happened(declarations, monkeypatch):
    class Machine(Histories):
        template, patch = declarations, monkeypatch

    monkeypatch.setattr("reconciler.planning.declaration.FEW", 0)  # also if all that there is moves
    Compared.kept, Compared.renewed = 0, 0
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if "SHRINK" in os.environ else (Phase.generate,),
    )
    run_state_machine_as_test(Machine, settings=bounds)
    assert Compared.kept > 2 * EXAMPLES, "nothing moved, and nothing was kept"
    assert Compared.renewed > 3 * EXAMPLES, "only the ledger moved, and everything was read anew"


@pytest.fixture
def made(tmp_path):
    """Two runs, both produced; and the memory of a process that has seen that."""
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1, 1))
    world.reconcile()
    world.memory = PlanMemory()
    return world


def remember(world):
    with reading(world.state) as connection:
        return world.memory.read(connection, world.repository(), world.names, world.state)


def count_statements(world):
    """How many statements it takes to read a plan with the memory."""
    counted = []
    with reading(world.state) as connection:
        event.listen(connection, "before_cursor_execute", lambda *_: counted.append(1))
        world.memory.read(connection, world.repository(), world.names, world.state)
    return len(counted)


def test_a_plan_is_kept_while_nothing_moves_and_read_with_two_statements(made):
    first = remember(made)
    assert count_statements(made) == 2
    assert remember(made) is first


@pytest.mark.parametrize(
    "move",
    [
        lambda world: world.register(1, "raw.1.late.root"),
        lambda world: world.retry(),
        lambda world: world.change(("trigger_mode: all", "trigger_mode: hlt")),
    ],
    ids=["a file", "a lever", "an edit"],
)
def test_whatever_moves_makes_a_new_plan(made, move):
    first = remember(made)
    move(made)
    again = remember(made)
    assert again is not first
    assert again.plan.content() == made.state_view().plan.content()


def test_a_plan_that_searched_the_storage_is_not_kept(made):
    made.change(('"1-2"', '"1-3"'))
    first = remember(made)
    assert first.views[0].searched
    assert remember(made) is not first


def test_runs_that_another_process_admits_move_the_plan(made):
    """Also if it begins no unit: a cap counts what was taken in."""
    made.change(('ranges: "1-2"', "from: 1, max_runs: 2"))
    made.reconcile()
    before = remember(made)
    with opened(made.state) as engine:
        Ledger(Writer(engine, None)).admit("proc7", [run_key(3, 3)])
    assert remember(made) is not before


def test_a_deferred_attempt_moves_the_plan(made):
    """It was in flight, and is to be submitted again."""
    made.change(('"1-2"', '"1-3"'))
    item = replace(make_work_item(made), run=run_key(3, 3), storage=str(made.state.storage("data")))
    with opened(made.state) as engine:
        writer = Writer(engine, None)
        ledger, attempts = Ledger(writer), AttemptLedger(writer)
        ledger.begin_plan("a plan", {})
        (begun,) = ledger.intend([item])
        numbers = [attempt.id for attempt, _ in attempts.begin(begun.split())]
    before = remember(made)
    assert before.plan.campaigns[0].count(PlanAction.IN_FLIGHT) == 1
    with opened(made.state) as engine:
        AttemptLedger(Writer(engine, None)).record_deferred(numbers, "full")
    assert remember(made) is not before


def test_another_file_with_the_same_serials_is_another_ledger(made):
    first = remember(made)
    database = made.state.database
    shutil.copyfile(database, database.with_suffix(".copy"))
    os.replace(database.with_suffix(".copy"), database)
    assert remember(made) is not first


def test_only_what_is_new_in_the_journal_is_planned_again(made, monkeypatch):
    """A unit that was done is not read again: what is written by hand is not seen, until something else has moved."""
    monkeypatch.setattr("reconciler.planning.declaration.FEW", 1)
    first = remember(made)
    with opened(made.state) as engine:
        with engine.begin() as connection:
            connection.execute(update(outputs).where(outputs.c.run == 1).values(state="lost"))
        with Writer(engine, None).writing() as journal:
            journal.update(outputs, outputs.c.run == 2, {"state": OutputState.LOST})
    again = remember(made)
    assert [group.runs for group in again.plan.campaigns[0].groups] == [(run_key(3, 2),)]
    assert again.plan.campaigns[0].done == 1
    assert again.views[0].declaration is first.views[0].declaration
    made.change(("title: A campaign", "title: Another campaign"))
    assert remember(made).plan.campaigns[0].done == 0


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ((), True),
        ((OPEN,), False),
        ((RUNNING,), False),
        ((FORWARD,), False),
    ],
    ids=["closed", "open", "restated", "forward"],
)
def test_the_ledger_has_a_part_in_what_some_campaigns_declare(made, changes, own):
    if changes:
        made.change(*changes)
    (view,) = made.state_view().views
    assert view.declaration.is_own is own


def test_what_another_campaign_or_another_run_makes_is_not_a_campaigns_own(made):
    other = ONE_STEP.replace("{level: raw}", "{dataset: proc7/reco/mdst}").replace(
        "raw_to_mdst", "mdst_to_udst"
    )
    made.write(
        "productions/campaigns/proc8/campaign.yaml",
        other.replace("outputs: [mdst]", "outputs: [udst]").replace(
            "    parameters: {trigger_mode: all}\n", ""
        ),
    )
    made.lock()
    first, second = (view.declaration for view in made.state_view("proc7", "proc8").views)
    assert (first.is_own, second.is_own) == (True, False)
    (units,) = first.units
    alike = replace(units, inputs=[units.inputs[0]] * len(units.inputs))
    assert not replace(first, units=(alike,)).is_own
    assert replace(first, units=(units, units)).is_own, "two steps read the same"


def test_the_journal_tells_which_runs_it_is_about(made):
    made.change(('"1-2"', '"1-3"'))
    with reading(made.state) as connection:
        before, _ = read_last_entry(connection)
    made.reconcile()
    with reading(made.state) as connection:
        assert find_changed(connection, before) == {"proc7": {run_key(3, 3)}}
        assert find_changed(connection, 0) == {"proc7": {run_key(3, run) for run in (1, 2, 3)}}
        assert find_changed(connection, read_last_entry(connection)[0]) == {}


def test_much_news_is_not_looked_through(made, monkeypatch):
    monkeypatch.setattr("reconciler.ledger.reading.changed_runs.LIMIT", 10)
    with reading(made.state) as connection:
        assert find_changed(connection, 0) is None
