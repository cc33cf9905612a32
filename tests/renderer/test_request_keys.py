"""What each key of a production request says, and what keeps a request from being submitted, by name."""

from __future__ import annotations

import json

import pytest

from schemas.manifest.runs import run_key
from schemas.manifest.step import Expectation
from tests.support.inputs.grid_requests import LPN, RUNS, SITE, SKIMMED, declare
from tests.support.worlds.builders import RELEASES

KNOWN = Expectation(0.1, 2.5)
REGISTERED = """\
steps:
  skims:
    application: basf2
    template: offline_skim/1
    input: {level: mdst}
    skims: [dstar, leptons]
limits: {max_units: 4000, max_restate: 0}
"""
MENU = """\
schema: skims/1
title: Registered
provenance: As basf2 registers them
skims:
  dstar: {registry: {code: "17240100", module: charm, name: DstToD0Pi_D0ToHpJm}}
  leptons: {registry: {code: "18530100", module: lowMulti, name: TwoTrackLeptonsForLuminosity}}
"""
PROCESSING = """\
steps:
  reco:
    application: basf2
    template: raw_to_mdst/2
    input: {level: raw}
    outputs: [mdst, cdst]
limits: {max_units: 4000, max_restate: 0}
"""
MODERN = ("release: release-03-00-00", "release: release-06-00-08")
LATER = {
    "productions/skims/registry.yaml": MENU,
    "productions/releases.yaml": RELEASES.replace("release-04-00-00", "release-06-00-08"),
}


def declare_registered(runs=RUNS, **options):
    return declare(
        runs, MODERN, steps=REGISTERED, more=LATER, **{"expected": KNOWN, "place": SKIMMED, **options}
    )


def test_a_registered_skim_goes_by_name_and_code_and_by_the_general_skim_that_it_is_made_of():
    request, *_ = declare_registered()
    assert request.content["DataDescription"] == [
        {
            "": "DstToD0Pi_D0ToHpJm",
            "SkimDecayMode": "17240100",
            "DataLevel": "udst",
            "GeneralSkimName": "hadron",
        },
        {
            "": "TwoTrackLeptonsForLuminosity",
            "SkimDecayMode": "18530100",
            "DataLevel": "udst",
            "GeneralSkimName": "hadron",
        },
    ]
    assert request.content["DBGlobalTag"] == "DB00002058"
    assert request.obstacles == ()
    whole, *_ = declare_registered(place=LPN)
    assert all("GeneralSkimName" not in one for one in whole.content["DataDescription"])


def test_the_size_of_an_event_is_that_of_each_skim():
    several = Expectation(0.1, 2.5, None, (("dstar", 2.0), ("leptons", 0.5)))
    assert declare_registered(expected=several)[0].content["ExpectedEventSize"] == [2.0, 0.5]
    assert declare_registered()[0].content["ExpectedEventSize"] == 2.5


def test_work_is_told_in_hs06_seconds_of_the_core_that_it_was_measured_on():
    measured = Expectation(0.1, 2.5, 0.1 * 11.0)
    assert declare(RUNS, expected=measured)[0].content["ExpectedEventCPUTime"] == pytest.approx(1.1)
    assert declare(RUNS, expected=KNOWN)[0].content["ExpectedEventCPUTime"] == pytest.approx(2.457)


def test_a_site_says_whether_outputs_are_kept_by_run_and_for_which_system():
    def read(text):
        content = declare(RUNS, site=SITE + text)[0].content
        return content["DataStructureByRun"], content["VolumeDependentMerge"], content["ResourceTag"]

    assert read("") == ("False", "True", "EL9")
    assert read("gb2: {wrapper: [x], by_run: true, resource_tag: EL7}\n") == ("True", "False", "EL7")


def test_input_is_the_folder_of_the_level_without_blocks_of_data():
    for request in declare(RUNS):
        assert all(folder.endswith("/mdst") for folder in request.content["InputData"])


# ── one request, one energy, one tag ──


