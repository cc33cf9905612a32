"""Histograms by a step: planned, made, verified, restated and found again as any output; of real files too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from sqlalchemy import select

from ci.cli.exits import Exit
from reconciler.ledger.schema.tables import outputs, products
from reconciler.ledger.store.database import State, reading
from tests.support.worlds.skim_checkout import FILE, Checkout

HOUSE = Path(__file__).parents[3]
TRACKING = "productions/validations/tracking.yaml"
WORDS = "productions/validations/words.yaml"
QUANTITIES = """\
schema: validation/1
title: Words
quantities:
  tracks:
    title: Tracks
    expression: nTracksLE
    bins: {number: 5, low: 0, high: 5}
    per: event
    shown_to: shifter
"""
STEPS = """
  shapes:
    application: uproot
    input: {step: skims, skim: many}
    validation: words"""


def read_made(checkout):
    """(step, output, version) → the paths of the newest files, and what the ledger says of them."""
    with reading(State(checkout.root / ".b2prod")) as connection:
        query = select(
            outputs.c.step,
            outputs.c.output,
            outputs.c.run,
            outputs.c.version,
            outputs.c.storage,
            outputs.c.folder,
            products.c.path,
            products.c.kind,
            products.c.events,
        ).join(outputs, outputs.c.id == products.c.output)
        return connection.execute(query.order_by(outputs.c.id, products.c.path)).all()


def write_list(path, rows):
    path.write_text(json.dumps(rows))
    return path


def locate(row):
    return Path(row.storage, row.folder, row.path)


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.write(WORDS, QUANTITIES)
    made.declare("many", more=STEPS)
    assert made.b2prod("check") == Exit.FINE
    assert made.b2prod("resolve", "seven") == Exit.FINE
    assert made.b2prod("trust", "pin") == Exit.FINE
    return made


@pytest.mark.slow
def test_histograms_of_a_skim_are_made_after_it_and_restated_alone(checkout, capsys):
    assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    rows = [row for row in read_made(checkout) if row.step == "shapes"]
    assert sorted({row.output for row in rows}) == ["histograms", "histograms_json"]
    assert len(rows) == 6
    assert {(row.kind, row.events) for row in rows} == {("histograms", None)}
    for row in rows:
        if row.output == "histograms":
            with uproot.open(locate(row)) as file:
                assert file["tracks"].values(flow=True).tolist() == [0, 0, 0, 0, 1, 1, 0]
        else:
            said = json.loads(locate(row).read_text())
            assert said["run"] == row.run
            assert said["quantities"]["tracks"]["counts"] == [0, 0, 0, 1, 1]
    assert checkout.b2prod("plan", "--exit-code") == Exit.FINE
    assert checkout.b2prod("verify", "seven") == Exit.FINE

    capsys.readouterr()
    assert checkout.b2prod("retention", "seven", "--json") == Exit.FINE
    told = capsys.readouterr()
    assert [row["output"] for row in json.loads(told.out)] == ["many"]
    assert "not counted" not in told.err
    assert checkout.b2prod("explain", "seven/shapes/7:1") == Exit.FINE
    assert "events 2\n" in capsys.readouterr().out

    # what is for people restates nothing; a bin restates this step alone
    told = QUANTITIES.replace("title: Tracks", "title: Other words").replace("shifter", "expert")
    checkout.write(WORDS, told)
    assert checkout.b2prod("resolve", "seven", "--check") == Exit.FINE
    assert checkout.b2prod("plan", "--exit-code") == Exit.FINE
    checkout.write(WORDS, told.replace("number: 5", "number: 10"))
    assert checkout.b2prod("resolve", "seven", "--check") != Exit.FINE
    assert checkout.b2prod("resolve", "seven") == Exit.FINE
    capsys.readouterr()
    assert checkout.b2prod("plan", "--format", "json") == Exit.FINE
    (planned,) = json.loads(capsys.readouterr().out)["campaigns"]
    (group,) = planned["groups"]
    assert (group["action"], group["step"], group["units"]) == ("restate", "shapes", 3)
    assert group["reason"] == "bins changed"
    assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    newest = [row for row in read_made(checkout) if row.output == "histograms_json" and row.version == 2]
    assert len(newest) == 3
    assert len(json.loads(locate(newest[0]).read_text())["quantities"]["tracks"]["counts"]) == 10
    assert {row.version for row in read_made(checkout) if row.step == "skims"} == {1}


@pytest.mark.slow
def test_a_lost_ledger_finds_histograms_again(checkout):
    for _ in range(2):
        assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    before = {(row.step, row.output, row.run, row.kind) for row in read_made(checkout)}
    assert len(before) == 9
    for file in checkout.state.glob("b2prod.sqlite*"):
        file.unlink()
    assert checkout.b2prod("runs", "import", checkout.root / "runs.json") == Exit.FINE
    assert checkout.b2prod("files", "import", checkout.root / "in", "--level", "mdst") == Exit.FINE
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    assert checkout.b2prod("state", "rebuild") == Exit.FINE
    assert {(row.step, row.output, row.run, row.kind) for row in read_made(checkout)} == before
    assert checkout.b2prod("plan", "--exit-code") == Exit.FINE


@pytest.mark.slow
def test_real_files_through_the_whole_loop(tmp_path, shared_data):
    campaign = """\
