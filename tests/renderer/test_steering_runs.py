"""Every template of every era runs, in a double of basf2 that behaves as the sources of its releases say."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import pytest

from renderer.jobs.job_json import InputFile, divide_input
from renderer.steering import load_templates
from schemas.manifest.step import Step, StepInput
from tests.support.doubles.basf2_runs import (
    BRANCHES,
    LINE,
    Trial,
    list_states,
    make_events,
    make_job,
    run_all,
    run_script,
    write_file,
)

TEMPLATES = load_templates()
CURRENT = {name: one for name, one in TEMPLATES.items() if one.superseded is None}
YES, NO = {LINE: 1}, {LINE: 0}
OTHER = {"software_trigger_cut&all&total_result": 1}
"""A result without the line."""


def pick(name, series):
    """A template, and the state of one release series that it serves."""
    return TEMPLATES[name], dict(list_states(TEMPLATES[name]))[series]


def divide(split, paths):
    """The input files of each job, as a step with that split has them."""
    step = Step("reco", "basf2", StepInput("raw"), ("mdst",), split)
    files = [InputFile(path.name, str(path), path.stat().st_size, "adler32:468809e3") for path in paths]
    by_name = {path.name: path for path in paths}
    return [[by_name[one.name] for one in job.inputs] for job in divide_input(step, files)]


def write_run(folder, level, *, simulated):
    """Two files of a run: three events, one of them without a result of the HLT, and two, one of which lacks the line."""
    branches = BRANCHES.get(level, BRANCHES["raw"])
    return [
        write_file(
            folder / f"physics.{index}.root",
            level,
            make_events(529, results, branches),
            simulated=simulated,
        )
        for index, results in enumerate(([YES, None, NO], [YES, OTHER]))
    ]


def run_everywhere(folder, template, *, simulated):
    """A template in every state that it serves, of every level that it reads, with both splits: what came of each.

    By name, with the level that was read, and the jobs' outputs.
    """
    trials = {}
    for series, state in list_states(template):
        for level in template.reads:
            here = folder / f"{series}{level}"
            here.mkdir()
            paths = write_run(here, level, simulated=simulated)
            for split in ("file", "run"):
                for index, inputs in enumerate(divide(split, paths)):
                    name = f"{series}{level}-{split}-{index}"
                    trials[name] = (level, Trial(template, state, make_job(template, level, inputs)))
    finished = run_all(folder, {name: trial for name, (_, trial) in trials.items()})
    return [(name, level, trial.job, finished[name]) for name, (level, trial) in trials.items()]


@pytest.mark.parametrize("name", CURRENT)
def test_a_template_runs_wherever_it_serves(tmp_path, name):
    """Whatever is read: two files of a run, an event without a result of the HLT, and one whose result lacks the line."""
    template = CURRENT[name]
    events = Counter()
    for place, level, job, done in run_everywhere(tmp_path, template, simulated=True):
        assert done.status == 0, f"{place}: {done.printed}"
        assert done.outputs.keys() == {one["file"] for one in job["outputs"]}
        for one in job["outputs"]:
            output = done.outputs[one["file"]]
            said = output["FileMetaData"]
            assert said["dataDescription"]["dataLevel"] == one["level"]
            assert said["globalTag"] == "data_first,data_second"
            assert said["randomSeed"] == job["seed"]
            made_of_raw = level in ("raw", "sroot") and one["level"] != level
            assert said["isMC"] is not made_of_raw, (
                f"{place}: what the detector wrote is real, all else as it was"
            )
            events[place[:-2], one["file"]] += len(output["tree"])
    assert set(events.values()) == {2 if template.skims == "line" else 5}


SETS = ("a.sroot", "a.sroot-1", "a.sroot-2", "b.sroot", "c.sroot-1")
"""Two sets of raw data in the DAQ's format, and a part whose first file is elsewhere."""


