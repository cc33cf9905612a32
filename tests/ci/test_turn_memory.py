"""A turn of `reconcile --watch` in which nothing moved costs the same, whatever the size."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event

from ci.approvals.gate import Gate
from ci.changes.project import Project
from ci.changes.turn_memory import TurnMemory
from ci.cli.exits import WrongUse
from ci.verbs.operation import reconcile as verb
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.store.database import State, opened
from reconciler.run_catalogue.run_import import mark_runs
from reconciler.sources.watch import SourceWatch
from renderer.steering import load_templates
from schemas import repository
from schemas.manifest.runs import run_key
from tests.bench.watching import prepare_checkout
from tests.support.worlds.worlds import ONE_STEP, World


class Watched:
    """A watching process with a checkout of a campaign of `count` runs, all of them produced."""

    def __init__(self, folder, count):
        self.project = prepare_checkout(folder, count)
        self.sources, self.memory = SourceWatch(self.project.state), TurnMemory()

    def turn(self):
        seen = []
        options = TurnOptions(bound=20.0)
        _, trouble = verb._turn(self.project, (), options, seen.append, self.sources, self.memory)
        assert trouble == []
        return seen[-1]


def count_work(monkeypatch, work):
    """The instructions that SQLite executes, in tens, and the calls that read a repository."""
    steps, calls = [0], []
    read = repository.read_repository

    def count():
        steps[0] += 1

    def watch(connection, _):
        connection.set_progress_handler(count, 10)

    event.listen(Engine, "connect", watch)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("ci.changes.project.read_repository", lambda *some: calls.append(1) or read(*some))
            work()
    finally:
        event.remove(Engine, "connect", watch)
    return steps[0], len(calls)


def test_a_turn_in_which_nothing_moved_looks_at_as_much_for_two_thousand_runs_as_for_ten(
    tmp_path, monkeypatch
):
    quiet, first = [], []
    for count in (10, 2000):
        watched = Watched(tmp_path / str(count), count)
        first.append(count_work(monkeypatch, watched.turn))
        watched.turn()
        quiet.append(count_work(monkeypatch, watched.turn))
        assert watched.turn().plan.campaigns[0].done == count
    assert [calls for _, calls in quiet] == [0, 0]
    assert first[1][0] > 5 * quiet[1][0], "the handler counts"
    assert quiet[1][0] < 1.1 * quiet[0][0]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, campaign=ONE_STEP)
    made.templates = load_templates()
    made.lock()
    return made


def test_the_same_files_are_read_once_and_others_anew(world):
    project, memory = Project(world.root, world.state), TurnMemory()
    first = memory.load(project, ())
    assert first.chosen == ("proc7",)
    assert memory.load(project, ()) is first
    assert memory.load(project, ("proc7",)) is not first, "other names"
    world.change(("title: A campaign", "title: Another campaign"))
    again = memory.load(project, ())
    assert again.repository.campaigns["proc7"].campaign.title.startswith("Another")
    with pytest.raises(WrongUse):
        memory.load(project, ("proc9",))
    assert memory.load(project, ()).chosen == ("proc7",), "what was refused is not kept"


def test_a_lock_is_proven_again_when_the_catalogue_moved(world):
    project, memory = Project(world.root, world.state), TurnMemory()
    choice = memory.load(project, ())

    def sort():
        return Gate(project, choice.repository, proofs=memory.proofs).sort(choice.chosen)[1]

    assert sort() == {}
    assert len(memory.proofs) == 1
    with opened(State(world.state.folder)) as engine:
        mark_runs(engine, [run_key(3, 1)], "bad")
    sort()
    assert len(memory.proofs) == 2
