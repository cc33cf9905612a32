"""What the site says is what the ledger has, and what other verbs say; and a site is written file by file."""

from __future__ import annotations

import hashlib
import json
import tomllib
import zlib
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert

from ci.cli.exits import WrongUse
from ci.site.attention import AttentionSources, list_attention
from ci.site.campaigns import CampaignContent
from ci.site.figures import POINTS, divide_runs
from ci.site.run_states import WORDS, RunStates
from ci.site.site_folder import SiteFolder
from reconciler.ledger.schema.decision_tables import comparisons
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.pauses import Pause
from reconciler.model.states import PauseKind
from schemas.files.canonical import canonical_json
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import snapshot
from tests.support.worlds.command_lines import run_lines
from tests.support.worlds.site_world import LINE, LUMINOSITY, make_site_world
from tests.support.worlds.worlds import ONE_STEP, World

VENDOR = Path(__file__).parents[3] / "ci/site/assets/vendor"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_site_world(tmp_path_factory.mktemp("world"))


def read(folder, name):
    return json.loads((folder / f"api/v1/{name}.json").read_text())


def read_script(file):
    """The data that a script hands over."""
    text = file.read_text()
    return json.loads(text[text.index(",") + 1 : -3])


def test_figures_and_tables_are_what_other_verbs_say(world, tmp_path):
    asked = ("status", "runs", "dataset list", "retention proc7 --by-run", "lumi proc7")
    lines = [["report", "-o", tmp_path / "site"], *([*one.split(), "--json"] for one in asked)]
    made, status, runs, datasets, retention, lumi = run_lines(lines, world.root)
    assert made.code == 0, made.text
    folder = tmp_path / "site"
    (campaign,) = read(folder, "campaigns")["campaigns"]
    (step,) = campaign["steps"]
    told = json.loads(status.out)
    assert step["units"] == told[0]["units"] == 3
    assert step["done"] == told[0]["done"] == 2
    assert step["quarantined"] == told[0]["quarantined"] == 1
    assert campaign["conditions"] == [one for one in told if "condition" in one]
    columns = read(folder, "runs")["columns"]
    listed = json.loads(runs.out)
    for name in ("experiment", "run", "type", "events", "start", "stop", "energy", "quality"):
        assert columns[name] == [one[name] for one in listed], name
    assert columns["seconds"] == [3600, 1800, 2700, None]
    assert columns["state proc7"] == ["done", "done", "in quarantine", "not selected"]
    assert columns["luminosity bhabha online"] == [LUMINOSITY.get(one["run"]) for one in listed]
    known = {one["name"]: one for one in json.loads(datasets.out)}
    for one in read(folder, "datasets")["datasets"]:
        assert {**one, "campaign": None} == {**known.pop(one["name"]), "campaign": None}
    assert not known
    figures = read_script(folder / "data/campaigns/proc7.js")
    (total,) = json.loads(lumi.out)["proc7"]
    assert figures["luminosity"][0]["sum"][-1] == total["value"] == sum(LUMINOSITY.values())
    rates = [one for one in json.loads(retention.out) if one["rate"] is not None]
    drawn = [
        (run, kept, read, rate, low, high)
        for one in figures["retention"]
        for run, kept, read, rate, low, high in zip(
            *(one[name] for name in ("runs", "kept", "read", "rate", "low", "high")), strict=True
        )
    ]
    assert drawn == [
        tuple(one[name] for name in ("run", "kept", "read", "rate", "low", "high")) for one in rates
    ]


def test_details_of_a_run_are_the_rows_of_the_ledger(world, tmp_path):
    run_lines([["report", "-o", tmp_path]], world.root)
    details = read_script(tmp_path / "data/runs/3/0.js")
    rows = world.rows(outputs, "run", "campaign", "step", "output", "version", "state", "fingerprint")
    told = [
        (int(run), *one[:5], one[8])
        for run, found in details["runs"].items()
        for one in found["outputs"]
        if one[4] == "produced"
    ]
    made = [(*row[:6], row[6].hex()[:12]) for row in rows if row[5] == "produced"]
    assert sorted(told) == sorted(made)
    assert len(made) == 2
    (failure,) = details["runs"]["3"]["failures"]
    assert failure[:2] == ["proc7", "reco"]
    assert details["after"] == [3, 700]
    assert details["before"] is None