@pytest.mark.parametrize("split", ["file", "run"])
@pytest.mark.parametrize("name", [name for name, one in CURRENT.items() if "sroot" in one.reads])
def test_each_event_of_a_set_of_raw_data_is_read_once(tmp_path, name, split):
    """Of a set basf2 reads the further parts by itself."""
    template = CURRENT[name]
    paths = [
        write_file(
            tmp_path / one, "sroot", make_events(529, [YES] * number, BRANCHES["raw"]), simulated=False
        )
        for number, one in enumerate(SETS, 1)
    ]
    step = Step("convert", "basf2", StepInput("sroot"), ("raw",), split)
    jobs = divide_input(step, [InputFile(path.name, str(path), 1, "adler32:468809e3") for path in paths])
    assert [[one.name for one in job.inputs if one not in job.parts] for job in jobs] == (
        [["a.sroot"], ["b.sroot"], ["c.sroot-1"]]
        if split == "file"
        else [["a.sroot", "b.sroot", "c.sroot-1"]]
    )
    assert sorted(one.name for job in jobs for one in job.inputs) == sorted(SETS)
    for series, state in list_states(template):
        trials = {}
        for job in jobs:
            named = [Path(one.path) for one in job.inputs if one not in job.parts]
            trials[f"{series}{job.key}"] = Trial(template, state, make_job(template, "sroot", named))
        done = run_all(tmp_path, trials)
        read = [len(output["tree"]) for one in done.values() for output in one.outputs.values()]
        assert sum(read) == 1 + 2 + 3 + 4 + 5, series


@pytest.mark.parametrize("name", CURRENT)
def test_what_is_real_stays_real(tmp_path, name):
    for place, _, _, done in run_everywhere(tmp_path, CURRENT[name], simulated=False):
        assert {output["FileMetaData"]["isMC"] for output in done.outputs.values()} == {False}, place


@pytest.mark.parametrize("name", ["raw_to_mdst/5", "raw_to_cdst/3", "cosmic_to_mdst/4"])
def test_real_data_are_declared_at_each_change_of_file(tmp_path, name):
    """Releases 02 and 03 take files that say different things."""
    template, state = pick(name, "release-02-")
    paths = [
        write_file(tmp_path / f"{index}.root", "raw", make_events(529, [YES], BRANCHES["raw"]), simulated=one)
        for index, one in enumerate((False, True))
    ]
    done = run_script(tmp_path / "new", template, state, make_job(template, "raw", paths))
    assert {output["FileMetaData"]["isMC"] for output in done.outputs.values()} == {False}
    former = TEMPLATES[
        {"raw_to_mdst/5": "raw_to_mdst/2", "raw_to_cdst/3": "raw_to_cdst/1"}.get(name, "cosmic_to_mdst/1")
    ]
    done = run_script(tmp_path / "old", former, state, make_job(former, "raw", paths))
    assert {output["FileMetaData"]["isMC"] for output in done.outputs.values()} == {True}


@pytest.mark.parametrize("series", ["release-04-", "release-05-"])
@pytest.mark.parametrize(
    ("name", "former"), [("raw_to_cdst/4", "raw_to_cdst/2"), ("cosmic_to_cdst/3", "cosmic_to_cdst/1")]
)
def test_cdst_of_releases_04_and_05_hold_what_calibration_needs(tmp_path, name, former, series):
    paths = write_run(tmp_path, "raw", simulated=False)
    found = {}
    for one in (name, former):
        template, state = pick(one, series)
        done = run_script(tmp_path / one.replace("/", "-"), template, state, make_job(template, "raw", paths))
        (output,) = done.outputs.values()
        found[one] = "RawCDCs" in output["branches"]
    assert found == {name: True, former: False}


