"""Which runs a campaign takes: every key of a selector, open selections as runs come in, and why a run is left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import opened, reading
from reconciler.model.run import ENERGIES, QUALITIES, RUN_TYPES, Run
from reconciler.run_catalogue.lists.run_lists import RunList, collect_runs
from reconciler.run_catalogue.run_import import ImportedRuns, import_runs, mark_runs
from reconciler.run_catalogue.run_selection import judge_run, select_runs
from renderer.steering import load_templates
from schemas.json_schema.validation import load_schema
from schemas.manifest.campaign import Selector
from schemas.manifest.runs import RunRange, run_key
from tests.support.worlds.worlds import CAMPAIGN, ONE_STEP, World

CLOSED = '{experiment: 3, ranges: "1-2"}'
OPEN = (CLOSED, "{experiment: 3, from: 1, types: [physics], max_runs: 2}")


def test_the_labels_of_manifests_are_those_of_the_catalogue():
    properties = load_schema("campaign")["$defs"]["selector"]["properties"]
    for key, labels in (("types", RUN_TYPES), ("energies", ENERGIES), ("quality", QUALITIES)):
        assert properties[key]["items"]["enum"] == list(labels)


@pytest.mark.parametrize("experiment", [0, 1002, 1003, 1004])
def test_a_run_of_simulation_has_a_type_of_its_own(tmp_path, experiment):
    (tmp_path / "mc.csv").write_text(
        f"experiment,run,events,type\n{experiment},0,7,\n{experiment},1,7,MC\n{experiment},2,7,debug\n"
    )
    found, refused = collect_runs(RunList(tmp_path / "mc.csv"))
    assert refused == ()
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(tables.runs), {"experiment": experiment, "run": 9, "type": "unknown"})
    assert import_runs(engine, [*found, Run(3, 1), Run(experiment, 9)]) == ImportedRuns(new=4, changed=1)
    assert import_runs(engine, [*found, Run(3, 1), Run(experiment, 9)]) == ImportedRuns(unchanged=5)
    with engine.connect() as connection:
        everything = (RunRange(0, 10),)
        assert select_runs(connection, Selector(experiment, everything, types=("mc",))) == [
            run_key(experiment, run) for run in (0, 1, 9)
        ]
        assert select_runs(connection, Selector(3, everything, types=("mc",))) == []
        assert select_runs(connection, Selector(3, everything, types=("unknown",))) == [run_key(3, 1)]


numbers = st.integers(0, 12)
ranges = st.builds(lambda a, b: RunRange(min(a, b), max(a, b)), numbers, numbers)


def some(labels):
    return st.lists(st.sampled_from(labels[:2]), max_size=1).map(tuple)


days = st.sampled_from(["2019-01-01", "2019-01-02", "2019-01-03"])
selectors = st.builds(
    lambda is_open, first, listed, **rest: Selector(
        3, **({"first": first, "max_runs": 99} if is_open else {"ranges": (listed,)}), **rest
    ),
    st.booleans(),
    numbers,
    ranges,
    exclude=st.lists(ranges, max_size=1).map(tuple),
    types=some(RUN_TYPES),
    energies=some(ENERGIES),
    quality=some(QUALITIES),
    min_events=st.none() | st.integers(1, 9),
    min_minutes=st.none() | st.integers(1, 3),
    until=st.none() | days,
)
rows = st.fixed_dictionaries(
    {
        "type": st.sampled_from(RUN_TYPES[:2]),
        "energy": st.none() | st.sampled_from(ENERGIES[:2]),
        "quality": st.none() | st.sampled_from(QUALITIES[:2]),
        "events": st.none() | st.integers(0, 9),
        "seconds": st.none() | st.integers(0, 200),
        "start": st.none() | days.map(lambda day: f"{day}T12:00:00Z"),
    }
)


@given(selectors, st.dictionaries(numbers, rows, min_size=1))
def test_a_run_is_selected_exactly_if_nothing_is_to_be_said_against_it(selector, found):
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.connect() as connection:
        listed = [{"experiment": 3, "run": number, **row} for number, row in found.items()]
        connection.execute(tables.runs.insert(), listed)
        selected = select_runs(connection, selector)
        every = connection.execute(select(tables.runs)).all()
    assert sorted(selected) == [
        run_key(3, row.run)
        for row in sorted(every, key=lambda row: row.run)
        if not [*judge_run(selector, row)]
    ]


@pytest.mark.usefixtures("database")
def test_an_open_selection_takes_runs_in_the_order_of_their_arrival_up_to_its_cap(tmp_path):
    world = World(tmp_path, OPEN, campaign=ONE_STEP, files=())
    for number in (7, 3, 5):
        world.register_runs([number])
        world.register(number, f"raw.{number}.root")
    late = "max_runs is 2, and that many came before it"
    assert world.groups() == [("submit", "reco", "3:3,7", "not produced"), ("blocked", "reco", "3:5", late)]
    assert world.reconcile().produced == 2
    assert world.groups() == [("blocked", "reco", "3:5", late)]
    world.change(("max_runs: 2", "max_runs: 3"))
    assert world.groups() == [("submit", "reco", "3:5", "not produced")]


@pytest.mark.usefixtures("database")
def test_an_admission_is_never_revoked(tmp_path):
    world = World(tmp_path, OPEN, campaign=ONE_STEP, files=())
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 1, "cosmic"), Run(3, 2, "physics"), Run(3, 3, "physics")])
    world.register(3, "raw.3.root")
    world.reconcile()
    with opened(world.state) as engine:  # what arrived first fits now, what was admitted does no longer
        import_runs(engine, [Run(3, 1, "physics"), Run(3, 2, "debug")])
    groups = {(action, runs) for action, _, runs, _ in world.groups()}
    assert groups == {("waiting", "3:2"), ("blocked", "3:1")}
    assert world.summary()["done"] == 1
    world.change(("from: 1", 'from: 1, exclude: "2"'))  # its author may leave it out
    assert {(action, runs) for action, _, runs, _ in world.groups()} == {("waiting", "3:1")}


def test_a_plan_that_is_only_looked_at_admits_nobody(tmp_path):
    world = World(tmp_path, OPEN, campaign=ONE_STEP, files=())
    world.register_runs([1])
    world.state_view()
    with reading(world.state) as connection:
        assert connection.execute(select(tables.admissions)).all() == []


@pytest.mark.usefixtures("database")
def test_a_run_waits_until_it_has_as_many_files_as_are_declared(tmp_path):
    world = World(tmp_path, campaign=CAMPAIGN, files=(2, 1))
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 1, files=3)])
    assert world.groups() == [
        ("submit", "reco", "3:2", "not produced"),
        ("submit", "thin", "3:2", "not produced"),
        ("waiting", "reco", "3:1", "2 of 3 files are registered"),
        ("waiting", "thin", "3:1", "waits for reco"),
    ]
    world.register(1, "raw.1.2.root")
    assert world.summary() == {"submit": 4}


def test_what_is_registered_is_enough_where_the_manifest_says_so(tmp_path):
    world = World(tmp_path, ("{level: raw}", "{level: raw, complete: registered}"), campaign=ONE_STEP)
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 1, files=3)])
    assert world.summary() == {"submit": 2}


def test_a_run_that_was_made_before_more_files_were_declared_waits_and_is_not_obsolete(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 1, files=3)])
    assert world.groups() == [("waiting", "reco", "3:1", "2 of 3 files are registered")]


def test_files_labelled_beam_and_physics_are_one_unit(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(0, 0))
    world.register(1, "physics.0003.00001.HLT1.f00000.root", "beam.0003.00001.HLT2.f00000.root")
    assert world.groups()[0] == ("submit", "reco", "3:1", "not produced")
    world.reconcile()
    assert [row[1:3] for row in world.produced()] == [("reco", 1)]


LEFT_OUT = [
    (Run(3, 9, "physics"), "it is not in `ranges`"),
    (Run(3, 4, "physics", 100, energy="4S", quality="good"), "it is excluded"),
    (Run(3, 3, "cosmic", 100, energy="4S", quality="good"), "its type is cosmic, not physics or beam"),
    (Run(3, 3, "beam", 100, quality="good"), "its energy is not known"),
    (Run(3, 3, "beam", 100, energy="4S", quality="bad"), "its quality is bad, not good or recoverable"),
    (Run(3, 3, "beam", 5, energy="4S", quality="good"), "it has fewer than 10 events"),
    (Run(3, 3, "beam", None, energy="4S", quality="good"), "its number of events is not known"),
    (Run(3, 3, "beam", 100, energy="4S", quality="good"), "resolve again to take it in"),
    (Run(4, 3, "beam"), "no selection is of experiment 4"),
]


@pytest.mark.parametrize(("left_out", "why"), LEFT_OUT, ids=[why for _, why in LEFT_OUT])
def test_explain_and_status_say_why_a_run_is_left_out(tmp_path, capsys, left_out, why):
    keys = "types: [physics, beam], energies: [4S], quality: [good, recoverable], min_events: 10"
    narrow = f'{{experiment: 3, ranges: "1-5", exclude: "4", {keys}}}'
    taken = [Run(3, number, "physics", 100, energy="4S", quality="good") for number in (1, 2)]
    world = World(tmp_path, campaign=ONE_STEP)
    with opened(world.state) as engine:
        import_runs(engine, taken)
    world.templates = load_templates()
    world.change((CLOSED, narrow))
    with opened(world.state) as engine:
        import_runs(engine, [left_out])
    unit = f"proc7/{left_out.experiment}:{left_out.run}"
    call = ["--root", str(tmp_path)]
    assert run([*call, "explain", unit]) == Exit.FINE
    assert f"reco/{left_out.experiment}:{left_out.run}: not selected: " in (said := capsys.readouterr().out)
    assert why in said
    assert run([*call, "status", "--left-out", "--json"]) == Exit.FINE
    absences = [row for row in json.loads(capsys.readouterr().out) if "left_out" in row]
    assert [why in row["why"] for row in absences] == [True] * (left_out.experiment == 3)


def test_explain_tells_a_run_that_is_not_there_from_one_that_was_removed(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))
    world.templates = load_templates()
    world.lock()
    call = ["--root", str(tmp_path), "explain"]
    assert run([*call, "proc7/3:77"]) == Exit.FINE
    assert "the run catalogue has no such run" in capsys.readouterr().out
    with opened(world.state) as engine:
        mark_runs(engine, [run_key(3, 3)], "a test")
    assert run([*call, "proc7/3:3"]) == Exit.FINE
    assert "it was removed from the run catalogue: a test" in capsys.readouterr().out
