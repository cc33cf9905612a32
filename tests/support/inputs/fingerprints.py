"""The fingerprints of the valid campaign, and which of them a change affects."""

from __future__ import annotations

from dataclasses import replace

from renderer.identity.units import declare_units
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.repository import read_repository
from tests.support.inputs.sources import make_sources
from tests.support.tables.manifest_keys import OTHERS
from tests.support.worlds.builders import tree

RUNS = [run_key(3, 529), run_key(3, 530)]
INPUTS = {"raw": {RUNS[0]: "a" * 64, RUNS[1]: "b" * 64}}


def moved(before, after):
    """The (step, output, run) whose fingerprints differ."""
    return {
        (step, output, run)
        for (step, output), column in before.items()
        for run, value in zip((529, 530), column, strict=True)
        if after[step, output][run - 529] != value
    }


EVERYTHING = {
    (step, output, run)
    for step, output in (("reco", "mdst"), ("reco", "cdst"), ("skims", "hlt_hadron"), ("skims", "hlt_bhabha"))
    for run in (529, 530)
}
SKIMS = {item for item in EVERYTHING if item[0] == "skims"}


def declare(text):
    template = load_templates()["raw_to_mdst/1"]
    other = replace(template, name="raw_to_mdst/2", text=template.text + "\nprint('2')\n")
    templates = {**load_templates(), other.name: other}
    releases = tree()["productions/releases.yaml"].decode()
    extra = {**OTHERS, "releases": f'{releases}  release-03-00-01: {{date: "2019-01-26"}}\n'}
    repository, findings = read_repository(tree(campaign=text, **extra), templates)
    assert not findings, findings
    units = declare_units(repository.campaigns["proc7"].campaign, repository, RUNS, make_sources(INPUTS))
    return {
        (item.step.name, output): list(column)
        for item in units
        for output, column in item.fingerprints.items()
    }