@pytest.mark.parametrize("series", ["release-04-", "release-06-"])
def test_an_mdst_of_cdst_has_the_combined_event_time_before_clusters_are_finished(tmp_path, series):
    name, former = {
        "release-04-": ("cdst_to_mdst/5", "cdst_to_mdst/3"),
        "release-06-": ("cdst_to_mdst/6", "cdst_to_mdst/2"),
    }[series]
    paths = write_run(tmp_path, "cdst", simulated=False)
    for one, times in ((name, 1), (former, 0)):
        template, state = pick(one, series)
        done = run_script(
            tmp_path / one.replace("/", "-"), template, state, make_job(template, "cdst", paths)
        )
        history = done.outputs["mdst.out.root"]["history"]
        assert history.count("EventT0Combiner") == times
        if times:
            assert history.index("TOPReconstructor") < history.index("EventT0Combiner")
            assert history.index("EventT0Combiner") < history.index("ECLFinalizer")


def test_without_the_ecl_the_event_time_is_combined_all_the_same(tmp_path):
    template, state = pick("cdst_to_mdst/5", "release-05-")
    paths = write_run(tmp_path, "cdst", simulated=False)
    for components in (("CDC", "TOP"), ("CDC", "KLM")):
        job = make_job(template, "cdst", paths)
        done = run_script(tmp_path / "-".join(components), template, state, job, {"components": components})
        history = done.outputs["mdst.out.root"]["history"]
        assert history.count("EventT0Combiner") == 1
        if "KLM" in components:
            assert history.index("EventT0Combiner") < history.index("KLMReconstructor")


@pytest.mark.parametrize(
    ("name", "series", "says"),
    [
        ("hlt_skim/1", "release-02-", "useRandomNumbersForPreScale"),
        ("sroot_to_root/1", "release-02-", "declareRealData"),
        ("hlt_skim/2", "release-05-", "No HLT Trigger result available"),
        ("hlt_skim/2", "release-08-", "No HLT Trigger result available"),
    ],
)
def test_what_was_superseded_ends_in_this_double_too(tmp_path, name, series, says):
    template, state = pick(name, series)
    level = template.reads[0]
    paths = write_run(tmp_path, level, simulated=False)
    done = run_script(tmp_path / "job", template, state, make_job(template, level, paths))
    assert done.status != 0
    assert says in done.printed


def test_a_run_without_any_result_of_the_hlt_is_no_empty_skim(tmp_path):
    """A file without the branch has not been through the HLT: nothing says that none of its events would be taken."""
    for name, series in (("hlt_skim/3", "release-02-"), ("hlt_skim/4", "release-04-")):
        template, state = pick(name, series)
        path = write_file(tmp_path / "a.root", "udst", make_events(529, [None]), simulated=False)
        done = run_script(tmp_path / series, template, state, make_job(template, "mdst", [path]))
        assert done.status == 1
        assert "SoftwareTriggerResult does not exist" in done.printed


OVERRIDE = {
    "module": "ECLFinalizer",
    "parameter": "clusterEnergyCutMin",
    "value": 0.03,
    "reason": "study",
    "ticket": "B-1",
}
OVERRIDABLE = [
    ("raw_to_mdst/5", "release-02-"),
    ("raw_to_mdst/6", "release-05-"),
    ("raw_to_mdst/7", "release-08-"),
]


@pytest.mark.parametrize(("name", "series"), OVERRIDABLE)
def test_an_override_reaches_its_module_and_a_wrong_one_ends_the_job(tmp_path, name, series):
    template, state = pick(name, series)
    paths = write_run(tmp_path, "raw", simulated=False)
    for folder, changes, status, says in (
        ("fine", {}, 0, ""),
        ("module", {"module": "EKLMTrackMatch"}, 1, "the path has no module EKLMTrackMatch"),
        ("parameter", {"parameter": "enabled"}, 1, "Cannot set parameter 'enabled'"),
    ):
        job = make_job(template, "raw", paths, overrides=[{**OVERRIDE, **changes}])
        done = run_script(tmp_path / folder, template, state, job)
        assert (done.status, says in done.printed) == (status, True), done.printed
    described = run_script(
        tmp_path / "described", template, state, make_job(template, "raw", paths, overrides=[OVERRIDE])
    ).outputs["mdst.out.root"]["FileMetaData"]["dataDescription"]
    assert described["override ECLFinalizer.clusterEnergyCutMin"] == "0.03 (B-1: study)"