schema: campaign/1
title: Real files
kind: skim
runs:
  - {experiment: 1, ranges: "0"}
  - {experiment: 1003, ranges: "0"}
site: local
layout: plain
steps:
  validate: {application: uproot, input: {level: mdst}, validation: tracking}
limits: {max_units: 20, max_restate: 0}
"""
    checkout = Checkout(tmp_path)
    (tmp_path / FILE).unlink()
    checkout.write("productions/campaigns/real/campaign.yaml", campaign)
    checkout.write(TRACKING, (HOUSE / TRACKING).read_text())
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    folder = shared_data / "belle2" / "mdst"
    runs = [{"experiment": experiment, "run": 0} for experiment in (1, 1003)]
    assert checkout.b2prod("runs", "import", write_list(tmp_path / "real-runs.json", runs)) == Exit.FINE
    files = [
        {"path": str(folder / "mdst.root")},
        {"path": str(folder / "chaintest_empty.root"), "experiment": 1, "run": 0},
    ]
    listed = write_list(tmp_path / "real-files.json", files)
    assert checkout.b2prod("files", "import", listed, "--level", "mdst") == Exit.FINE
    assert checkout.b2prod("resolve", "real") == Exit.FINE
    assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    assert checkout.b2prod("plan", "--exit-code") == Exit.FINE
    assert checkout.b2prod("verify", "real") == Exit.FINE
    known = json.loads((folder / "uproot_summary.json").read_text())["mdst.root"]
    rows = read_made(checkout)
    assert {row.path for row in rows if row.output == "histograms"} == {
        "histograms.0001.00000.root",
        "histograms.1003.00000.root",
    }
    found = {}
    for row in rows:
        if row.output == "histograms_json":
            said = json.loads(locate(row).read_text())
            found[said["experiment"]] = said
    assert (
        found[1003]["quantities"]["tracks"]["counts"] == np.bincount(known["tracks"], minlength=30).tolist()
    )
    assert (found[1003]["events"], found[1]["events"]) == (100, 0)
    assert found[1]["quantities"].keys() == found[1003]["quantities"].keys()
    assert sum(found[1]["quantities"]["tracks"]["counts"]) == 0


def test_a_branch_that_files_lack_is_a_finding_before_any_job(checkout, capsys):
    text = (checkout.root / FILE).read_text()
    checkout.write(FILE, text.replace("{step: skims, skim: many}", "{level: mdst}"))
    checkout.write(WORDS, QUANTITIES.replace("nTracksLE", "nTrackLE"))
    capsys.readouterr()
    assert checkout.b2prod("resolve", "seven") == Exit.FINDINGS
    told = capsys.readouterr()
    assert "BP408" in told.out + told.err
    assert "has no branch nTrackLE; nearest: nTracksLE" in told.out + told.err


def test_a_broken_validation_stops_the_campaigns_that_use_it(checkout, capsys):
    checkout.write(WORDS, QUANTITIES.replace("nTracksLE", "nTracksLE >"))
    capsys.readouterr()
    assert checkout.b2prod("plan") == Exit.FINDINGS
    assert "BP516" in capsys.readouterr().err
