"""Global tags that skims bring themselves: declared, locked, part of the fingerprint, and handed to the skims."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from renderer.identity.payloads import find_payloads
from renderer.identity.units import declare_units
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.repository import read_repository
from schemas.rules import check_repository
from schemas.skims.global_tags import find_needs, takes_role
from schemas.skims.menu import RegistrySkim, Skim
from tests.support.inputs.sources import make_sources
from tests.support.worlds.builders import RELEASES, snapshot, swap, tree

FEI = RegistrySkim("11180100", "fei", "feiHadronicB0")
CHARM = RegistrySkim("17240600", "charm", "DstToD0Pi_D0ToHpJmPi0")
INCLUSIVE = RegistrySkim("12160400", "ewp", "inclusiveBplusToKplusNuNu")
PSI = RegistrySkim("16460200", "quarkonium", "CharmoniumPsi")
PLAIN = RegistrySkim("18530100", "lowMulti", "TwoTrackLeptonsForLuminosity")

ANALYSIS, PID = ("analysis", None), ("pid", None)
APPENDED = (None, "mva_inclusiveBplusToKplusNuNu")


@pytest.mark.parametrize(
    ("registered", "release", "needs"),
    [
        (FEI, "release-06-00-08", [(None, None)]),
        (FEI, "release-07-00-00", [ANALYSIS]),
        (FEI, "release-08-02-06", [ANALYSIS]),
        (FEI, "light-2305-korat", [ANALYSIS]),
        (CHARM, "release-08-02-06", []),
        (CHARM, "light-2403-persian", [ANALYSIS]),
        (CHARM, "light-2409-toyger", []),
        (PSI, "light-2403-persian", [PID]),
        (PSI, "release-08-02-06", []),
        (INCLUSIVE, "release-06-00-08", [APPENDED]),
        (INCLUSIVE, "release-07-00-00", [APPENDED]),
        (INCLUSIVE, "light-2309-munchkin", [APPENDED]),
        (INCLUSIVE, "light-2401-ocicat", []),
        (PLAIN, "release-08-02-06", []),
    ],
)
def test_what_skims_need_of_their_release(registered, release, needs):
    alone = Skim(registered.name, registered=registered)
    assert [(one.role, one.appended) for one in find_needs(alone, release)] == needs
    together = Skim("f_mix", registered=PLAIN, combines=("a", "b"), members=(PLAIN, registered))
    assert [(one.role, one.appended) for one in find_needs(together, release)] == needs


@pytest.mark.parametrize(
    ("release", "roles"),
    [("release-06-02-00", ""), ("release-07-00-00", "analysis"), ("release-08-02-06", "analysis"),
     ("light-2305-korat", "analysis"), ("light-2403-persian", "analysis pid")],
)  # fmt: skip
def test_what_skims_of_a_release_can_be_handed(release, roles):
    assert " ".join(role for role in ("analysis", "pid") if takes_role(release, role)) == roles


MENU = """\
schema: skims/1
title: Registered
provenance: As basf2 registers them
skims:
  fei: {registry: {code: "11180100", module: fei, name: feiHadronicB0}}
  leptons: {registry: {code: "18530100", module: lowMulti, name: TwoTrackLeptonsForLuminosity}}
  f_mix: {registry: {code: "70000100", module: flagged, name: f_mix_p1}, combines: [fei, leptons]}
"""
CAMPAIGN = """\
schema: campaign/1
title: Skims with the FEI
kind: skim
contact: production-manager@example.org
runs:
  - {experiment: 3, ranges: "1-2"}
release: release-08-02-06
global_tags:
  - {name: analysis_tools_1, mode: snapshot, role: analysis}
  - {name: data_reprocessing_proc7, mode: snapshot}
site: local
layout: plain
steps:
  skims: {application: basf2, template: combined_skim/3, input: {level: mdst}, skims: [f_mix]}
