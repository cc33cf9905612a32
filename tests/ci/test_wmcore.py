"""Requests of another experiment (CMS, WMCore's ReReco) as manifests, and what of them has no counterpart here."""

from __future__ import annotations

import json

import pytest

from schemas.manifest.runs import fold_runs
from tests.support.worlds.builders import CAMPAIGN, RELEASES, check, snapshot, tree

FILES = (
    "ReReco_LumiMask",
    "ReReco_RunBlockWhite_Nvidia",
    "ReReco_RunBlocklists_Parents",
    "ReReco_badBlocks",
    "ReReco_failCase",
)

COUNTERPARTS = {
    "RequestType": "kind",
    "Campaign": "the folder's name",
    "RequestString": "the folder's name",
    "PrepID": "ticket",
    "Comments": "description",
    "CMSSWVersion": "release",
    "GlobalTag": "global_tags",
    "RunWhitelist": "runs.ranges",
    "LumiList": "runs.ranges",
    "InputDataset": "steps.input.level",
    "ConfigCacheID": "steps.template",
    "EventsPerJob": "steps.split",
    "FilesPerJob": "steps.split",
    "LumisPerJob": "steps.split",
    "SplittingAlgo": "steps.split",
}
"""Key of a request → where that stands in a manifest."""

WITHOUT = {
    "AcquisitionEra": "a run is of an experiment, by its number",
    "BlockWhitelist": "runs are selected, not blocks of files; a run waits until its files are complete",
    "ConfigCacheUrl": "templates are in the repository, nothing is fetched",
    "CouchDBName": "as ConfigCacheUrl",
    "DQMConfigCacheID": "harvesting of quality plots is another campaign",
    "DQMUploadUrl": "as DQMConfigCacheID",
    "EnableHarvesting": "as DQMConfigCacheID",
    "DbsUrl": "the run catalogue is the state's, no campaign's",
    "EventStreams": "how a job uses its processors is the site's to say",
    "Multicore": "as EventStreams",
    "Memory": "as EventStreams",
    "GPUParams": "as EventStreams",
    "RequiresGPU": "as EventStreams",
    "ScramArch": "a release is one build",
    "Group": "roles are in the policy, not in a campaign",
    "IncludeParents": "a step reads one level of a run",
    "OpenRunningTimeout": "an open selection has a day and a cap, and no time-out",
    "ProcessingString": "outputs are told apart by campaign and version",
    "ProcessingVersion": "the ledger assigns versions",
    "RequestPriority": "the engine's queue is the site's",
    "Scenario": "a template is one scenario",
    "SizePerEvent": "sizes are measured",
    "TimePerEvent": "times are measured",
}
"""Keys of requests that a manifest has no place for, and why."""

PARTIAL = "a unit is a whole run: a mask of lumi sections is not expressed"


@pytest.fixture(params=FILES)
def request_data(request, shared_data):
    return json.loads((shared_data / f"wmcore/{request.param}.json").read_text())["createRequest"]


def list_runs(data):
    runs = data.get("RunWhitelist") or [int(run) for run in data.get("LumiList", {})]
    return sorted(map(int, runs))


def test_every_key_has_a_counterpart_or_a_reason(request_data):
    assert set(request_data) <= COUNTERPARTS.keys() | WITHOUT.keys()
    assert not COUNTERPARTS.keys() & WITHOUT.keys()


def test_what_has_a_counterpart_is_a_manifest_that_checks(request_data):
    runs = list_runs(request_data)
    assert runs, "a request without runs takes a whole dataset, which here is an open selection"
    ranges = ", ".join(map(str, fold_runs(runs)))
    tag = request_data["GlobalTag"].replace("::All", "")
    text = (
        CAMPAIGN.replace('"529-613, 620", exclude: "600", types: [physics, beam]', f'"{ranges}"')
        .replace('  - {experiment: 4, ranges: "1-20"}\n', "")
        .replace("data_reprocessing_proc7", tag)
        .replace("Phase 2 reprocessing", json.dumps(request_data["PrepID"]))
    )
    findings = check(
        tree(
            campaign=text,
            releases=RELEASES.replace(", recommended_tag: data_reprocessing_proc7", ""),
            **{f"productions/global-tags/{tag}.iov": snapshot(tag)},
        )
    )
    assert findings == ()


def test_a_mask_of_lumi_sections_is_the_one_thing_of_a_selection_that_is_lost(shared_data):
    data = json.loads((shared_data / "wmcore/ReReco_LumiMask.json").read_text())["createRequest"]
    assert any(sections != [[1, sections[-1][1]]] for sections in data["LumiList"].values()), PARTIAL