def test_failures_are_told_with_the_line_of_the_log(world, tmp_path):
    run_lines([["report", "-o", tmp_path]], world.root)
    (group,) = read(tmp_path, "failures")["failures"]
    assert group["line"] == f"[FATAL] {LINE}"
    assert (group["runs"], group["stopped"], group["newest"]) == ("3:3", 1, "proc7/reco/3:3")


def test_an_export_gives_the_same_data_without_logs(world, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    state = tmp_path / "state.zip"
    lines = [
        ["report", "-o", here],
        ["state", "export", "-o", state],
        ["report", "-o", there, "--state-export", state],
    ]
    assert [one.code for one in run_lines(lines, world.root)] == [0, 0, 0]
    for name in ("runs", "datasets"):
        one, other = read(here, name), read(there, name)
        assert {**one, "state_of": ""} == {**other, "state_of": ""}
    assert read(there, "failures")["failures"][0]["line"] == ""
    assert "ledger" in (there / "index.html").read_text()


def test_a_site_is_written_again_only_where_it_changed(world, tmp_path):
    first, second, refused = run_lines(
        [
            ["report", "-o", tmp_path / "site", "--json"],
            ["report", "-o", tmp_path / "site", "--json"],
            ["report", "-o", world.root],
        ],
        world.root,
    )
    one, other = json.loads(first.out), json.loads(second.out)
    assert one["changed"] == one["files"] == other["files"]
    dated = [*(tmp_path / "site/api/v1").iterdir(), "index.html", "data/site.js"]  # these have the moment
    assert other["changed"] <= len(dated) < one["files"]
    assert refused.code == 3
    assert "not a site of b2prod" in refused.err


def test_a_folder_forgets_files_that_are_not_of_the_site_any_more(tmp_path):
    first = SiteFolder(tmp_path / "site")
    first.write("a/old.html", "old")
    first.write("same.html", "same")
    first.end()
    second = SiteFolder(tmp_path / "site")
    second.write("same.html", "same")
    second.end()
    assert second.changed == 0
    assert sorted(path.name for path in (tmp_path / "site").rglob("*.html")) == ["same.html"]
    assert not list((tmp_path / "site").rglob("*.part"))
    (tmp_path / "site/same.html").unlink()
    third = SiteFolder(tmp_path / "site")
    third.write("same.html", "same")
    assert third.changed == 1


def test_a_site_that_was_interrupted_is_gone_on_with(tmp_path):
    SiteFolder(tmp_path / "site").write("page.html", "page")
    again = SiteFolder(tmp_path / "site")
    again.write("page.html", "page")
    again.end()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    with pytest.raises(WrongUse, match="not a site"):
        SiteFolder(tmp_path / "other")


def test_a_run_tells_which_payloads_changed_from_one_campaign_to_the_next(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.reconcile()
    lines = (
        f"CDCGeometry 2 {'b' * 32} 0,0,3,1",
        f"CDCGeometry 3 {'d' * 32} 3,2,-1,-1",
        f"CDCTimeZeros 1 {'c' * 32} 3,2,-1,-1",
    )
    world.write("productions/global-tags/tag_b.iov", snapshot("tag_b", *lines))
    campaign = (tmp_path / "productions/campaigns/proc7/campaign.yaml").read_text()
    world.write("productions/campaigns/proc8/campaign.yaml", campaign.replace("tag_a", "tag_b"))
    world.lock()
    world.reconcile()
    (made,) = run_lines([["report", "-o", tmp_path / "site"]], world.root)
    assert made.code == 0, made.text
    tags = {one["name"]: one for one in read(tmp_path / "site", "global_tags")["global_tags"]}
    assert tags["tag_b"]["campaigns"] == ["proc8"]
    assert (tags["tag_b"]["payloads"], tags["tag_b"]["iovs"]) == (2, 3)
    assert tags["tag_b"]["changes"] == [{"run": "3:2", "payloads": ["CDCGeometry"]}]
    assert tags["tag_a"]["changes"] == []
    runs = read_script(tmp_path / "site/data/runs/3/0.js")["runs"]
    first, second = runs["1"]["payloads"]
    assert (first["makers"], second["makers"]) == (["proc7/reco"], ["proc8/reco"])
    assert "count" not in first
    assert (second["changed"], second["count"]) == (["CDCGeometry"], 1)
    assert (runs["2"]["payloads"][1]["added"], runs["2"]["payloads"][1]["count"]) == (["CDCTimeZeros"], 2)


def test_what_is_alike_of_several_campaigns_is_told_once():
    left_out = [
        CampaignContent(name, "active", None, (), (), unread=f"{name} lacks 3:{number}-900")
        for name, number in (("proc7", 1), ("proc8", 2), ("proc8b", 3))
    ]
    other = CampaignContent("prod6", "active", None, (), (), unread="its lock is stale")
    pause = Pause("site:kekcc", PauseKind.PRECONDITION.value, "no room", "b2prod", "2019-03-01T00:00:00Z")
    told = AttentionSources((*left_out, other), (), (pause,), (), (), None, date(2019, 3, 1))
    items = list_attention(told)
    assert [(one.about, one.others) for one in items] == [
        ("site:kekcc", ()),
        ("proc7", ("proc8", "proc8b")),
        ("prod6", ()),
    ]
    assert items[0].command == ""  # it ends by itself
    assert items[0].whose == "site engineer"


def make_comparison(verdict, change):
    row = {"run": "3:1", "change": change, "verdict": verdict}
    return canonical_json(
        {
            "schema": "comparison/1",
            "compared": {"dataset": "proc7/reco/mdst", "alone": "3:3"},
            "against": {"dataset": "prod6/reco/mdst", "alone": ""},
            "runs": "3:1-2",
            "validation": {"name": "toy", "title": "Toy <criteria>"},
            "results": [
                {"check": "events", "verdict": "pass", "reason": "all there", "rows": []},
                {"check": "size", "verdict": verdict, "reason": "a <size> moved", "rows": [row] * 30},
            ],
            "verdict": verdict,
        }
    )


def test_comparisons_are_told_the_worst_first_and_a_damaged_one_alone_is_left_out(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("compared"), campaign=ONE_STEP)
    contents = [make_comparison("pass", 0.0), make_comparison("fail", 0.125)]
    rows = [
        {
            "digest": hashlib.sha256(one).hexdigest(),
            "content": zlib.compress(one),
            "who": "x",
            "created": "2019-03-01T00:00:00Z",
        }
        for one in contents
    ]
    rows.append({**rows[0], "digest": "0" * 64})
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(insert(comparisons), rows)
    folder = world.root / "site"
    (made,) = run_lines([["report", "-o", folder]], world.root)
    assert made.code == 0, made.text
    told = read(folder, "comparisons")["comparisons"]
    assert [one["verdict"] for one in told] == ["fail", "pass"]
    assert told[0]["checks"][1] == {"check": "size", "verdict": "fail", "reason": "a <size> moved"}
    page = (folder / "comparisons/index.html").read_text()
    assert page.count("<td>+12.5 %</td>") == 25
    assert "5 more rows" in page
    assert "Toy &lt;criteria&gt;" in page
    assert "is not what was kept" in (folder / "index.html").read_text()


def test_letters_are_those_of_the_runs_that_are_asked_for():
    keys = np.array([run_key(3, run) for run in (2, 4, 6)], np.int64)
    letters = "".join(WORDS)
    ranks = np.array([letters.index(one) for one in "dfq"], np.int8)
    asked = np.array([run_key(3, run) for run in range(1, 8)], np.int64)
    assert RunStates(keys, ranks).letters(asked) == ".d.f.q."
    assert RunStates(keys[:0], ranks[:0]).letters(asked) == "." * 7


@pytest.mark.parametrize("count", [1, POINTS, POINTS + 1, 100_000])
def test_a_curve_has_few_points_and_loses_no_run(count):
    edges = divide_runs(count)
    assert edges[0] == 0
    assert edges[-1] == count
    assert edges == sorted({*edges})
    assert len(edges) <= POINTS + 1


def test_files_of_others_are_as_they_were_published():
    packages = tomllib.loads((VENDOR / "packages.toml").read_text())
    told = {name: one["sha256"] for package in packages.values() for name, one in package["files"].items()}
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.iterdir()
        if file.name != "packages.toml"
    }
    assert found == told
