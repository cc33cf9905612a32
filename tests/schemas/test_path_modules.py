"""The modules of a template's path: an override of another one is found before anything runs."""

from __future__ import annotations

import json

import pytest

from renderer.steering import PATHS, TEMPLATES, load_templates, read_templates
from schemas.repository import read_repository
from schemas.rules.deviations import check_modules
from tests.support.worlds.builders import CAMPAIGN, swap, tree

WHY = "reason: under study, ticket: BIIDP-1120"
HEAD = CAMPAIGN[: CAMPAIGN.index("steps:\n")]
TABLE = json.loads((TEMPLATES / PATHS).read_text())["eras"]


def find(template, more, release="release-03-00-00"):
    """What is wrong with the modules that a step of this template names."""
    step = f"steps:\n  reco:\n    application: basf2\n    template: {template}\n    input: {{level: raw}}\n"
    text = swap(
        HEAD,
        ("kind: reprocessing", "kind: calibration"),
        ("release: release-03-00-00", f"release: {release}"),
    )
    files = tree(
        campaign=f"{text}{step}    outputs: [cdst]\n{more}limits: {{max_units: 4000}}\n", prompt=None
    )
    repository, findings = read_repository(files, load_templates())
    assert findings == ()
    return [(finding.code, finding.message, finding.hint) for finding in check_modules(repository)]


def override(module):
    return f"    overrides: [{{module: {module}, parameter: enabled, value: true, {WHY}}}]\n"


def test_a_module_that_was_made_up_is_found_at_check():
    assert find("raw_to_cdst/1", override("EKLMTrackMatch")) == [
        (
            "BP512",
            "the path of raw_to_cdst/1 has no module `EKLMTrackMatch`",
            "did you mean `ECLTrackShowerMatch`? otherwise take it out",
        )
    ]
    assert find("raw_to_cdst/2", override("EKLMTrackMatch"), "release-04-00-00")


@pytest.mark.parametrize(
    ("template", "module", "known"),
    [
        ("raw_to_cdst/1", "SetupGenfitExtrapolation", True),
        ("raw_to_cdst/1", "TFCDC_WireHitPreparer", True),
        ("raw_to_cdst/1", "EKLMReconstructor", True),
        ("raw_to_cdst/2", "KLMReconstructor", True),
        ("raw_to_cdst/1", "RootInput", True),  # of what all templates begin with
        ("raw_to_cdst/1", "RootOutput", True),
        ("raw_to_cdst/1", "CDCUnpacker", True),
        ("hlt_skim/1", "TriggerSkim", True),
        ("hlt_skim/1", "CDCUnpacker", False),
        ("cosmic_to_mdst/1", "PlaneTriggerTrackTimeEstimator", True),
        ("raw_to_cdst/1", "PlaneTriggerTrackTimeEstimator", False),
        # joined while a script runs
        ("raw_to_cdst/2", "CDCToSVDSpacePointCKF_forward", True),
        ("raw_to_cdst/2", "CDCToSVDSpacePoints", False),
        # what skims of the registry add is not known
        ("offline_skim/1", "EKLMTrackMatch", True),
    ],
)
def test_what_a_path_may_have(template, module, known):
    assert load_templates()[template].may_have(module) is known


def test_a_scan_over_a_module_is_held_to_the_same():
    scan = f"    scan: {{cut: {{module: V0Findr, parameter: Validation, values: {{yes1: true, no1: false}}, {WHY}}}}}\n"
    ((code, message, hint),) = find("raw_to_cdst/1", scan)
    assert (code, message) == ("BP512", "the path of raw_to_cdst/1 has no module `V0Findr`")
    assert hint.startswith("did you mean `V0Finder`?")
    assert find("raw_to_cdst/1", scan.replace("V0Findr", "V0Finder")) == []
    payloads = f"    scan: {{cut: {{payload: CDCGeometry, values: {{a: adc_0, b: adc_1}}, {WHY}}}}}\n"
    assert find("raw_to_cdst/1", payloads) == []


def test_each_template_of_a_reconstruction_has_known_modules():
    for name, template in load_templates().items():
        assert (template.modules is None) == ("skim.registry" in template.text), name
        assert template.modules is None or {"RootOutput", "RootInput", "SeqRootInput"} & template.modules


def test_the_table_says_where_it_is_from():
    assert list(TABLE) == ["A", "B", "C"]
    for era, about in TABLE.items():
        assert all(len(commit) == 40 for commit in about["commits"])
        assert ("inferred" in about) == (era != "C")
        for modules in about["functions"].values():
            assert modules == sorted(set(modules))


def test_a_folder_without_the_table_knows_no_modules(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/1.yaml").write_text(
        "schema: template/1\ntitle: For tests\nreads: raw\nwrites: [mdst]\nreleases: [release-03-]\n"
    )
    (tmp_path / "own/1.py.j2").write_text('path.add_module("Gearbox")\n')
    assert read_templates(tmp_path)["own/1"].may_have("Whatever")
