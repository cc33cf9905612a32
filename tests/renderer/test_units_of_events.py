"""Whole units on this machine: candidates, shared events, kept branches and event lists, from the manifest to `explain`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import uproot

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.execution.tracking.publication import find_shared_events
from renderer.event_data.event_numbers import FileNumbers, write_record
from tests.support.worlds.builders import LAYOUTS, RELEASES, ROOT, SITE

pytestmark = pytest.mark.slow

MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
"""

CAMPAIGN = """\
schema: campaign/1
title: A campaign of a test
kind: skim
runs:
  - {experiment: EXPERIMENT, ranges: "1"}
site: local
layout: plain
steps:
  skims:
    application: uproot
    input: {level: ntuple}
    skims: [many]
    # and so on
limits: {max_units: 10, max_restate: 5, max_attempts: 2}
"""


class Checkout:
    """A repository with a campaign of the run 1, whose files a test puts into `root/in`; `step` are keys of its step."""

    def __init__(self, root, step="", experiment=12, cut="nTracksLE >= 3"):
        self.root = root
        campaign = CAMPAIGN.replace("# and so on", step).replace("EXPERIMENT", str(experiment))
        texts = {
            **ROOT,
            "layouts.yaml": LAYOUTS,
            "releases.yaml": RELEASES,
            "sites/local.yaml": SITE,
            "skims/menu.yaml": MENU.replace("nTracksLE >= 3", cut),
            "campaigns/twelve/campaign.yaml": campaign,
        }
        for name, text in texts.items():
            file = root / "productions" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (root / "in").mkdir()
        (root / "runs.json").write_text(json.dumps([{"experiment": experiment, "run": 1, "type": "physics"}]))
        assert self.call("runs", "import", root / "runs.json") == Exit.FINE
        assert self.call("trust", "pin") == Exit.FINE

    def call(self, *arguments):
        return run(["--root", str(self.root), *map(str, arguments)])

    def write(self, name, events, tree="tree", **columns):
        with uproot.recreate(self.root / "in" / name) as file:
            ones = np.ones(len(events), np.int32)
            values = {
                "__experiment__": 12 * ones,
                "__run__": ones,
                "__event__": np.array(events, np.uint32),
                **columns,
            }
            file.mktree(tree, {key: value.dtype for key, value in values.items()}).extend(values)

    def make(self):
        assert self.call("files", "import", self.root / "in", "--level", "ntuple") == Exit.FINE
        assert self.call("resolve", "twelve") == Exit.FINE
        return self.call("reconcile", "--once")

    def explain(self, capsys):
        capsys.readouterr()
        assert self.call("explain", "twelve/skims/12:1", "--json") == Exit.FINE
        (unit,) = json.loads(capsys.readouterr().out)
        return unit

    @property
    def outputs(self):
        return sorted((self.root / ".b2prod" / "data").rglob("*.root"))


def test_candidates_are_counted_as_events_from_the_import_to_retention(tmp_path, capsys):
    """100 events, of which 20 have five candidates each: 20 are kept, in 100 rows."""
    checkout = Checkout(tmp_path)
    counts = np.array([5] * 20 + [1] * 80)
    checkout.write(
        "b0.0012.00001.root",
        np.repeat(np.arange(1, 101), counts),
        __candidate__=np.concatenate([np.arange(count) for count in counts]).astype(np.int32),
        __ncandidates__=np.repeat(counts, counts).astype(np.int32),
        nTracksLE=np.repeat(np.where(counts == 5, 5.0, 1.0), counts),
    )
    assert checkout.make() == Exit.FINE
    (item,) = checkout.explain(capsys)["history"]
    assert (item["events_read"], item["events"]) == (100, 20)
    (file,) = item["files"]
    assert (file["kind"], file["events"], file["rows"]) == ("events", 20, 100)
    assert checkout.call("explain", "twelve/skims/12:1") == Exit.FINE
    assert "20 events in 100 rows" in capsys.readouterr().out
    assert checkout.call("retention", "twelve", "--json") == Exit.FINE
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["read"], row["kept"]) == (100, 20)
    assert checkout.call("verify", "twelve") == Exit.FINE
    with uproot.open(checkout.outputs[0]) as found:
        assert len(np.unique(found["tree/__event__"].array(library="np"))) == 20


