"""Luminosity by run: how uncertainties add, which values belong together, and the talk's numbers."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select, update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import State, opened, reading
from reconciler.planning.production import read_production
from reconciler.run_catalogue.luminosity import (
    Measurement,
    add_luminosity,
    import_luminosity,
    read_luminosity,
)
from reconciler.run_catalogue.run_import import ImportedRuns
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import swap
from tests.support.worlds.worlds import ONE_STEP, World

RUNS = 6
"""The runs of proc7 here; the talk has 613."""


def make_engine():
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    return engine


def record(engine, where, found):
    with engine.begin() as connection:
        return import_luminosity(connection, where, found)


def total_luminosity(connection, runs):
    return [add_luminosity(where, found, runs) for where, found in read_luminosity(connection, runs).items()]


amounts = st.floats(0, 1e6, allow_nan=False)
uncertainties = st.none() | st.floats(0, 1e3, allow_nan=False)


@given(st.dictionaries(st.integers(1, 20), st.tuples(amounts, uncertainties, uncertainties), min_size=1))
def test_statistical_uncertainties_add_in_quadrature_and_systematic_ones_linearly(values):
    engine = make_engine()
    measured = [Measurement(run_key(3, number), *row) for number, row in values.items()]
    record(engine, ("bhabha", "proc7", ""), measured)
    with engine.connect() as connection:
        (total,) = total_luminosity(connection, [run_key(3, number) for number in range(22)])
    value, statistical, systematic = zip(*values.values(), strict=True)
    assert total.value == pytest.approx(sum(value))
    expected = None if None in statistical else math.sqrt(sum(one**2 for one in statistical))
    assert total.statistical == (expected if expected is None else pytest.approx(expected))
    assert total.systematic == (None if None in systematic else pytest.approx(sum(systematic)))
    assert total.runs == len(values)
    assert set(total.without) == {run_key(3, number) for number in range(22) if number not in values}


def test_values_of_other_methods_versions_and_corrections_are_kept_apart():
    engine = make_engine()
    places = [
        ("bhabha", "prod6", ""),
        ("bhabha", "prod6", "phi"),
        ("bhabha", "proc7", ""),
        ("gg", "prod6", ""),
    ]
    for number, where in enumerate(places):
        record(engine, where, [Measurement(run_key(3, 1), number)])
    with engine.connect() as connection:
        totals = total_luminosity(connection, [run_key(3, 1)])
    assert [(one.method, one.version, one.correction, one.value) for one in totals] == [
        (*where, number) for where, number in sorted(zip(places, range(4), strict=True))
    ]


def produce(root, made):
    """A world of proc7 with `RUNS` runs, of which the first `made` have files and are produced."""
    world = World(root, ('"1-2"', f'"1-{RUNS}"'), campaign=ONE_STEP, files=[1] * made + [0] * (RUNS - made))
    world.templates = load_templates()  # those of the command line
    world.lock()
    world.reconcile()
    return world


class Campaign:
    """proc7 in `root`, and the values that the talk quotes spread over its runs."""

    def __init__(self, root, state):
        self.root, self.state = root, state

    def bring(self, method, version, total, uncertainty=None, *options, runs=range(1, RUNS + 1)):
        """Shares a total in pb⁻¹ among runs, as a list in nb⁻¹."""
        share = 1000 * total / len(runs)
        each = "" if uncertainty is None else 1000 * uncertainty / math.sqrt(len(runs))
        lines = [f"3,{number},{share},{each}" for number in runs]
        file = self.root / "lumi.csv"
        file.write_text("\n".join(["exp,run,lumi,stat", *lines, ""]))
        where = ["--method", method, "--version", version, "--unit", "nb"]
        return run(["--root", str(self.root), "lumi", "import", str(file), *where, *options])

    def ask(self, capsys, *arguments, expected=Exit.FINE):
        """What `lumi` writes: its data, as JSON where that was asked for, and its messages."""
        capsys.readouterr()
        assert run(["--root", str(self.root), "lumi", *arguments]) == expected
        told = capsys.readouterr()
        return json.loads(told.out) if "--json" in arguments else told.out, told.err

    def copy(self, name, *changes):
        """Declares another campaign like this one, stopped and archived, and what it produced, as it was long ago."""
        productions = self.root / "productions"
        shutil.copytree(productions / "campaigns/proc7", productions / f"archive/{name}")
        manifest = productions / f"archive/{name}/campaign.yaml"
        manifest.write_text(swap(manifest.read_text(), ("kind:", "state: stopped\nkind:"), *changes))
        with opened(self.state) as engine, engine.begin() as connection:
            rows = [dict(row._mapping) for row in connection.execute(select(tables.outputs))]
            for row in rows:
                if row["campaign"] == "proc7":
                    del row["id"]
                    connection.execute(
                        insert(tables.outputs),
                        {**row, "campaign": name, "fingerprint": b"old" * 10 + b"%02d" % row["run"]},
                    )

    def forget(self, name, *numbers):
        """Takes outputs of runs away, as if they had never been produced."""
        at = tables.outputs.c.campaign == name, tables.outputs.c.run.in_(numbers)
        with opened(self.state) as engine, engine.begin() as connection:
            connection.execute(update(tables.outputs).where(*at).values(state="abandoned"))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """By how many runs are produced, a world that is copied for each test."""
    return {made: produce(tmp_path_factory.mktemp("world"), made) for made in (0, 4, RUNS)}


@pytest.fixture
def open_campaign(worlds, tmp_path):
    """A campaign of which so many runs are produced."""

    def copy(made):
        shutil.copytree(worlds[made].root, tmp_path / "copy")
        return Campaign(tmp_path / "copy", State(tmp_path / "copy/.b2prod"))

    return copy


@pytest.fixture
def proc7(open_campaign):
    """All six runs are produced."""
    return open_campaign(RUNS)


@pytest.fixture
def begun(open_campaign):
    """Four runs are produced, two wait for files."""
    return open_campaign(4)


@pytest.fixture
def anywhere(tmp_path, database):
    """All six runs are produced, in either kind of database."""
    return Campaign(tmp_path, produce(tmp_path, RUNS).state)


def read_table(text, first=0):
    return [line.split() for line in text.splitlines()[first:]]


def test_the_talks_numbers_of_two_methods_beside_the_predecessors(anywhere, capsys):
    assert anywhere.bring("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert anywhere.bring("gamma_gamma", "proc7", 499.0, 0.6) == Exit.FINE
    assert anywhere.bring("bhabha", "prod6", 479.8) == Exit.FINE
    assert (
        anywhere.bring("bhabha", "prod6", 491.5, None, "--correction", "phi* of the efficiency") == Exit.FINE
    )
    assert anywhere.bring("gamma_gamma", "prod6", 494.9, runs=range(1, RUNS)) == Exit.FINE
    shown, told = anywhere.ask(capsys, "proc7")
    assert shown.splitlines()[0] == "proc7: luminosity of 6 runs produced, of 6 selected"
    head, *rows = read_table(shown, 1)
    assert " ".join(head) == "method version correction produced / pb⁻¹ runs without selected missing"
    assert rows[:2] == [
        ["bhabha", "proc7", "–", "503.50", "±", "0.20", "(stat)", "6", "0", "503.50", "0.00"],
        ["gamma_gamma", "proc7", "–", "499.0", "±", "0.6", "(stat)", "6", "0", "499.0", "0.0"],
    ]
    assert "gamma_gamma prod6: no value for 1 run: 3:6" in told
    shown, told = anywhere.ask(capsys, "proc7", "--versus", "prod6")
    counted = 499.0 * 5 / 6
    assert read_table(shown) == [
        ["method", "correction", "proc7", "/", "pb⁻¹", "prod6", "/", "pb⁻¹", "ratio"],
        ["bhabha", "–", "503.50", "±", "0.20", "(stat)", "479.8", "1.0494"],
        ["bhabha", "phi*", "of", "the", "efficiency", "–", "491.5", "–"],
        ["gamma_gamma", "–", f"{counted:.1f}", "±", "0.5", "(stat)", "494.9", f"{counted / 494.9:.4f}"],
    ]
    assert "gamma_gamma: no value on both sides for 1 run: 3:6; not counted" in told


def test_what_is_produced_counts_and_what_is_selected_and_missing_is_told_beside_it(begun, capsys):
    assert begun.bring("bhabha", "proc7", 600, 0.6) == Exit.FINE
    shown, _ = begun.ask(capsys, "proc7")
    assert shown.splitlines()[0] == "proc7: luminosity of 4 runs produced, of 6 selected, 2 missing: 3:5-6"
    assert read_table(shown, 2) == [
        ["bhabha", "proc7", "–", "400.0", "±", "0.5", "(stat)", "4", "0", "600.0", "200.0"]
    ]
    told, _ = begun.ask(capsys, "proc7", "--json")
    (one,) = told["proc7"]
    assert one["value"] == pytest.approx(400_000)
    assert (one["runs"], one["without"]) == (4, "")
    assert one["selected"]["value"] == pytest.approx(600_000)
    assert (one["missing"]["value"], one["missing"]["runs"]) == (pytest.approx(200_000), 2)
    assert begun.ask(capsys, "proc7/reco", "--json")[0] == {"proc7/reco": told["proc7"]}
    assert "has no step skim; it has reco" in begun.ask(capsys, "proc7/skim", expected=Exit.USAGE)[1]
    assert (
        "there is no campaign proc6 (did you mean proc7?); there are: proc7"
        in begun.ask(capsys, "proc6", expected=Exit.USAGE)[1]
    )


def test_a_campaign_that_produced_nothing_has_no_luminosity_and_not_that_of_its_selection(
    open_campaign, capsys
):
    none = open_campaign(0)
    assert none.bring("bhabha", "proc7", 600, 0.6) == Exit.FINE
    shown, _ = none.ask(capsys, "proc7")
    assert shown.splitlines()[0] == "proc7: luminosity of 0 runs produced, of 6 selected, 6 missing: 3:1-6"
    assert read_table(shown, 2) == [["bhabha", "proc7", "–", "0.0", "0", "0", "600.0", "600.0"]]


def test_a_total_of_runs_without_a_value_is_unknown_and_not_zero(begun, capsys):
    assert begun.bring("bhabha", "proc7", 600, 0.6, runs=range(5, 7)) == Exit.FINE
    shown, told = begun.ask(capsys, "proc7")
    assert read_table(shown, 2) == [["bhabha", "proc7", "–", "–", "0", "4", "600.0", "600.0"]]
    assert "bhabha proc7: no value for 4 runs: 3:1-4" in told
    assert begun.ask(capsys, "proc7", "--json")[0]["proc7"][0]["value"] is None
    assert begun.ask(capsys, "3:1-4", "--json")[0] == {"3:1-4": []}


def test_run_by_run(begun, capsys):
    assert begun.bring("bhabha", "proc7", 500, 0.5, runs=range(1, 6)) == Exit.FINE
    assert begun.bring("bhabha", "online", 3, runs=range(1, 4)) == Exit.FINE
    rows = begun.ask(capsys, "proc7", "--by-run", "--json")[0]["proc7"]
    assert [(row["run"], row["state"], row["version"], row["value"]) for row in rows] == [
        *(
            (f"3:{number}", "produced", *one)
            for number in (1, 2, 3)
            for one in (("proc7", 1e5), ("online", 1e3))
        ),
        ("3:4", "produced", "proc7", 1e5),
        ("3:5", "missing", "proc7", 1e5),
        ("3:6", "missing", "", None),
    ]
    shown, _ = begun.ask(capsys, "proc7", "--by-run", "--unit", "nb")
    assert ["3:5", "missing", "bhabha", "proc7", "–", "100,000", "±", "224", "(stat)"] in read_table(shown)
    assert ["3:6", "missing", "–", "–", "–", "–"] in read_table(shown)
    rows = begun.ask(capsys, "3:4-6", "--by-run", "--json")[0]["3:4-6"]
    assert [(row["run"], row["value"]) for row in rows] == [("3:4", 1e5), ("3:5", 1e5), ("3:6", None)]


def test_two_campaigns_are_compared_over_the_runs_that_both_produced_and_the_others_are_told(proc7, capsys):
    proc7.copy("prod6")
    proc7.forget("prod6", 1)
    proc7.forget("proc7", 6)
    assert proc7.bring("bhabha", "proc7", 600, 0.6) == Exit.FINE
    assert proc7.bring("bhabha", "prod6", 400, runs=range(1, 5)) == Exit.FINE
    shown, told = proc7.ask(capsys, "proc7", "--versus", "prod6")
    assert read_table(shown, 1) == [["bhabha", "–", "300.0", "±", "0.4", "(stat)", "300.0", "1.0000"]]
    assert "proc7 has 1 run: 3:1, and prod6 has not; not counted" in told
    assert "prod6 has 1 run: 3:6, and proc7 has not; not counted" in told
    assert "bhabha: no value on both sides for 1 run: 3:5; not counted" in told
    both, _ = proc7.ask(capsys, "proc7", "--versus", "prod6", "--json")
    assert [(name, one["value"], one["runs"], one["without"]) for name, (one,) in both.items()] == [
        ("proc7", pytest.approx(300_000), 3, "3:1,5"),
        ("prod6", pytest.approx(300_000), 3, "3:5-6"),
    ]
    rows, _ = proc7.ask(capsys, "proc7", "--versus", "prod6", "--by-run", "--json")
    assert [
        (row["run"], *(row["values"][name] is not None for name in ("proc7", "prod6")), row["ratio"])
        for row in rows
    ] == [
        ("3:1", True, False, None),
        *((f"3:{number}", True, True, pytest.approx(1)) for number in (2, 3, 4)),
        ("3:5", True, False, None),
    ]
    shown, _ = proc7.ask(capsys, "proc7", "--versus", "prod6", "--by-run")
    assert read_table(shown)[2][0] == "3:2"


def test_a_campaign_that_is_archived_counts_what_it_produced_whatever_was_changed_since(proc7, capsys):
    proc7.copy("prod6", ("  reco:", "  again:"))
    proc7.forget("prod6", 2)
    assert proc7.bring("bhabha", "prod6", 600) == Exit.FINE
    shown, _ = proc7.ask(capsys, "prod6")
    assert shown.splitlines()[0] == "prod6: luminosity of 5 runs produced, of 6 selected, 1 missing: 3:2"
    shutil.rmtree(proc7.root / "productions/archive/prod6")
    shown, _ = proc7.ask(capsys, "prod6")
    assert shown.splitlines()[0] == "prod6: luminosity of 5 runs produced; which were selected is not known"
    assert read_table(shown, 2) == [["bhabha", "prod6", "–", "500.0", "5", "0", "–", "–"]]


def test_a_version_that_nobody_measured_is_told_with_those_that_there_are(proc7, capsys):
    assert proc7.bring("bhabha", "proc7", 600) == Exit.FINE
    assert proc7.bring("bhabha", "online", 600) == Exit.FINE
    _, told = proc7.ask(capsys, "proc7", "--versus", "prod6")
    assert "these runs have no luminosity of the version prod6; there are: online, proc7" in told


def test_listed_runs_are_shown_by_every_version_beside_one(proc7, capsys):
    for version, total in (("proc7", 600), ("online", 660), ("prod6", 300)):
        assert proc7.bring("bhabha", version, total) == Exit.FINE
    shown, _ = proc7.ask(capsys, "3:1-6", "--versus", "prod6")
    assert read_table(shown, 1) == [
        ["bhabha", "online", "–", "660.0", "300.0", "2.2000"],
        ["bhabha", "proc7", "–", "600.0", "300.0", "2.0000"],
    ]


def test_a_run_counts_once_where_every_output_is_there(tmp_path, capsys):
    world = World(tmp_path)
    world.reconcile()
    world.reconcile()
    assert world.summary() == {"done": 4}
    with opened(world.state) as engine, engine.begin() as connection:
        at = tables.outputs.c.step == "thin", tables.outputs.c.run == 2
        connection.execute(update(tables.outputs).where(*at).values(state="lost"))
    with reading(world.state) as connection:
        production = read_production(connection, world.repository(), "proc7", world.state)
        assert read_production(connection, world.repository(), "proc6", world.state) is None
    one, two = run_key(3, 1), run_key(3, 2)
    assert production.selected == (one, two)
    assert production.steps == ("reco", "thin")
    assert production.list_produced() == production.list_produced("thin") == (one,)
    assert production.list_produced("reco") == (one, two)
    assert production.list_produced("fat") == ()


def test_the_same_list_again_changes_nothing_and_a_shorter_one_is_refused(anywhere, capsys):
    assert anywhere.bring("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert "6 new, 0 changed, 0 unchanged" in capsys.readouterr().err
    assert anywhere.bring("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert "0 new, 0 changed, 6 unchanged" in capsys.readouterr().err
    assert anywhere.bring("bhabha", "proc7", 503.5, 0.2, runs=range(1, RUNS)) == Exit.UNAVAILABLE
    assert "lacks 1 of the 6 runs that it had before: 3:6" in capsys.readouterr().err


def test_a_later_value_takes_the_place_of_the_earlier():
    engine = make_engine()
    where = ("bhabha", "proc7", "")
    record(engine, where, [Measurement(run_key(3, number), 1.0) for number in (1, 2)])
    later = [Measurement(run_key(3, 2), 2.0), Measurement(run_key(3, 3), 3.0)]
    assert record(engine, where, later) == ImportedRuns(new=1, changed=1)
    with engine.connect() as connection:
        assert total_luminosity(connection, [run_key(3, number) for number in (1, 2, 3)])[0].value == 6.0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("3,2,-5,1", "luminosity '-5' is not a number that is 0 or more"),
        ("3,2,nan,1", "luminosity 'nan' is not a number"),
        ("3,2,much,1", "luminosity 'much' is not a number"),
        ("3,2,1,-1", "statistical uncertainty '-1'"),
        ("3,2,1e12,1", "luminosity 1000000000000.0 ± 1.0 ± None nb⁻¹ is beyond what a run can have"),
        ("3,2,1e308,1", "beyond what a run can have"),
        ("3,2,1,inf", "statistical uncertainty 'inf' is not a number"),
        ("3,2,,1", "no luminosity"),
        ("3,x,1,1", "'x' is not a count"),
        ("3,1,2,1", "listed before, differently"),
        ("3,2,1", "3 cells instead of 4"),
    ],
)
def test_a_dirty_line_goes_to_quarantine_and_the_rest_is_taken(tmp_path, capsys, line, why):
    (tmp_path / "productions").mkdir()
    (tmp_path / "lumi.csv").write_text(f"exp,run,lee,leee\n3,1,1,1\n{line}\n3,3,1,1\n")
    call = ["--root", str(tmp_path)]
    where = ["--method", "bhabha", "--version", "proc7", "--unit", "nb"]
    assert run([*call, "lumi", "import", str(tmp_path / "lumi.csv"), *where]) == Exit.FINDINGS
    said = capsys.readouterr().err
    assert "luminosities: 2 new" in said
    assert why in said
    assert run([*call, "runs", "quarantine", "--json"]) == Exit.FINE
    (kept,) = json.loads(capsys.readouterr().out)
    assert (kept["list"], kept["line"], kept["text"]) == ("luminosity bhabha proc7", 3, line)
