"""The data of this repository: valid, and true to their sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.repository import LAYOUTS, RELEASES, SKIMS, Repository, read_repository
from schemas.rules import check_repository
from schemas.skims.cut import parse_cut
from schemas.skims.cut_tree import canonical
from schemas.yaml.document import read_yaml

ROOT = Path(__file__).parents[2]

TALK = {
    "hlt_mumu_2trk": (13, 7),
    "hlt_mumu_1trk": (9, 5),
    "hlt_hadron": (3, 2),
    "hlt_bhabha": (1, 1),
    "hlt_gamma_gamma": (7, 4),
    "hlt_single_photon_1GeV": (4, 3),
    "hlt_single_photon_2GeV_barrel": (3, 2),
    "hlt_single_photon_2GeV_endcap": (4, 3),
    "hlt_tau_tau": (7, 4),
}
"""The skims of the talk, with the number of opening brackets of the corrected text, and of comparisons."""
VARIABLES = {
    "nTracksLE",
    "nEidLE",
    "P1CMSBhabhaLE",
    "P1OEbeamCMSBhabhaLE",
    "P2OEbeamCMSBhabhaLE",
    "EC1CMSLE",
    "EC2CMSLE",
    "EC12CMSLE",
    "G1CMSBhabhaLE",
    "maxAngleTTLE",
    "EtotLE",
    "VisibleEnergyLE",
    "Bhabha2Trk",
    "GG",
}
"""Variables of basf2's `SkimSampleCalculator.cc`."""


@pytest.fixture(scope="module")
def repository() -> Repository:
    files, findings = read_tree(ROOT)
    read, more = read_repository(files, load_templates())
    assert [str(one) for one in (*findings, *more, *check_repository(read))] == []
    return read


def load(file: str):
    document, findings = read_yaml(file, (ROOT / file).read_bytes())
    assert not findings
    return document.data


def test_everything_that_is_declared_is_valid(repository):
    assert "demo" in repository.campaigns
    assert "local" in repository.sites


def test_the_nine_skims_of_the_talk(repository):
    menu = load(f"{SKIMS}/hlt-2019.yaml")["skims"]
    assert list(menu) == list(TALK)
    for name, (brackets, comparisons) in TALK.items():
        text = menu[name]["cut"]
        assert (text.count("["), text.count("]")) == (brackets, brackets), name
        assert len(re.findall(r"[<>=]=|[<>]", text)) == comparisons, name
        assert set(repository.skims[name].cut.variables) <= VARIABLES, name


def test_single_photon_skims_differ_as_the_talk_says(repository):
    low, barrel, endcap = (
        canonical(repository.skims[f"hlt_single_photon_{name}"].cut)
        for name in ("1GeV", "2GeV_barrel", "2GeV_endcap")
    )
    assert endcap == f"{barrel} and GG == 0"
    assert endcap == low.replace("> 1", "> 2")


def test_provenance_names_the_talk_and_each_correction():
    provenance = load(f"{SKIMS}/hlt-2019.yaml")["provenance"]
    for said in ("7 February 2019", "P10Ebeam", "P20Ebeam", "hlt_gamma_gamma"):
        assert said in provenance


def test_the_texts_of_the_slide_do_not_parse_or_name_unknown_variables():
    """What was corrected was wrong: one does not parse, the other names variables that do not exist."""
    with pytest.raises(ValueError, match="closed"):
        parse_cut("[[nTracksLE <= 1] and [[nEidLE == 0] and [[EC12CMSLE > 4] and [[EC1CMSLE > 2]]]]")
    assert not set(parse_cut("[P10EbeamCMSBhabhaLE > 0.35]").variables) & VARIABLES


def test_stored_lines_are_those_of_real_files(repository, shared_data):
    files = json.loads((shared_data / "belle2/mdst/uproot_summary.json").read_text())
    stored = {line for file in files.values() for line in file.get("hlt_accepted") or ()}
    lines = {skim.line for name, skim in repository.skims.items() if name.startswith("line_")}
    assert {f"software_trigger_cut&skim&accept_{name.removeprefix('hlt_')}" for name in TALK} < lines
    assert lines <= stored


