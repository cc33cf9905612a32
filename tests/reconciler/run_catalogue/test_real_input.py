"""Real files through the whole loop: Belle II's mdst with stored HLT decisions, CMS collisions with a cut."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import uproot
from sqlalchemy import select

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema.tables import outputs, products
from reconciler.ledger.store.database import State, reading
from tests.support.worlds.builders import LAYOUTS, RELEASES, ROOT, SITE

LINES = {
    "before": ("software_trigger_cut&filter&ge1_tight_track", "before_prescale"),
    "final": ("software_trigger_cut&filter&ge1_tight_track", "final"),
    "total": ("software_trigger_cut&all&total_result", "final"),
}
PLACES = {
    "mdst.root": ("mdst", 1003, 0),
    "mdst_with_muid.root": ("cdst", 1003, 0),
    "150_noBKG_DtoPiNuNu.root": ("mdst", 0, 0),
    "mdst-v06-00-00.root": ("cdst", 0, 0),
    "mdst-v05-00-00.root": ("dst", 0, 0),
    "chaintest_empty.root": ("mdst", 1, 0),
}
"""Where the files belong: level, experiment, run. Several have events of the same numbers, and simulated events of one run
that do not come from one production have nothing in common: here they are of other levels, each with a step of its own."""
LEVELS = ("mdst", "cdst", "dst")


class Checkout:
    """A scratch checkout, used through the command line."""

    def __init__(self, root, campaign, menu):
        self.root = root
        files = {
            **ROOT,
            "layouts.yaml": LAYOUTS,
            "releases.yaml": RELEASES,
            "sites/local.yaml": SITE,
            "skims/menu.yaml": menu,
            "campaigns/real/campaign.yaml": campaign,
        }
        for name, text in files.items():
            path = root / "productions" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert self.b2prod("trust", "pin") == Exit.FINE

    def b2prod(self, *arguments):
        return run(["--root", str(self.root), *map(str, arguments)])

    def write_list(self, name, rows):
        path = self.root / name
        path.write_text(json.dumps(rows))
        return path


@pytest.fixture
def belle2(tmp_path, shared_data):
    """The real mdst files, registered, with a campaign that skims them by stored decisions."""
    menu = "schema: skims/1\ntitle: Stored lines\nprovenance: HLT menus in the files\n"
    menu += "holds_for: {runs: [always]}\nskims:\n"
    for name, (line, decision) in LINES.items():
        menu += f"  {name}: {{line: {line}, decision: {decision}}}\n"
    steps = "\n".join(
        f"  {level}: {{application: uproot, input: {{level: {level}}}, skims: [{', '.join(LINES)}], split: file}}"
        for level in LEVELS
    )
    campaign = f"""\
schema: campaign/1
title: Real files, stored decisions
kind: skim
runs:
  - {{experiment: 0, ranges: "0"}}
  - {{experiment: 1, ranges: "0"}}
  - {{experiment: 1003, ranges: "0"}}
