"""Paths as the field wrote them: each is of exactly one layout, and what is read from it gives it back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.manifest.layout import FILE_FIELDS, FILE_NAMES, HISTORIC_FIELDS, find_layouts, read_file_name
from schemas.repository import read_repository

LAYOUTS = read_repository(read_tree(Path(__file__).parents[2])[0], load_templates())[0].layouts
HISTORIC = [layout for layout in LAYOUTS.values() if layout.historic]
HSM, GHI, GROUP, GRID = (
    "/hsm/belle2/bdata/Data",
    "/ghi/fs01/belle2/bdata/Data",
    "/group/belle2/dataprod/Data",
    "/belle/Data",
)
PROC9 = "release-03-02-02/DB00000654/proc9"
PROC13 = "release-06-01-11/DB00002058/proc13"

PATHS = {
    f"{GHI}/Raw/e0003/r05184/sub00/physics.0003.05184.HLT2.f00000.root": ("raw", {"unit": "HLT2"}),
    f"{HSM}/Raw/e0003/r04794/sub00/physics.0003.r04794.HLT1.f00003.root": ("raw", {"run_number": "r04794"}),
    f"{GHI}/Raw/e0004/r06380/sub00/cosmic.0004.r06380.HLT1.f00000.root": ("raw", {"kind": "cosmic"}),
    f"{HSM}/Raw/e0003/r02520/sub00/beam.0003.02520.root": ("raw", {"kind": "beam"}),
    f"{GROUP}/Raw/e0008/r01309/sub00/physics.0008.01309.HLT1.f00002.root": ("raw", {"storage": GROUP}),
    f"{HSM}/sRaw/e0001/r03978/sub00/cosmic.0001.03978.HLT1.f00000.sroot": ("sroot", {"suffix": "sroot"}),
    f"{HSM}/release-00-09-01/DB00000266/GCR1/prod00000001/e0001/cosmics": ("gcr1", {"energy": "cosmics"}),
    f"{HSM}/release-01-02-09/DB00000410/prod00000004/e0003/4S/r00529/all/dst/sub00": (
        "prod4",
        {"tag_id": "DB00000410"},
    ),
    f"{HSM}/release-02-00-01/DB00000425/prod00000005/e0003/4S/r06213/all/dst/sub00"
    "/dst.physics.0003.06213.HLT2.f00000.root": ("prod4", {"run": "r06213", "index": "f00000"}),
    f"{HSM}/release-02-01-00/DB00000438/prod00000006/e0003/4S/r05613/all/dst/sub00"
    "/dst.physics.0003.05613.HLT2.f00000.root": ("prod4", {"level": "dst"}),
    f"{HSM}/release-02-01-00/DB00000438/prod00000006/e0003/4S/r05613/all/cdst/sub00": (
        "prod4",
        {"level": "cdst"},
    ),
    f"{GHI}/e0007/4S/Bucket4/release-03-01-01/DB00000598/r00909/skim/hlt_hadron/cdst/sub00"
    "/cdst.physics.hlt_hadron.0007.00909.root": ("bucket4", {"campaign": "Bucket4", "skim": "hlt_hadron"}),
    f"{HSM}/e0008/4S/PromptSkim/release-03-01-04/DB00000607/r01309/skim/hlt_bhabha/raw/sub00"
    "/physics.0008.01309.HLT1.hlt_bhabha.f00000.root": ("prompt-skim", {"skim": "hlt_bhabha"}),
    f"{GROUP}/PromptSkim/e0012/4S/r02874/skim/hadron/raw/sub00": ("prompt-skim-2", {"experiment": "e0012"}),
    f"{GROUP}/release-03-02-02/DB00000635/proc00000009/e0008/4S/r01309/skim/hlt_bhabha/cdst/sub00"
    "/cdst.physics.0008.01309.HLT1.f00000.root": ("proc9-production", {"production": "proc00000009"}),
    f"{GROUP}/{PROC9}/e0003/4S/r05241/skim/hlt_hadron/mdst/sub00"
    "/mdst.physics.0003.05241.HLT0.hlt_hadron.f00000.root": ("proc9", {"campaign": "proc9"}),
    f"{GROUP}/release-03-02-04/DB00000677/bucket7/e0008/4S/GoodRuns/r03123/skim/hlt_hadron/mdst/sub00": (
        "good-runs-skims",
        {"campaign": "bucket7"},
    ),
    f"{GROUP}/release-04-01-00/DB00000748/proc10/e0007/4S/GoodRuns/r03491/all/mdst/sub00"
    "/mdst.physics.0007.03491.HLT1.f00001.root": ("good-runs", {"campaign": "proc10"}),
    f"{GROUP}/OfficialReco/proc10/e0007/4S/GoodRuns/r03491/all/mdst/sub00": (
        "official-reco",
        {"campaign": "proc10"},
    ),
    f"{GROUP}/OfficialReco/proc11/e0010/4S/GoodRuns/r05902/skim/hlt_mumu_2trk/mdst/sub00": (
        "official-reco-skims",
        {"campaign": "proc11"},
    ),
    f"{GROUP}/release-04-02-04/DB00001113/bucket12/e0012/4S_offres/GoodRuns/r02874/skim/hlt_mumu_2trk/mdst": (
        "good-runs-skims",
        {"energy": "4S_offres"},
    ),
    f"{GROUP}/{PROC9}/e0003/4S/r05241/offskim/offskim_mumutop/cdst/sub00": (
        "offline-skims",
        {"skim": "offskim_mumutop"},
    ),
    f"{GROUP}/release-04-00-02/DB00000523/Unofficial/e0010/4S/r04295/skim/hlt_hadron/cdst/sub00"
    "/cdst.physics.0010.04295.HLT1.hlt_hadron.f00000.root": (
        "unofficial-skims",
        {"release": "release-04-00-02"},
    ),
    f"{GRID}/{PROC9}/prod00008530/e0003/4S/r02724/mdst": ("grid", {"production": "prod00008530"}),
    f"{GRID}/proc/{PROC9}/prod00008530/e0003/4S/r02724/mdst": ("grid", {"storage": f"{GRID}/proc"}),
    f"{GRID}/release-06-00-08/DB00002392/proc13/prod00029531/e0018/4S/r00000/mdst": (
        "grid",
        {"campaign": "proc13"},
    ),
    f"{GRID}/release-06-00-08/DB00000498/PromptExp26/prod00029657/e0026/4S/r00000/mdst/sub00": (
        "grid",
        {"part": "sub00"},
    ),
    f"{GRID}/{PROC13}/prod00029781/e0018/4S/r01394/hadron/mdst": ("grid-skims", {"skim": "hadron"}),
    f"{GRID}/{PROC13}/prod00029781/e0018/4S/r01394/hadron/14120601/udst": (
        "grid-offline-skims",
        {"code": "14120601"},
    ),
    "/belle/MC/release-03-01-00/DB00000547/MC12b/prod00007392/s00/e1003/4S/r00000/mixed/mdst": (
        "grid-mc",
        {"event_type": "mixed"},
    ),
    "/belle/MC/release-06-01-11/DB00002058/MC15rd_b/prod00030843/s00/e0007/4S/r00000/uubar/14120601/udst": (
        "grid-mc-skims",
        {"code": "14120601"},
    ),
    "/belle/user/someone/b2prod_0123456789/sub00": ("grid-user", {"project": "b2prod_0123456789"}),
    "/belle/collection/Data/proc16_4S_had_v1": ("collection", {"project": "proc16_4S_had_v1"}),
    "/belle/collection/MC/proc16_4S_had_v1": ("collection", {"branch": "MC"}),
}
"""Every public path of the record, with what stands for `*` and `{run}` there filled in."""


def read_path(path: str) -> tuple[list[tuple[str, dict[str, str]]], dict[str, str]]:
    """The layouts of a path, and the fields of its file's name, where it has one."""
    folder, _, name = path.rpartition("/")
    if not name.endswith("root"):
        return find_layouts(HISTORIC, path), {}
    fields = read_file_name(name)
    assert fields is not None, name
    return find_layouts(HISTORIC, folder), fields


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_record_is_read_and_written_again(path):
    name, expected = PATHS[path]
    found, file = read_path(path)
    assert [one for one, _ in found] == [name], "a path that two layouts read says less than it seems to"
    ((_, folder),) = found
    assert expected.items() <= (folder | file).items()
    if file:
        assert (f"e{file['number']}", f"r{file['run_number'].lstrip('r')}") == (
            folder["experiment"],
            folder["run"],
        )
    assert folder.get("level", "raw") == file.get("level", folder.get("level", "raw"))
    names = [f"/{family.format_map(file)}" for family in FILE_NAMES if fields_of(family) == file.keys()]
    assert [path] == [LAYOUTS[name].fill(folder) + one for one in names or [""]]


