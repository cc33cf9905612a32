"""Luminosity by run: how uncertainties add, which values belong together, and the talk's numbers."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from ci.cli import run
from ci.exits import Exit
from reconciler.ledger import tables
from reconciler.runs.importing import Imported
from reconciler.runs.luminosity import Measurement, import_luminosity, total_luminosity
from renderer.steering import load_templates
from schemas.runs import run_key
from tests.worlds import ONE_STEP, World

RUNS = 613
"""The runs of proc7."""


def make_engine():
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    return engine


amounts = st.floats(0, 1e6, allow_nan=False)
uncertainties = st.none() | st.floats(0, 1e3, allow_nan=False)


@given(st.dictionaries(st.integers(1, 20), st.tuples(amounts, uncertainties, uncertainties), min_size=1))
def test_statistical_uncertainties_add_in_quadrature_and_systematic_ones_linearly(values):
    engine = make_engine()
    measured = [Measurement(run_key(3, number), *row) for number, row in values.items()]
    import_luminosity(engine, ("bhabha", "proc7", ""), measured)
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
        import_luminosity(engine, where, [Measurement(run_key(3, 1), number)])
    with engine.connect() as connection:
        totals = total_luminosity(connection, [run_key(3, 1)])
    assert [(one.method, one.version, one.correction, one.value) for one in totals] == [
        (*where, number) for where, number in sorted(zip(places, range(4), strict=True))
    ]


@pytest.fixture
def proc7(tmp_path, monkeypatch, database):
    """The campaign with its 613 runs, and the values that the talk quotes, spread over them."""
    world = World(
        tmp_path, ('"1-2"', f'"1-{RUNS}"'), ("max_units: 100", "max_units: 1000"), campaign=ONE_STEP
    )
    world.register_runs(range(1, RUNS + 1))
    world.templates = load_templates()
    world.lock()
    monkeypatch.chdir(tmp_path)

    def bring(method, version, total, uncertainty=None, *options, runs=range(1, RUNS + 1)):
        """Shares a total in pb⁻¹ among runs, as a list in nb⁻¹."""
        share = 1000 * total / len(runs)
        each = "" if uncertainty is None else 1000 * uncertainty / math.sqrt(len(runs))
        lines = [f"3,{number},{share},{each}" for number in runs]
        (tmp_path / "lumi.csv").write_text("\n".join(["exp,run,lumi,stat", *lines, ""]))
        where = ["--method", method, "--version", version, "--unit", "nb"]
        return run(["lumi", "import", "lumi.csv", *where, *options])

    return bring


def test_the_talks_numbers_of_two_methods_beside_the_predecessors(proc7, capsys):
    assert proc7("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert proc7("gamma_gamma", "proc7", 499.0, 0.6) == Exit.FINE
    assert proc7("bhabha", "prod6", 479.8) == Exit.FINE
    assert proc7("bhabha", "prod6", 491.5, None, "--correction", "phi* of the efficiency") == Exit.FINE
    assert proc7("gamma_gamma", "prod6", 494.9, runs=range(1, RUNS)) == Exit.FINE
    capsys.readouterr()
    assert run(["lumi", "proc7"]) == Exit.FINE
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()[:4]] == [
        ["proc7:", "luminosity", "of", "613", "runs"],
        ["method", "version", "correction", "pb⁻¹", "runs", "without"],
        ["bhabha", "proc7", "–", "503.50", "±", "0.20", "(stat)", "613", "0"],
        ["gamma_gamma", "proc7", "–", "499.0", "±", "0.6", "(stat)", "613", "0"],
    ]
    assert "gamma_gamma prod6: no value for 1 run: 3:613" in shown.err
    assert run(["lumi", "proc7", "--versus", "prod6"]) == Exit.FINE
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["method", "correction", "proc7", "/", "pb⁻¹", "prod6", "/", "pb⁻¹", "ratio"],
        ["bhabha", "–", "503.50", "±", "0.20", "(stat)", "479.8", "1.0494"],
        ["bhabha", "phi*", "of", "the", "efficiency", "–", "491.5", "–"],
        ["gamma_gamma", "–", "499.0", "±", "0.6", "(stat)", "494.9", "1.0083"],
    ]


def test_a_campaign_that_is_finished_is_shown_beside_another(proc7, tmp_path, capsys):
    folder = tmp_path / "productions"
    (folder / "archive").mkdir()
    shutil.copytree(folder / "campaigns/proc7", folder / "campaigns/prod6")
    manifest = folder / "campaigns/prod6/campaign.yaml"
    manifest.write_text(manifest.read_text().replace("kind:", "state: stopped\nkind:"))
    (folder / "campaigns/prod6/campaign.lock").unlink()
    assert run(["resolve", "prod6"]) == Exit.FINE
    (folder / "campaigns/prod6").rename(folder / "archive/prod6")
    assert proc7("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert proc7("bhabha", "prod6", 479.8) == Exit.FINE
    capsys.readouterr()
    assert run(["lumi", "proc7", "--versus", "prod6"]) == Exit.FINE
    assert "479.8" in capsys.readouterr().out


def test_the_same_list_again_changes_nothing_and_a_shorter_one_is_refused(proc7, capsys):
    assert proc7("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert "613 new, 0 changed, 0 unchanged" in capsys.readouterr().err
    assert proc7("bhabha", "proc7", 503.5, 0.2) == Exit.FINE
    assert "0 new, 0 changed, 613 unchanged" in capsys.readouterr().err
    assert proc7("bhabha", "proc7", 503.5, 0.2, runs=range(1, RUNS)) == Exit.UNAVAILABLE
    assert "lacks 1 of the 613 runs that it had before: 3:613" in capsys.readouterr().err


def test_a_later_value_takes_the_place_of_the_earlier():
    engine = make_engine()
    where = ("bhabha", "proc7", "")
    import_luminosity(engine, where, [Measurement(run_key(3, number), 1.0) for number in (1, 2)])
    later = [Measurement(run_key(3, 2), 2.0), Measurement(run_key(3, 3), 3.0)]
    assert import_luminosity(engine, where, later) == Imported(new=1, changed=1)
    with engine.connect() as connection:
        assert total_luminosity(connection, [run_key(3, number) for number in (1, 2, 3)])[0].value == 6.0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("3,2,-5,1", "luminosity '-5' is no number that is 0 or more"),
        ("3,2,nan,1", "luminosity 'nan' is no number"),
        ("3,2,much,1", "luminosity 'much' is no number"),
        ("3,2,1,-1", "statistical uncertainty '-1'"),
        ("3,2,,1", "no luminosity"),
        ("3,x,1,1", "'x' is no count"),
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