site: local
layout: plain
steps:
{steps}
limits: {{max_units: 20, max_restate: 0}}
"""
    checkout = Checkout(tmp_path, campaign, menu)
    runs = [{"experiment": one, "run": run} for one, run in sorted({place[1:] for place in PLACES.values()})]
    folder = shared_data / "belle2" / "mdst"
    alone = {"chaintest_empty.root": {"experiment": 1, "run": 0}}  # it holds no event that would say so
    assert checkout.b2prod("runs", "import", checkout.write_list("runs.json", runs)) == Exit.FINE
    for level in LEVELS:
        names = [name for name, place in PLACES.items() if place[0] == level]
        rows = checkout.write_list(
            "files.json", [{"path": str(folder / name), **alone.get(name, {})} for name in names]
        )
        assert checkout.b2prod("files", "import", rows, "--level", level) == Exit.FINE
    assert checkout.b2prod("resolve", "real") == Exit.FINE
    return checkout


@pytest.mark.slow
def test_stored_decisions_of_real_files(belle2, shared_data, capsys):
    assert belle2.b2prod("reconcile", "--once") == Exit.FINE
    assert "6 units produced" in capsys.readouterr().err

    summary = json.loads((shared_data / "belle2" / "mdst" / "uproot_summary.json").read_text())
    with reading(State(belle2.root / ".b2prod")) as connection:
        query = select(
            outputs.c.output, products.c.path, products.c.events, outputs.c.storage, outputs.c.folder
        )
        rows = connection.execute(query.join(outputs, outputs.c.id == products.c.output)).all()
    made = {path.removeprefix(f"{output}.") for output, path, *_ in rows}
    assert made == PLACES.keys()
    assert len(rows) == len(made) * len(LINES)
    assert sum(row.events for row in rows) > 300, "something was accepted"
    for output, path, events, storage, folder in rows:
        line, decision = LINES[output]
        name = path.removeprefix(f"{output}.")
        facts = summary[name]
        accepted = facts.get(
            "hlt_accepted_before_prescale" if decision == "before_prescale" else "hlt_accepted"
        )
        # A line that is missing from a file with events is an error here, never an expected zero.
        expected = accepted[line] if facts["entries"] else 0
        assert events == expected, (name, output)
        with uproot.open(f"{storage}/{folder}/{path}") as file:
            assert file["events"].num_entries == expected
    assert belle2.b2prod("explain", "real/mdst/1:0", "--json") == Exit.FINE
    (unit,) = json.loads(capsys.readouterr().out)
    assert {(item["events"], item["events_read"]) for item in unit["history"]} == {(0, 0)}, "a correct zero"


@pytest.fixture
def cms(tmp_path, shared_data):
    """CMS's Z → ee candidates of 2011, a ROOT file for each run, registered."""
    with (shared_data / "cms" / "events" / "Zee_Run2011A.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    runs = np.array([int(row["Run"]) for row in rows])
    (tmp_path / "events").mkdir()
    for number in np.unique(runs):
        chosen = [row for row, mine in zip(rows, runs == number, strict=True) if mine]
        columns = {
            "experiment": np.full(len(chosen), 11, dtype=np.int32),
            "run": np.full(len(chosen), number, dtype=np.int32),
            "event": np.array([int(row["Event"]) for row in chosen], dtype=np.int64),
            **{name: np.array([float(row[name]) for row in chosen]) for name in ("pt1", "pt2", "Q1", "Q2")},
        }
        with uproot.recreate(tmp_path / "events" / f"Zee.{number}.root") as file:
            file.mktree("events", {name: column.dtype for name, column in columns.items()})
            file["events"].extend(columns)
    menu = """\
schema: skims/1
title: Z to ee
provenance: CMS open data
skims:
  zee: {cut: "[pt1 > 30] and [pt2 > 30] and [Q1*Q2 < 0]"}
"""
    campaign = f"""\
schema: campaign/1
title: CMS collisions of 2011
kind: skim
runs: [{{experiment: 11, ranges: "{runs.min()}-{runs.max()}"}}]
site: local
layout: plain
steps:
  skims: {{application: uproot, input: {{level: ntuple}}, skims: [zee]}}
limits: {{max_units: 65, max_restate: 0}}
"""
    checkout = Checkout(tmp_path, campaign, menu)
    listed = [{"experiment": 11, "run": int(number), "type": "physics"} for number in np.unique(runs)]
    assert checkout.b2prod("runs", "import", checkout.write_list("runs.json", listed)) == Exit.FINE
    assert checkout.b2prod("files", "import", tmp_path / "events", "--level", "ntuple") == Exit.FINE
    assert checkout.b2prod("resolve", "real") == Exit.FINE
    return checkout


@pytest.mark.slow
def test_a_cut_on_real_collisions_run_by_run(cms, shared_data, capsys):
    assert cms.b2prod("plan", "-o", cms.root / "plan.json") == Exit.FINE
    assert cms.b2prod("apply", cms.root / "plan.json") == Exit.FINE
    capsys.readouterr()
    assert cms.b2prod("retention", "real", "--by-run", "--json") == Exit.FINE
    found = {
        row["run"].removeprefix("11:"): (row["read"], row["kept"])
        for row in json.loads(capsys.readouterr().out)
    }
    oracle = json.loads((shared_data / "cms" / "events" / "retention_oracle.json").read_text())
    assert found == {run: (facts["n"], facts["pass"]) for run, facts in oracle["runs"].items()}
    assert sum(kept for _, kept in found.values()) == 10_934
    assert cms.b2prod("plan", "--exit-code") == Exit.FINE