def fields_of(family: str) -> set[str]:
    return set(re.findall(r"\{([a-z_]+)\}", family))


def test_every_historic_layout_and_every_family_of_names_has_a_path_in_the_table():
    assert {name for name, _ in PATHS.values()} == {layout.name for layout in HISTORIC}
    named = [read_path(path)[1].keys() for path in PATHS]
    assert all(fields_of(family) in named for family in FILE_NAMES)


@pytest.mark.parametrize(
    "path", ["", "/", f"{GROUP}/proc9", f"{HSM}/release-02-01-00/DB438/prod6/e3/4S/r5613/all/dst"]
)
def test_what_is_no_path_of_the_field_is_of_no_layout(path):
    assert find_layouts(HISTORIC, path) == []


@pytest.mark.parametrize(
    "name",
    ["", "a.root", "mdst.root", "physics.0003.05184.HLT2.f0000.root", "physics.3.5184.HLT2.f00000.root"],
)
def test_what_is_no_name_of_the_field_is_not_read(name):
    assert read_file_name(name) is None


@given(st.sampled_from(HISTORIC), st.booleans(), st.data())
def test_what_is_written_is_read_as_it_was_written(layout, whole, data):
    names = fields_of(layout.folder) - (set() if whole else {"part"})
    fields = {
        name: data.draw(st.from_regex(re.compile(HISTORIC_FIELDS[name], re.ASCII), fullmatch=True), name)
        for name in sorted(names)
    }
    assert layout.read(layout.fill(fields)) == fields


@given(st.sampled_from(FILE_NAMES), st.data())
def test_a_name_that_is_written_is_read_as_it_was_written(family, data):
    fields = {
        name: data.draw(st.from_regex(re.compile(FILE_FIELDS[name], re.ASCII), fullmatch=True), name)
        for name in sorted(fields_of(family))
    }
    assert read_file_name(family.format_map(fields)) == fields