def test_runs_of_another_energy_or_tag_have_a_request_of_their_own():
    energies = {RUNS[0]: "4S", RUNS[1]: "4S_offres", RUNS[2]: "4S"}
    found = [(one.runs, one.content["BeamEnergy"]) for one in declare(RUNS, energies=energies)]
    assert found == [((RUNS[0],), "4S"), ((RUNS[1],), "4S_offres"), ((RUNS[2],), "4S")]

    def place(run):
        return LPN if run == RUNS[0] else LPN.replace("DB00000654", "DB00000677")

    numbers = [one.content["DBGlobalTag"] for one in declare(RUNS, place=place)]
    assert numbers == ["DB00000654", "DB00000677", "DB00000677"]


def test_of_raw_data_the_number_is_the_campaigns():
    (request, *_) = declare(RUNS, steps=PROCESSING, place="/belle/Data/Raw/e0003/r{run:05d}")
    assert request.content["DBGlobalTag"] == "DB00000598"


# ── what is in the way ──

SECRET = (
    "what the grid expects for anything but skims is not public: FabricationType, ProductionGroup, Priority"
)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"energies": {}}, "the beam energy of the runs is not known: import it with `b2prod runs import`"),
        (
            {"energies": dict.fromkeys(RUNS, "cosmics")},
            "what the grid calls the beam energy cosmics is not public",
        ),
        (
            {"energies": dict.fromkeys(RUNS, "Continuum")},
            "what the grid calls the beam energy Continuum is not",
        ),
        (
            {"place": "/belle/Data/somewhere/r{run:05d}/mdst"},
            "the path of the input does not tell the number of the global tag that it was made with",
        ),
        (
            {
                "place": "/group/belle2/dataprod/Data/release-03-02-02/DB00000654/proc9/e0003/4S/r{run:05d}/all/mdst"
            },
            "has no logical path of the grid, which begins with /belle/",
        ),
        (
            {
                "place": "/belle/MC/release-03-01-00/DB00000547/MC12b/prod00007392/s00/e1003/4S/r{run:05d}/mixed/mdst"
            },
            "is simulated, and these are requests for real data",
        ),
        ({"expected": Expectation()}, "the size of an event is not known"),
        (
            {"steps": PROCESSING, "number": None},
            "the number of the global tag data_reprocessing_proc7 is not known: `b2prod gt pull",
        ),
        ({"steps": PROCESSING}, SECRET),
        (
            {"steps": PROCESSING, "place": "/ghi/fs01/belle2/bdata/Data/Raw/e0003/r{run:05d}"},
            "the one of RAW is not public",
        ),
    ],
)
def test_what_is_in_the_way_is_named(options, says):
    (request, *_) = declare(RUNS, **{"expected": KNOWN, **options})
    found = [one for one in request.obstacles if says in one]
    assert len(found) == 1, request.obstacles
    assert json.loads(json.dumps(request.content))["Unsubmittable"] == list(request.obstacles)


def test_two_skims_by_one_name_are_not_told_apart():
    steps = PROCESSING.replace("raw_to_mdst/2", "hlt_skim/1").replace("{level: raw}", "{level: mdst}")
    steps = steps.replace("outputs: [mdst, cdst]", "skims: [final_hadron, line_hadron]")
    (request, *_) = declare(RUNS, steps=steps, expected=KNOWN)
    assert request.obstacles == ["2 outputs are the same to the grid: hadron"]


# ── what goes with it ──


def test_the_payloads_go_with_a_job_whose_release_reads_them():
    request, *_ = declare_registered()
    assert request.has_conditions
    assert request.content["InputSandboxFile"] == ["steering.py", "job.json", "conditions.sqlite"]
    assert request.job["conditions"] == "conditions.sqlite"
    older, *_ = declare(RUNS)
    assert not older.has_conditions
    assert "conditions" not in older.job


def test_a_request_is_for_runs_of_one_experiment():
    runs = [run_key(3, 529), run_key(4, 1)]
    assert [one.runs for one in declare(runs)] == [(run,) for run in runs]
