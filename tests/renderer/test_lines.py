"""Lines of the HLT have a time: a step selects by lines that its input's data have, and by no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import uproot

from renderer.skimming import skim
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.repository import read_repository
from schemas.rules import check_repository
from schemas.rules.lines import check_lines
from schemas.skims.menu import Validity
from tests.support.worlds.builders import CAMPAIGN, campaign, swap, tree

MENU = """\
schema: skims/1
title: Two menus in one
provenance: Made up for tests
skims:
  old: {line: software_trigger_cut&hlt&accept_hadron, holds_for: {runs: [exp 3], releases: [release-03-00]}}
  new: {line: software_trigger_cut&skim&accept_hadron, holds_for: {runs: [exp 7 - forever], releases: [release-04]}}
"""

TEMPLATES = {
    "release-03-00-00": {"reco": "raw_to_mdst/2", "cdst": "raw_to_cdst/1", "skim": "hlt_skim/1"},
    "release-04-00-00": {"reco": "raw_to_mdst/3", "cdst": "raw_to_cdst/2", "skim": "hlt_skim/2"},
}


def find(release, experiment, steps, skims="[old, new]"):
    """The skims of the last of `steps` that are refused; each step is a key of `TEMPLATES`, and reads from the one before."""
    text, source = "", "{level: raw}"
    for number, name in enumerate(steps):
        kind, _, given = name.partition(" ")
        level = "mdst" if kind == "reco" else "cdst"
        text += f"  s{number}:\n    application: basf2\n    template: {TEMPLATES[release][kind]}\n    input: {source}\n"
        text += f"    skims: {skims}\n" if kind == "skim" else f"    outputs: [{level}]\n"
        text += f"    parameters: {{{given}}}\n" if given else ""
        source = f"{{step: s{number}, level: {level}}}"
    head, _, _ = CAMPAIGN.partition("steps:\n")
    manifest = swap(
        head,
        ('{experiment: 3, ranges: "529-613, 620", exclude: "600", types: [physics, beam]}', experiment),
        ('  - {experiment: 4, ranges: "1-20"}\n', ""),
        ("release: release-03-00-00", f"release: {release}"),
    )
    files = tree(campaign=f"{manifest}steps:\n{text}limits: {{max_units: 4000}}\n", prompt=None, skims=MENU)
    repository, findings = read_repository(files, load_templates())
    assert findings == ()
    return [finding.message.split("`")[1] for finding in check_lines(repository)]


PHASE_2 = '{experiment: 3, ranges: "529-613"}'
LATER = '{experiment: 12, ranges: "529-613"}'


@pytest.mark.parametrize(
    ("release", "runs", "steps", "refused"),
    [
        ("release-03-00-00", PHASE_2, ["skim"], ["new"]),
        ("release-04-00-00", PHASE_2, ["skim"], ["new"]),
        ("release-04-00-00", LATER, ["skim"], ["old"]),
        # what a reconstruction calculates is added to what was stored
        ("release-03-00-00", PHASE_2, ["reco", "skim"], ["new"]),
        ("release-04-00-00", PHASE_2, ["reco", "skim"], []),
        ("release-04-00-00", LATER, ["reco", "skim"], ["old"]),
        # unless it is told not to, or its template does not
        ("release-04-00-00", PHASE_2, ["reco trigger_calculation: false", "skim"], ["new"]),
        ("release-04-00-00", PHASE_2, ["cdst", "skim"], ["new"]),
        # an open selection goes on to the experiment's end
        (
            "release-04-00-00",
            "{experiment: 3, from: 1, max_runs: 10, until: '2019-04-30'}",
            ["skim"],
            ["new"],
        ),
        ("release-04-00-00", '{experiment: 6, ranges: "1-5"}', ["skim"], ["old", "new"]),
    ],
)
def test_a_line_is_taken_from_data_that_have_it(release, runs, steps, refused):
    assert find(release, runs, steps) == refused


def test_part_of_the_runs_is_not_enough_and_the_others_are_named():
    menu = MENU.replace("runs: [exp 3]", 'runs: ["exp 3, runs 529 - 560"]')
    files = tree(
        campaign=swap(
            CAMPAIGN,
            ("input: {step: reco, level: mdst}", "input: {level: mdst}"),
            ("skims: [hlt_hadron, hlt_bhabha]", "skims: [old]"),
        ),
        prompt=None,
        skims=menu,
    )
    repository, _ = read_repository(files, {})
    (finding,) = check_lines(repository)
    assert finding.message.endswith("which the HLT did not have in 3:561-599, 601-613, 620; 4:1-20")
    assert finding.hint == (
        "take a line that these data have; its menu holds for exp 3, runs 529 - 560, "
        "and for what a reconstruction in release-03-00 made"
    )


@pytest.mark.parametrize(
    ("series", "release", "served"),
    [
        ("release-03-00", "release-03-00-02", True),
        ("release-03-00", "prerelease-03-00-00b", True),
        ("release-03-00", "release-03-01-00", False),
        ("release-03-00-0", "release-03-00-00", False),
        ("release-03", "release-03-02-04", True),
        ("release-03-00-00", "release-03-00-00", True),
        ("release-03", "light-2207-bosporus", False),
    ],
)
def test_a_series_of_releases_ends_with_a_number(series, release, served):
    assert Validity(releases=(series,)).serves(release) is served


def test_each_template_says_whether_it_calculates_the_decisions_again():
    for template in load_templates().values():
        calls = "add_reconstruction(" in template.text
        refuses = "add_trigger_calculation=False" in template.text
        assert (template.trigger is not None) == (calls and not refuses), template.name
        if template.trigger is not None and template.trigger.parameter is not None:
            assert template.parameter(template.trigger.parameter) is not None
            assert template.calculates_trigger({})


def test_the_nine_skims_run_as_nine_on_a_file_of_2018(tmp_path, shared_data):
    repository, _ = read_repository(read_tree(Path(__file__).parents[2])[0], load_templates())
    nine = [
        f"phase2_{name.removeprefix('hlt_')}"
        for name in repository.campaigns["demo"].campaign.steps[0].outputs
    ]
    folder = shared_data / "belle2/mdst-2019"
    report = skim(
        {
            "experiment": 0,
            "run": 0,
            "inputs": [{"name": "mdst.root", "path": str(folder / "mdst-v02-01-00.root")}],
            "outputs": [{"output": name, "skim": name, "file": f"{name}.root"} for name in nine],
            "skims": {name: repository.skims[name].describe() for name in nine},
            "parameters": {},
        },
        tmp_path,
    )
    assert (report["failure"], report["events_read"], len(report["outputs"])) == (None, 10, 9)
    printed = json.loads((folder / "mdst-v02-01-00.hlt.json").read_text())["printed_events"]
    for name in nine:
        with uproot.open(tmp_path / f"{name}.root") as file:
            kept = file["events"]["event"].array(library="np").tolist()
        expected = [
            n for n, event in enumerate(printed, 1) if event["getResults"][repository.skims[name].line] == 1
        ]
        assert [event for event in kept if event <= len(printed)] == expected, name


@pytest.mark.parametrize(
    ("release", "template", "skim", "says"),
    [
        ("release-05-00-00", "hlt_skim/4", "line_hadron", "take hlt_skim/6"),
        ("release-06-00-00", "hlt_skim/5", "line_hadron", "take hlt_skim/6"),
        ("release-06-00-00", "hlt_skim/6", "line_hadron", None),
        ("release-06-00-00", "hlt_skim/5", "final_hadron", None),
        ("release-03-00-00", "hlt_skim/3", "line_hadron", "name a skim with `line`"),
    ],
)
def test_a_decision_before_the_prescale_needs_a_template_that_knows_it(release, template, skim, says):
    steps = (
        f"steps:\n  s:\n    application: basf2\n    template: {template}\n    input: {{level: mdst}}\n"
        f"    skims: [{skim}]\nlimits: {{max_units: 4000}}\n"
    )
    text = campaign(("release-03-00-00", release))
    files = tree(
        campaign=text[: text.index("steps:")] + steps,
        releases=f'schema: releases/1\nreleases:\n  {release}: {{date: "2019-01-02"}}\n',
    )
    repository, _ = read_repository(files, load_templates())
    found = [one.hint for one in check_repository(repository) if one.code == "BP509"]
    assert len(found) == (says is not None)
    assert says is None or found[0].startswith(says)
