"""Paths as the field wrote them: each is of exactly one layout, and what is read from it gives it back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.steering import load_templates
from schemas.layout import HISTORIC_FIELDS, find_layouts
from schemas.repository import read_repository
from schemas.tree import read_tree

LAYOUTS = read_repository(read_tree(Path(__file__).parents[1])[0], load_templates())[0].layouts
HISTORIC = [layout for layout in LAYOUTS.values() if layout.historic]
HSM, GHI, GROUP, GRID = (
    "/hsm/belle2/bdata/Data",
    "/ghi/fs01/belle2/bdata/Data",
    "/group/belle2/dataprod/Data",
    "/belle/Data",
)

PATHS = {
    f"{GHI}/Raw/e0003/r05184/sub00/physics.0003.05184.HLT2.f00000.root": (
        "raw",
        {"unit": "HLT2", "kind": "physics"},
    ),
    f"{HSM}/release-01-02-09/DB00000410/prod00000004/e0003/4S/r00529/all/dst/sub00": (
        "prod4",
        {"tag_id": "DB00000410"},
    ),
    f"{HSM}/release-02-00-01/DB00000425/prod00000005/e0003/4S/r06213/all/dst/sub00": (
        "prod4",
        {"run": "r06213"},
    ),
    f"{HSM}/release-02-01-00/DB00000438/prod00000006/e0003/4S/r05613/all/cdst/sub00": (
        "prod4",
        {"level": "cdst"},
    ),
    f"{GHI}/e0007/4S/Bucket4/release-03-01-01/DB00000598/r00909/skim/hlt_hadron/cdst/sub00": (
        "bucket4",
        {"campaign": "Bucket4", "skim": "hlt_hadron"},
    ),
    f"{HSM}/e0008/4S/PromptSkim/release-03-01-04/DB00000607/r01309/skim/hlt_bhabha/raw/sub00": (
        "prompt-skim",
        {"skim": "hlt_bhabha"},
    ),
    f"{GROUP}/PromptSkim/e0012/4S/r02874/skim/hadron/raw/sub00": ("prompt-skim-2", {"experiment": "e0012"}),
    f"{GROUP}/release-03-02-02/DB00000635/proc00000009/e0008/4S/r01309/skim/hlt_bhabha/cdst/sub00": (
        "proc9-production",
        {"production": "proc00000009"},
    ),
    f"{GROUP}/release-03-02-02/DB00000654/proc9/e0003/4S/r05241/skim/hlt_hadron/mdst/sub00": (
        "proc9",
        {"campaign": "proc9"},
    ),
    f"{GROUP}/release-03-02-04/DB00000677/bucket7/e0008/4S/GoodRuns/r03123/skim/hlt_hadron/mdst/sub00": (
        "good-runs-skims",
        {"campaign": "bucket7"},
    ),
    f"{GROUP}/release-04-01-00/DB00000748/proc10/e0007/4S/GoodRuns/r03491/all/mdst/sub00": (
        "good-runs",
        {"campaign": "proc10"},
    ),
    f"{GROUP}/OfficialReco/proc11/e0010/4S/GoodRuns/r05902/skim/hlt_mumu_2trk/mdst/sub00": (
        "official-reco-skims",
        {"campaign": "proc11"},
    ),
    f"{GROUP}/release-04-02-04/DB00001113/bucket12/e0012/4S_offres/GoodRuns/r02874/skim/hlt_mumu_2trk/mdst/sub00": (
        "good-runs-skims",
        {"energy": "4S_offres"},
    ),
    f"{GROUP}/release-03-02-02/DB00000654/proc9/e0003/4S/r05241/offskim/offskim_mumutop/cdst/sub00": (
        "offline-skims",
        {"skim": "offskim_mumutop"},
    ),
    f"{GROUP}/release-04-00-02/DB00000523/Unofficial/e0010/4S/r04295/skim/hlt_hadron/cdst/sub00": (
        "unofficial-skims",
        {"release": "release-04-00-02"},
    ),
    f"{GRID}/release-03-02-02/DB00000654/proc9/prod00008530/e0003/4S/r02724/mdst": (
        "grid",
        {"production": "prod00008530"},
    ),
    f"{GRID}/release-06-00-08/DB00002392/proc13/prod00029531/e0018/4S/r00000/mdst": (
        "grid",
        {"campaign": "proc13"},
    ),
    f"{GRID}/release-06-00-08/DB00002392/proc13/prod00029531/e0018/4S/r01394/hadron/mdst": (
        "grid-skims",
        {"skim": "hadron"},
    ),
    f"{GRID}/release-06-00-08/DB00002392/proc13/prod00029531/e0018/4S/r01394/hadron/14120601/udst": (
        "grid-offline-skims",
        {"code": "14120601"},
    ),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_record_is_read_and_written_again(path):
    name, expected = PATHS[path]
    found = dict(find_layouts(HISTORIC, path))
    exact = {
        one: fields
        for one, fields in found.items()
        if fields.get("campaign") not in ("Unofficial", "PromptSkim")
    }
    exact = {
        one: fields
        for one, fields in exact.items()
        if not re.fullmatch(r"pro[cd][0-9]{8}", fields.get("campaign", ""))
    }
    assert list(exact) == [name], "a path that two layouts read says less than it seems to"
    assert expected.items() <= exact[name].items()
    assert LAYOUTS[name].fill(exact[name]) == path


def test_every_historic_layout_has_a_path_in_the_table():
    assert {name for name, _ in PATHS.values()} == {layout.name for layout in HISTORIC}


@pytest.mark.parametrize(
    "path", ["", "/", f"{GROUP}/proc9", f"{HSM}/release-02-01-00/DB438/prod6/e3/4S/r5613/all/dst"]
)
def test_what_is_no_path_of_the_field_is_of_no_layout(path):
    assert find_layouts(HISTORIC, path) == []


@given(st.sampled_from(HISTORIC), st.data())
def test_what_is_written_is_read_as_it_was_written(layout, data):
    names = re.findall(r"\{([a-z_]+)\}", layout.folder)
    fields = {
        name: data.draw(st.from_regex(re.compile(HISTORIC_FIELDS[name], re.ASCII), fullmatch=True), name)
        for name in names
    }
    assert layout.read(layout.fill(fields)) == fields
