"""Campaigns in any state can be read: what they made, what they took over, and which of their jobs still run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.reading.heads import read_heads
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from reconciler.planning.production import read_production, read_stopped
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from tests.support.worlds.worlds import ONE_STEP, World, make_work_item

STOP = ("title:", "state: stopped\ntitle:")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs that proc7 produced, and a third one that nobody selected."""
    world = World(tmp_path_factory.mktemp("world"), campaign=ONE_STEP, files=(2, 1, 1))
    world.templates = load_templates()  # those of the command line
    world.lock()
    world.reconcile()
    return world


@pytest.fixture
def world(made, tmp_path):
    """A copy that a test may change."""
    copied = object.__new__(World)
    copied.__dict__.update(made.__dict__)
    copied.root = tmp_path / "copy"
    copied.state = replace(made.state, folder=copied.root / ".b2prod")
    shutil.copytree(made.root, copied.root)
    with opened(copied.state) as engine, engine.begin() as connection:
        connection.execute(update(outputs).values(storage=str(copied.state.storage("data"))))
    return copied


def call(world, capsys, *words, expected=Exit.FINE):
    capsys.readouterr()
    assert run(["--root", str(world.root), *words]) == expected, capsys.readouterr().err
    told = capsys.readouterr()
    return (json.loads(told.out) if "--json" in words else told.out), told.err


def stop(world):
    world.change(STOP, lock=False)


def archive(world):
    stop(world)
    (world.root / "productions/archive").mkdir()
    shutil.move(world.root / "productions/campaigns/proc7", world.root / "productions/archive/proc7")


def render(world, capsys, folder):
    call(world, capsys, "render", "proc7", "-o", str(world.root / folder))
    files = (world.root / folder).rglob("*")
    return {file.name: file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize("move", [stop, archive])
def test_what_ended_is_rendered_and_explained_as_when_it_was_live(world, capsys, move):
    before = render(world, capsys, "before")
    (live,) = call(world, capsys, "explain", "proc7/3:1", "--json")[0]
    move(world)
    assert render(world, capsys, "after") == before
    (unit,) = call(world, capsys, "explain", "proc7/3:1", "--json")[0]
    for key in ("unit", "state", "history", "made_with"):
        assert unit[key] == live[key]
    (unit,) = call(world, capsys, "explain", "proc7/3:3", "--json")[0]
    assert unit["state"] == "not selected: it is not in `ranges`"
    (row,) = call(world, capsys, "status", "proc7", "--json")[0]
    assert (row["state"], row["units"], row["done"]) == ("stopped", 2, 2)
    assert (
        "has no step thin; it has reco"
        in call(world, capsys, "explain", "proc7/thin/3:1", expected=Exit.USAGE)[1]
    )


def test_what_moved_since_a_stopped_campaign_was_locked_is_told(world, capsys):
    world.change(STOP, ("release: release-03-00-00", "release: release-03-00-01"), lock=False)
    assert (
        "proc7 is stopped, and this is not all as it was when it was locked"
        in call(world, capsys, "render", "proc7")[1]
    )


def test_a_run_that_a_stopped_campaign_never_made_is_explained(world, capsys):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(outputs).where(outputs.c.run == 2).values(state="abandoned"))
    stop(world)
    (unit,) = call(world, capsys, "explain", "proc7/3:2", "--json")[0]
    assert unit["state"].startswith("not produced, and proc7 is stopped; the last attempt, ")
    (row,) = call(world, capsys, "status", "proc7", "--json")[0]
    assert (row["units"], row["done"]) == (2, 1)


def test_a_stopped_campaign_takes_in_no_more_runs(world):
    world.change(('ranges: "1-2"', "from: 1, max_runs: 9"), lock=True)
    assert len(world.state_view().views[0].entrants) == 3
    stop(world)
    with reading(world.state) as connection:
        (units,) = read_stopped(connection, world.repository(), "proc7", world.state).units
    assert not units.runs, "none was taken in before it ended"


def repeat(world, *changes):
    """Declares proc8, which is like proc7."""
    world.write(
        "productions/campaigns/proc8/campaign.yaml", ONE_STEP.replace("title:", "supersedes: [proc7]\ntitle:")
    )
    world.lock()
    if changes:
        world.change(*changes, campaign="proc8", lock=False)


