"""Three campaigns on the demo's sample: convert, reconstruct and skim, each reading what the one before it makes.

What is converted is the detector's raw data, which the second campaign reads without naming the first.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from ci.demo.toy import write_sample
from reconciler.execution.apply import reconcile
from reconciler.ledger.store.database import State
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.repository import read_repository
from tests.support.worlds.worlds import QUIET, pin_checkout

ROOT = Path(__file__).parents[2]
CAMPAIGN = """\
schema: campaign/1
title: {title}
kind: skim
runs: [{{experiment: 12, ranges: "1-3"}}]
site: local
layout: plain
steps:
  {step}
limits: {{max_units: 9, max_restate: 9}}
"""
SCRIPT = '{{application: script, script: copy/1, arguments: ["@inputs", "@output:{0}"], outputs: [{0}], input: {1}}}'
CONVERT = SCRIPT.format("raw", "{level: ntuple}, produces: detector/raw")
CHAIN = {
    "converted": f"convert: {CONVERT}",
    "reconstructed": f"reco: {SCRIPT.format('ntuple', '{dataset: detector/raw}')}",
    "skimmed": "skims: {application: uproot, input: {dataset: reconstructed/reco/ntuple}, skims: [hlt_hadron]}",
}


@pytest.fixture
def call(tmp_path, capsys):
    """Calls b2prod in a repository with the three campaigns and three runs of the sample; returns exit code and output."""
    shutil.copytree(ROOT / "productions", tmp_path / "productions")
    for folder in ("campaigns", "archive"):
        shutil.rmtree(tmp_path / "productions" / folder)
    for name, step in CHAIN.items():
        file = tmp_path / "productions/campaigns" / name / "campaign.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(CAMPAIGN.format(title=name, step=step))
    script = tmp_path / "productions/scripts/copy/1"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\ncp "$1" "$2"\n')
    with (tmp_path / "productions/sites/local.yaml").open("a") as site:
        site.write("scripts: [copy]\n")
    runs = write_sample(tmp_path / "sample")
    for number in range(4, 25):
        (tmp_path / f"sample/toy.0012.{number:05d}.root").unlink()

    def act(*words):
        code = run(["--root", str(tmp_path), *map(str, words)])
        return code, capsys.readouterr().out

    assert act("runs", "import", runs)[0] == Exit.FINE
    assert act("files", "import", tmp_path / "sample", "--dataset", "toy/sample/ntuple")[0] == Exit.FINE
    for name in CHAIN:
        assert act("resolve", name)[0] == Exit.FINE
    act.root, act.state = tmp_path, State(tmp_path / ".b2prod")
    pin_checkout(tmp_path, act.state)
    return act


def produce(call):
    """One turn, as after the merge of what was approved."""
    repository, findings = read_repository(read_tree(call.root)[0], load_templates())
    assert not findings
    return reconcile(call.state, repository, tuple(CHAIN), QUIET)


@pytest.mark.slow
def test_a_chain_is_made_in_one_turn_and_a_replaced_file_goes_through_all_of_it(call):
    assert (produce(call).produced, call("plan", "--exit-code")[0]) == (9, Exit.FINE)
    assert call("runs", "import", write_sample(call.root / "again", seed=7))[0] == Exit.FINE
    shutil.copy(call.root / "again/toy.0012.00002.root", call.root / "sample")
    call("files", "import", call.root / "sample", "--dataset", "toy/sample/ntuple")
    plan = json.loads(call("plan", "--format", "json")[1])
    told = [
        (one["campaign"], group["action"], group["runs"])
        for one in plan["campaigns"]
        for group in one["groups"]
    ]
    assert told == [(name, "restate", "12:2") for name in CHAIN]
    assert (produce(call).produced, call("plan", "--exit-code")[0]) == (3, Exit.FINE)
    code, out = call("dataset", "files", "detector/raw", "--json")
    files = [json.loads(line) for line in out.splitlines()]
    assert code == Exit.FINE
    assert [(one["run"], one["version"]) for one in files] == [("12:1", 1), ("12:2", 2), ("12:3", 1)]
    assert {one["maker"] for one in files} == {"converted/convert/raw"}


def test_a_unit_says_which_unit_of_another_campaign_it_waits_for(call):
    for name, reads in (("reconstructed", "converted/convert"), ("skimmed", "reconstructed/reco")):
        code, out = call("explain", f"{name}/12:3")
        assert code == Exit.FINE
        assert f": waits for {reads}, 12:3\n" in out
