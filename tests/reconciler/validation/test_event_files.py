"""Skims of two datasets that read the same events, compared event by event: the events are read from published files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import uproot
from sqlalchemy import select, update

from ci.cli.exits import Exit
from ci.reports.comparison import format_comparison
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State, opened
from renderer.event_data.event_count import list_events
from renderer.event_data.root_file import InputError
from renderer.skimming import skim
from schemas.manifest.runs import run_key
from tests.support.inputs.skim_jobs import write_job, write_run
from tests.support.inputs.spoiled_files import TOLD, find_file, spoiled
from tests.support.worlds.skim_checkout import FILE, Checkout, write_events

SIZE = 400
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  whole: {cut: "[nTracksLE >= 0]"}
  many: {cut: "[nTracksLE >= 5]"}
"""
CAMPAIGN = """\
schema: campaign/1
title: The same events twice
kind: skim
runs:
  - {experiment: 7, ranges: "1-3"}
site: local
layout: plain
steps:
  base_old: {application: uproot, input: {dataset: old/reco/mdst}, skims: [whole]}
  base_new: {application: uproot, input: {dataset: new/reco/mdst}, skims: [whole]}
  skim_old: {application: uproot, input: {step: base_old, skim: whole}, skims: [many]}
  skim_new: {application: uproot, input: {step: base_new, skim: whole}, skims: [many]}
limits: {max_units: 20, max_restate: 0}
"""
CRITERIA = """\
schema: validation/1
title: Rates
checks:
  retention: {level: 0.01, warn: 0.02, fail: 0.2, min_runs: 1, min_events: 10, paired: true}
  run_retention: {level: 0.01, warn: 0.02, fail: 0.2, min_runs: 1, min_events: 10, paired: true}
"""
OLD, NEW = "seven/base_old/whole", "seven/base_new/whole"


def count_old(_run, events):
    return events % 10


def count_new(_run, events):
    """Of 400 events, 40 are lost that had 5 tracks, and 10 are gained that had 4."""
    moved = np.where(events % 10 == 5, 4.0, events % 10)
    return np.where(events % 40 == 4, 5.0, moved)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("made"), menu=MENU)
    for name, tracks in (("old", count_old), ("new", count_new)):
        for run in (1, 2, 3):
            write_events(checkout.root / name / f"mdst.{run}.root", run, SIZE, "events", tracks)
        words = (checkout.root / name, "--level", "mdst", "--dataset", f"{name}/reco/mdst")
        assert checkout.b2prod("files", "import", *words) == Exit.FINE
    checkout.write(FILE, CAMPAIGN)
    checkout.write("productions/validations/rates.yaml", CRITERIA)
    assert checkout.b2prod("resolve", "seven") == Exit.FINE
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    for _ in range(2):
        assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    return checkout


@pytest.fixture
def call(made, capsys):
    def compare(*words):
        capsys.readouterr()
        code = made.b2prod("compare", *words, "--json")
        printed = capsys.readouterr()
        assert printed.out, printed.err
        told = json.loads(printed.out)
        assert "many" in format_comparison(told, "0" * 64)
        rows = {row["skim"]: row for row in told["results"][0]["rows"]}
        return code, rows, told

    return compare


@pytest.mark.slow
def test_skims_of_the_same_events_are_paired_event_by_event(call):
    code, rows, told = call(NEW, OLD)
    many = rows["many"]
    assert (many["pairing"], many["kept"], many["against"]["kept"]) == ("paired", 510, 600)
    assert (many["alone"], many["against"]["alone"]) == (30, 120)
    assert many["change"] == pytest.approx(-0.15)
    assert many["low"] < -0.15 < many["high"] < 0
    assert many["p"] < 1e-12
    assert (many["verdict"], code) == ("warn", Exit.FINDINGS)
    assert (rows["whole"]["pairing"], rows["whole"]["alone"]) == ("paired", 0)
    by_run = told["results"][1]["rows"]
    assert [(row["run"], row["alone"], row["against"]["alone"]) for row in by_run] == [
        (f"7:{run}", 10, 40) for run in (1, 2, 3)
    ]
    assert told["compared"]["events"] != told["against"]["events"]
    code, turned, _ = call(OLD, NEW)
    assert (turned["many"]["alone"], turned["many"]["p"]) == (120, many["p"])
    assert call(OLD, OLD)[1]["many"]["p"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("how", TOLD)
def test_a_skim_of_which_a_file_is_not_known_is_not_paired_at_all_and_says_why(made, call, how):
    with spoiled(find_file(State(made.state), "skim_old", 2), how):
        _, rows, told = call(NEW, OLD)
    assert (rows["many"]["pairing"], rows["many"]["reason"]) == ("unpaired", f"{OLD}: {TOLD[how]} in 7:2")
    assert "alone" not in rows["many"]
    assert rows["whole"]["pairing"] == "paired"
    assert all(row["pairing"] == "unpaired" for row in told["results"][1]["rows"])
    assert call(NEW, OLD)[1]["many"]["pairing"] == "paired"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"events_read": 401}, "other numbers of events were read in 7:2"),
        ({"events": 199}, f"{OLD}: the files have 200 events, the ledger has 199 in 7:2"),
    ],
)
def test_counts_that_do_not_fit_the_files_are_not_paired(made, call, values, reason):
    chosen = (outputs.c.step == "skim_old", outputs.c.run == 2)
    with opened(State(made.state)) as engine, engine.begin() as connection:
        kept = dict(
            connection.execute(select(*(outputs.c[one] for one in values)).where(*chosen)).one()._mapping
        )
        connection.execute(update(outputs).where(*chosen).values(**values))
    try:
        _, rows, _ = call(NEW, OLD)
    finally:
        with opened(State(made.state)) as engine, engine.begin() as connection:
            connection.execute(update(outputs).where(*chosen).values(**kept))
    assert (rows["many"]["pairing"], rows["many"]["reason"]) == ("unpaired", reason)


def test_the_events_of_an_event_list_of_a_real_file_are_those_that_it_lists(shared_data, tmp_path):
    mdst = shared_data / "belle2" / "mdst" / "mdst.root"
    line = {"line": "software_trigger_cut&skim&accept_hadron"}
    job = write_job([mdst], {"some": line}, 1003, 0)
    report = skim(job, tmp_path)
    assert report["failure"] is None
    assert report["outputs"]["some.root"]["kind"] == "event list"
    with uproot.open(tmp_path / "some.root") as file:
        listed = np.sort(file["events/event"].array(library="np"))
    assert 0 < listed.size < 100
    assert list_events(tmp_path / "some.root", "some.root", run_key(1003, 0)).tolist() == listed.tolist()


def test_events_of_another_run_are_not_taken_for_those_of_this_one(tmp_path):
    run = write_run(tmp_path / "a.root", 5)
    assert list_events(run, "a.root", run_key(3, 529)).tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(InputError, match="event 1 belongs to 3:529"):
        list_events(run, "a.root", run_key(3, 530))