@pytest.mark.parametrize("changes", [(), (STOP,)], ids=["live", "stopped"])
def test_what_was_taken_over_counts_and_is_told(world, capsys, changes):
    repeat(world, *changes)
    row = call(world, capsys, "status", "proc8", "--json")[0][0]
    assert (row["units"], row["done"], row["taken_over"]) == (2, 2, {"proc7/reco": 2})
    assert "proc8/reco: 2 units taken over from proc7/reco" in call(world, capsys, "status", "proc8")[0]
    (unit,) = call(world, capsys, "explain", "proc8/3:1", "--json")[0]
    assert unit["state"] == "done: taken over from proc7/reco"
    assert [one["taken_over_from"] for one in unit["history"]] == ["proc7/reco"]
    assert "taken over from proc7/reco" in call(world, capsys, "explain", "proc8/3:1")[0]
    rates, told = call(world, capsys, "retention", "proc8", "--json")
    assert rates == call(world, capsys, "retention", "proc7", "--json")[0]
    assert "proc8/reco/mdst: 2 runs taken over from proc7/reco" in told
    assert "luminosity of 2 runs produced, of 2 selected" in call(world, capsys, "lumi", "proc8")[0]
    (checked,) = call(world, capsys, "verify", "proc8", "--json", "--processes", "1", expected=Exit.FINDINGS)[
        0
    ]
    assert checked["files"] == 3


def test_who_reuses_nothing_took_nothing_over(world):
    repeat(world, ("title:", "reuse: never\ntitle:"))
    world.lock()
    with reading(world.state) as connection:
        production = read_production(connection, world.repository(), "proc8", world.state)
    assert (production.list_produced(), production.heads) == ((), ())


def test_where_it_is_not_known_what_was_taken_over_that_is_told(world, capsys):
    repeat(world, STOP)
    (world.root / "productions/campaigns/proc8/campaign.lock").unlink()
    for words in (("retention", "proc8"), ("explain", "proc8/3:1"), ("status", "proc8")):
        told = call(world, capsys, *words)[1]
        assert "what proc8 took over from other campaigns is not known: " in told
        assert "it has no lock" in told


def test_what_was_made_under_the_former_name_of_a_step_counts_once_and_is_no_others(world):
    with reading(world.state) as connection:
        before = read_heads(connection, "proc7")
    world.change(("  reco:", "  again:"))
    with reading(world.state) as connection:
        production = read_production(connection, world.repository(), "proc7", world.state)
    assert production.list_produced("again") == (run_key(3, 1), run_key(3, 2))
    assert sorted(head.number for head in production.heads) == sorted(head.number for head in before)
    assert {(head.step, head.maker) for head in production.heads} == {("reco", None)}


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ("stopped", stop),
        ("not declared any more", lambda world: shutil.rmtree(world.root / "productions/campaigns/proc7")),
    ],
)
def test_jobs_of_a_campaign_that_ended_are_shown_until_they_end(world, capsys, state, end):
    item = replace(make_work_item(world), storage=str(world.state.storage("data")), run=run_key(3, 2))
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(outputs).where(outputs.c.run == 2).values(state="abandoned"))
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        ledger = Ledger(writer)
        ledger.begin_plan("a plan", {})
        (begun,) = ledger.intend([item])
        attempts = AttemptLedger(writer)
        made = [attempt.id for attempt, _ in attempts.begin(begun.split())]
    world.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP.replace(*STOP))
    end(world)
    row, *health = call(world, capsys, "status", "--json")[0]
    assert (row["campaign"], row["state"], row["in flight"]) == ("proc7", state, 1)
    assert [one["reason"] for one in health] == [
        f"{len(made)} job{'s' * (len(made) > 1)} under way to the end, and nothing new begins"
    ]
    with opened(world.state) as engine:
        AttemptLedger(Writer(engine, None)).ask_end(made, "the end")
    assert "being ended: the end" in call(world, capsys, "status")[0]
    with opened(world.state) as engine:
        AttemptLedger(Writer(engine, None)).record_deferred(made, "over")
    assert call(world, capsys, "status", "--json")[0] == []