def test_lines_of_phase_2_are_those_of_a_file_of_2018(repository, shared_data):
    printed = json.loads((shared_data / "belle2/mdst-2019/mdst-v02-01-00.hlt.json").read_text())
    stored = {line for event in printed["printed_events"] for line in event["getResults"]}
    skims = [skim for name, skim in repository.skims.items() if name.startswith("phase2_")]
    lines = {skim.line for skim in skims}
    assert {f"software_trigger_cut&hlt&accept_{name.removeprefix('hlt_')}" for name in TALK} < lines
    assert lines == {line for line in stored if "&hlt&" in line}
    assert {skim.decision for skim in skims} == {"final"}  # nothing else was stored


def test_every_line_of_a_menu_says_its_time_and_no_line_has_two_at_once(repository):
    lines = [skim for skim in repository.skims.values() if skim.line is not None]
    assert all(skim.validity is not None for skim in lines)
    old, new = (repository.skims[name].validity for name in ("phase2_hadron", "line_hadron"))
    for release, served in {
        "release-01-02-04": (True, False),
        "release-02-01-00": (True, False),
        "prerelease-03-00-00b": (True, False),
        "release-03-00-02": (True, False),
        "release-03-01-00": (False, True),
        "release-08-00-10": (False, True),
    }.items():
        assert (old.serves(release), new.serves(release)) == served, release


def test_releases_are_listed_by_day_and_recommend_what_the_history_says():
    releases = load(RELEASES)["releases"]
    days = [about["date"] for about in releases.values()]
    assert days == sorted(days)
    recommended = {name: about.get("recommended_tag") for name, about in releases.items()}
    assert recommended["release-02-01-00"] is None
    assert recommended["release-03-00-00"] == recommended["release-03-00-03"] == "data_reprocessing_proc7"
    assert recommended["release-03-01-00"] == recommended["release-03-01-04"] == "data_reprocessing_proc8"
    assert recommended["release-03-02-00"] is None
    assert recommended["release-04-02-08"] == "data_reprocessing_proc9"
    assert {"prerelease-03-00-00b", "release-02-00-00"} <= releases.keys()


def test_full_releases_up_to_june_2020_have_the_day_on_which_they_were_supported():
    """All that the history of versioning.py has from release-02-00-00 to release-04-02-08."""
    history = {
        "release-02-00": "2018-07-23 2018-07-27 2018-09-29",
        "release-02-01": "2018-10-08",
        "release-03-00": "2019-01-05 2019-01-26 2019-02-04 2019-02-14",
        "release-03-01": "2019-03-22 2019-04-14 2019-05-16 2019-05-31 2019-06-02",
        "release-03-02": "2019-06-09 2019-06-19 2019-06-28 2019-07-25 2019-08-07",
        "release-04-00": "2019-10-04 2019-10-18 2019-10-30 2019-11-11 2019-11-22 2020-03-03",
        "release-04-01": "2019-12-12 2020-01-08 2020-02-08 - 2020-03-03 2020-03-27",
        "release-04-02": "2020-03-27 2020-04-08 - - - - 2020-06-02 - 2020-06-10",
    }
    expected = {
        f"{line}-{number:02}": day
        for line, days in history.items()
        for number, day in enumerate(days.split())
        if day != "-"
    }
    found = {name: about["date"] for name, about in load(RELEASES)["releases"].items()}
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    "name", [name for name, one in load(LAYOUTS)["layouts"].items() if not one.get("historic")]
)
def test_layouts_are_read_as_they_are_filled(repository, name):
    layout = repository.layouts[name]
    assert layout.versioned
    fields = {
        "campaign": "proc7",
        "step": "reco",
        "release": "release-03-00-00",
        "tag": "data_reprocessing_prod6",
        "tag_id": "DB00000438",
        "experiment": "e0003",
        "energy": "4S",
        "run": "r00529",
        "level": "skim",
        "stream": "skim/hlt_hadron",
        "version": "v2",
    }
    found = layout.read(layout.fill(fields))
    assert found == {key: fields[key] for key in found}
    assert {"campaign", "step", "experiment", "run", "level", "stream", "version"} <= found.keys()


def test_the_demo_is_the_nine_skims_of_24_runs(repository):
    demo = repository.campaigns["demo"].campaign
    (selector,), (step,) = demo.selectors, demo.steps
    assert (selector.experiment, str(selector.ranges[0]), len(selector.ranges)) == (12, "1-24", 1)
    assert step.outputs == tuple(TALK)
    assert (demo.kind, demo.site, demo.layout) == ("skim", "local", "plain")
    assert (demo.limits.max_units, demo.limits.max_restate) == (24, 24)
    assert "not Belle II data" in (ROOT / "productions/campaigns/demo/campaign.yaml").read_text()