def test_an_override_of_a_former_template_ends_the_job_where_a_module_leads_to_another_path(tmp_path):
    template, state = pick("raw_to_mdst/4", "release-08-")
    paths = write_run(tmp_path, "raw", simulated=False)
    done = run_script(
        tmp_path / "job", template, state, make_job(template, "raw", paths, overrides=[OVERRIDE])
    )
    assert done.status == 1
    assert "KeyError" in done.printed


def test_an_override_of_what_writes_a_skim_reaches_the_path_below(tmp_path):
    template, state = pick("hlt_skim/3", "release-02-")
    paths = write_run(tmp_path, "mdst", simulated=False)
    compressed = {**OVERRIDE, "module": "RootOutput", "parameter": "compressionLevel", "value": 4}
    done = run_script(
        tmp_path / "job", template, state, make_job(template, "mdst", paths, overrides=[compressed])
    )
    assert done.status == 0, done.printed
    assert len(done.outputs["hadron.out.root"]["tree"]) == 2


@pytest.mark.parametrize(
    ("name", "series"), [*OVERRIDABLE, ("raw_to_cdst/3", "release-02-"), ("raw_to_cdst/5", "release-07-")]
)
def test_additional_branches_are_written_and_told(tmp_path, name, series):
    template, state = pick(name, series)
    paths = write_run(tmp_path, "raw", simulated=False)
    more = [{"name": "BKLMHit1ds", "reason": "alignment", "ticket": "BII-4458"}]
    done = run_script(
        tmp_path / "job", template, state, make_job(template, "raw", paths, additional_branches=more)
    )
    for output in done.outputs.values():
        level = output["FileMetaData"]["dataDescription"]["dataLevel"]
        assert ("BKLMHit1ds" in output["wanted"]) is (level != "dst")  # which holds all
        assert (
            output["FileMetaData"]["dataDescription"]["additional branch BKLMHit1ds"] == "BII-4458: alignment"
        )


@pytest.mark.parametrize("name", ["offline_skim/3", "combined_skim/3"])
@pytest.mark.parametrize(("series", "status"), [("release-06-", 1), ("release-08-", 0)])
def test_skims_are_handed_tags_where_they_take_them(tmp_path, name, series, status):
    template, state = pick(name, series)
    paths = write_run(tmp_path, "mdst", simulated=False)
    job = make_job(template, "mdst", paths, skim_tags={"analysis": "analysis_tools_1"})
    done = run_script(tmp_path / "job", template, state, job)
    assert done.status == status
    assert ("unexpected keyword argument 'analysisGlobaltag'" in done.printed) is bool(status)


TESTING = [
    {
        "name": name,
        "database": f"/testing/{name}/database.txt",
        "payloads": {},
        "reason": "study",
        "ticket": "B-1",
    }
    for name in ("one", "two")
]
TAGS = ["tag data_first", "tag data_second"]


@pytest.mark.parametrize(("name", "series"), OVERRIDABLE)
def test_conditions_are_asked_in_the_order_in_which_they_are_declared(tmp_path, name, series):
    template, state = pick(name, series)
    paths = write_run(tmp_path, "raw", simulated=False)
    done = run_script(
        tmp_path / "job", template, state, make_job(template, "raw", paths, testing_payloads=TESTING)
    )
    asked = done.outputs["mdst.out.root"]["asked"]
    assert asked == ["file /testing/one/database.txt", "file /testing/two/database.txt", *TAGS]