limits: {max_units: 100, max_restate: 0}
"""
WEIGHTS = "FEIv4_B0 1 {} 0,0,-1,-1"
ANALYSIS_TAG = "    - {name: analysis_tools_1, mode: snapshot, role: analysis}\n"[2:]


def declare(*changes, weights="1" * 32):
    files = tree(
        campaign=swap(CAMPAIGN, *changes),
        prompt=None,
        releases=RELEASES.replace("release-04-00-00", "release-08-02-06"),
        **{
            "productions/skims/registered.yaml": MENU,
            "productions/global-tags/analysis_tools_1.iov": snapshot(
                "analysis_tools_1", WEIGHTS.format(weights), f"CDCGeometry 2 {'2' * 32} 0,0,-1,-1"
            ),
        },
    )
    repository, findings = read_repository(files, load_templates())
    return repository, [*findings, *check_repository(repository)]


def test_a_skim_with_a_tag_of_its_own_is_refused_by_name_until_the_tag_is_declared():
    assert declare()[1] == []
    (found,) = declare((ANALYSIS_TAG, ""))[1]
    assert str(found) == (
        "productions/campaigns/proc7/campaign.yaml:13:88: BP521 feiHadronicB0, which `f_mix` is or combines, needs a"
        " global tag of its own (analysis); add `- {name: TAG, mode: snapshot, role: analysis}` to `global_tags`, before"
        " the others"
    )


def test_an_older_version_of_the_template_hands_nothing():
    (found,) = declare(("combined_skim/3", "combined_skim/1"))[1]
    assert (found.code, found.hint) == ("BP521", "choose combined_skim/3")


def test_the_payloads_of_the_tag_come_first_and_are_fingerprinted():
    def units(**options):
        repository, findings = declare(**options)
        assert not findings
        campaign = repository.campaigns["proc7"].campaign
        runs = [run_key(3, 1)]
        (made,) = declare_units(campaign, repository, runs, make_sources({"mdst": {runs[0]: "0" * 64}}))
        return made

    one, other = units(), units(weights="3" * 32)
    used = find_payloads(one.chains.of(run_key(3, 1)), run_key(3, 1))
    assert used["CDCGeometry"].revision == "2"
    assert one.fingerprints["f_mix"] != other.fingerprints["f_mix"]


def test_the_role_is_locked_and_handed_to_the_job(tmp_path, capsys):
    repository_files = tree(
        campaign=CAMPAIGN,
        prompt=None,
        releases=RELEASES.replace("release-04-00-00", "release-08-02-06"),
        **{
            "productions/skims/registered.yaml": MENU,
            "productions/global-tags/analysis_tools_1.iov": snapshot("analysis_tools_1"),
        },
    )
    for file, content in repository_files.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "runs.csv").write_text("experiment,run,type\n3,1,physics\n3,2,physics\n")
    (tmp_path / "mdst.csv").write_text(
        "experiment,run,name,path,size,checksum\n"
        "3,1,mdst.physics.0003.00001.HLT1.f00000.root,/d/a.root,1,adler32:00000001\n"
    )

    def call(*words):
        code = run(["--root", str(tmp_path), *map(str, words)])
        assert code == Exit.FINE, capsys.readouterr().err
        return capsys.readouterr().out

    call("runs", "import", tmp_path / "runs.csv")
    call("files", "import", "--level", "mdst", tmp_path / "mdst.csv")
    call("resolve", "proc7")
    lock = tmp_path / "productions/campaigns/proc7/campaign.lock"
    assert [tag.get("role") for tag in json.loads(lock.read_text())["global_tags"]] == ["analysis", None]
    call("render", "proc7", "-o", tmp_path / "out")
    (job,) = (json.loads(one.read_text()) for one in (tmp_path / "out").rglob("*.json"))
    assert job["skim_tags"] == {"analysis": "analysis_tools_1"}
    assert job["global_tags"] == ["analysis_tools_1", "data_reprocessing_proc7"]
    manifest = tmp_path / "productions/campaigns/proc7/campaign.yaml"
    manifest.write_text(swap(manifest.read_text(), (", role: analysis", "")))
    assert run(["--root", str(tmp_path), "check"]) == Exit.FINDINGS
    assert "BP605 the lock pins another set of roles" in capsys.readouterr().out