@pytest.mark.parametrize("split", ["run", "file"])
def test_files_that_share_events_fail_their_unit_for_good(split, tmp_path, capsys):
    """Two outputs of a job that was rescheduled, read by one job, or by two that know nothing of each other."""
    checkout = Checkout(tmp_path, f"split: {split}")
    for number in range(2):
        columns = {"nTracksLE": np.full(10, 5.0 + number)}
        checkout.write(f"out_job7_0{number}.root", np.arange(7 * number, 7 * number + 10), **columns)
    checkout.make()
    assert checkout.outputs == []
    unit = checkout.explain(capsys)
    said = "3 events of 12:1 are in out_job7_00.root and in out_job7_01.root (the first: 7)"
    assert said in unit["state"]
    assert [item["state"] for item in unit["history"]] == ["abandoned"]
    tried = len(unit["history"][0]["attempts"])
    assert tried == (2 if split == "file" else 1)
    checkout.call("reconcile", "--once")
    assert len(checkout.explain(capsys)["history"][0]["attempts"]) == tried, "nothing is tried again"
    assert checkout.outputs == []


def test_files_of_other_events_are_published_together(tmp_path, capsys):
    checkout = Checkout(tmp_path, "split: file")
    for number in range(3):
        columns = {"nTracksLE": np.full(10, 5.0)}
        checkout.write(f"part{number}.root", np.arange(10 * number, 10 * number + 10), **columns)
    assert checkout.make() == Exit.FINE
    assert len(checkout.outputs) == 3
    (item,) = checkout.explain(capsys)["history"]
    assert (item["events_read"], item["events"]) == (30, 30)


def test_what_a_step_keeps_is_in_its_outputs_and_in_its_recipe(tmp_path, capsys):
    checkout = Checkout(tmp_path, 'keep: ["trk_*"]')
    columns = {name: np.full(10, 5.0) for name in ("nTracksLE", "trk_pt", "trk_eta", "E")}
    checkout.write("a.root", np.arange(10), **columns)
    assert checkout.make() == Exit.FINE
    with uproot.open(checkout.outputs[0]) as found:
        assert found["tree"].keys() == ["__experiment__", "__run__", "__event__", "trk_pt", "trk_eta"]
    (item,) = checkout.explain(capsys)["history"]
    assert item["recipe"]["keep"] == ["trk_*"]
    assert item["recipe"]["application"] == "uproot/2"


def test_an_event_list_is_called_so(tmp_path, shared_data, capsys):
    checkout = Checkout(tmp_path, experiment=0, cut="event > 3")
    (tmp_path / "in" / "a.root").write_bytes((shared_data / "belle2/mdst/chaintest_1.root").read_bytes())
    assert checkout.make() == Exit.FINE
    capsys.readouterr()
    assert checkout.call("explain", "twelve/skims/0:1") == Exit.FINE
    assert "bytes, event list)" in capsys.readouterr().out
    with uproot.open(checkout.outputs[0]) as found:
        said = json.loads(str(found["event_list"]))
    assert said["RootInput"]["inputFileNames"] == [str(tmp_path / "in" / "a.root")]


def test_a_record_that_was_changed_is_no_record(tmp_path, monkeypatch, capsys):
    """Between the last job's end and publishing, somebody puts another record into a job's folder."""
    checkout = Checkout(tmp_path, "split: file")
    for number in range(2):
        columns = {"nTracksLE": np.full(10, 5.0)}
        checkout.write(f"part{number}.root", np.arange(10 * number, 10 * number + 10), **columns)

    def meddle(records, workspace, run):
        if len(records) == 2:
            other = write_record([FileNumbers("x.root", np.arange(3, dtype=np.uint32))])
            (workspace.path(records[0][0]) / "event-numbers").write_bytes(other)
        return find_shared_events(records, workspace, run)

    monkeypatch.setattr("reconciler.execution.tracking.publication.find_shared_events", meddle)
    checkout.make()
    assert checkout.outputs == []
    assert "event-numbers was verified, and is another file now" in checkout.explain(capsys)["state"]