def test_old_releases_ask_the_payloads_of_the_run_before_the_tags_and_after_testing_payloads(tmp_path):
    template, state = pick("raw_to_mdst/5", "release-02-")
    paths = write_run(tmp_path, "raw", simulated=False)
    held = {"local_conditions": "conditions.txt", "payload_folder": "/cvmfs/belle.cern.ch/conditions"}
    job = make_job(template, "raw", paths, testing_payloads=TESTING[:1], **held)
    output = run_script(tmp_path / "job", template, state, job).outputs["mdst.out.root"]
    local = "file conditions.txt /cvmfs/belle.cern.ch/conditions"
    assert output["asked"] == ["file /testing/one/database.txt", local, *TAGS]
    assert output["FileMetaData"]["globalTag"] == "data_first,data_second"


@pytest.mark.parametrize(
    ("name", "series", "components", "says"),
    [
        ("raw_to_cdst/4", "release-04-", ("CDC", "ECL", "KLM", "TRG"), "PXDClustersFromTracks is required"),
        ("raw_to_cdst/5", "release-08-", ("CDC", "ECL", "KLM", "TRG"), "PXDClustersFromTracks is required"),
        ("raw_to_cdst/4", "release-05-", ("PXD", "CDC"), "SVDClusters does not exist"),
        ("cosmic_to_cdst/3", "release-05-", ("PXD", "SVD"), "does not exist"),
        ("raw_to_mdst/6", "release-05-", ("SVD", "TOP"), "ExtHits does not exist"),
        ("raw_to_mdst/7", "release-08-", ("SVD", "ECL"), "ExtHits does not exist"),
        ("raw_to_mdst/7", "release-08-", ("CDC", "BKLM"), "BKLM is unknown"),
    ],
)
def test_sets_of_detectors_that_check_refuses_end_the_job(tmp_path, name, series, components, says):
    template, state = pick(name, series)
    paths = write_run(tmp_path, "raw", simulated=False)
    job = make_job(template, "raw", paths)
    done = run_script(tmp_path / "job", template, state, job, {"components": components})
    assert (done.status, says in done.printed) == (1, True), done.printed


def test_a_script_that_names_a_module_or_parameter_of_another_release_ends(tmp_path):
    """The double is not a rubber stamp: what is taken out of the facts is missed."""
    template, state = pick("raw_to_mdst/7", "release-08-")
    paths = write_run(tmp_path, "raw", simulated=False)
    job = make_job(template, "raw", paths)
    for index, forget in enumerate(
        (
            lambda facts: facts["modules"].pop("Gearbox"),
            lambda facts: facts["modules"]["RootInput"]["parameters"].pop("ignoreCommandLineOverride"),
            lambda facts: facts["functions"]["reconstruction.add_reconstruction"]["parameters"].pop(
                "pruneTracks"
            ),
            lambda facts: facts["classes"]["Belle2.PyStoreObj"]["members"].remove("isValid"),
        )
    ):
        forgetful = copy.deepcopy(state)
        forget(forgetful)
        assert run_script(tmp_path / str(index), template, forgetful, job).status != 0
    assert run_script(tmp_path / "fine", template, state, job).status == 0


@pytest.mark.parametrize(("name", "series"), [("hlt_skim/6", one) for one in ("release-04-", "release-08-")])
def test_a_skim_takes_the_decision_that_it_names(tmp_path, name, series):
    """Of three events one is accepted, one was prescaled away, and one has no result."""
    template, state = pick(name, series)
    results = [{LINE: [1, 1]}, {LINE: [0, 1]}, None, {LINE: [0, 0]}]
    path = write_file(
        tmp_path / "a.root", "mdst", make_events(529, results, BRANCHES["mdst"]), simulated=False
    )
    taken = {}
    for decision in ("final", "before_prescale"):
        job = make_job(template, "mdst", [path])
        for skim in job["skims"].values():
            skim["decision"] = decision
        done = run_script(tmp_path / decision, template, state, job)
        assert done.status == 0, done.printed
        (output,) = done.outputs.values()
        taken[decision] = [event["event"] for event in output["tree"]]
    assert taken == {"final": [1], "before_prescale": [1, 2]}
