from __future__ import annotations

import json
import math
from pathlib import Path

import awkward
import numpy as np
import pytest
import uproot

import renderer.event_data.event_file
from renderer.event_data.event_file import ERROR_FLAG, OBJECTS
from renderer.skimming import skim
from schemas.json_schema.validation import read_valid
from schemas.policy.validation import VALIDATIONS, read_validation
from tests.support.inputs.skim_jobs import fail, lack, write_events, write_run

HOUSE = Path(__file__).parents[2]
BINS = [10, 0.0, 10.0]
COUNTS = {"count": "Tracks", "bins": [60, 0.0, 60.0], "per": "event"}


def read_tracking():
    file = f"{VALIDATIONS}/tracking.yaml"
    validation, findings = read_validation(
        "tracking", read_valid(file, (HOUSE / file).read_bytes(), "validation")
    )
    assert not findings
    return {one.name: one.describe() for one in validation.quantities}


def write_job(paths, quantities, experiment=3, run=529, **more):
    return {
        "experiment": experiment,
        "run": run,
        "inputs": [{"name": Path(path).name, "path": str(path)} for path in paths],
        "outputs": [{"file": "histograms.a.root"}, {"file": "histograms.a.json"}],
        "quantities": quantities,
        **more,
    }


def fill(job, folder):
    """The histograms as JSON data, after comparing them with those in the ROOT file."""
    folder.mkdir(exist_ok=True)
    report = skim(job, folder)
    assert report["failure"] is None
    told = {"kind": "histograms", "events": None}
    assert report["outputs"] == {"histograms.a.root": told, "histograms.a.json": told}
    written = json.loads((folder / "histograms.a.json").read_bytes())
    assert written["schema"] == "histograms/1"
    assert (written["experiment"], written["run"]) == (job["experiment"], job["run"])
    assert written["events"] == report["events_read"]
    with uproot.open(folder / "histograms.a.root") as file:
        assert set(file.classnames(cycle=False).values()) == {"TH1D"}
        assert file.keys(cycle=False) == [*job["quantities"]]
        for name, said in written["quantities"].items():
            histogram = file[name]
            number, low, high = said["bins"]
            assert histogram.values(flow=True).tolist() == [said["below"], *said["counts"], said["above"]]
            assert np.allclose(histogram.axis().edges(), np.linspace(low, high, number + 1))
            entries = said["below"] + sum(said["counts"]) + said["above"]
            assert histogram.member("fEntries") == entries
    return written["quantities"]


def count_entries(said):
    return said["below"] + sum(said["counts"]) + said["above"]


@pytest.fixture
def mdst(shared_data) -> Path:
    return shared_data / "belle2" / "mdst"


REAL = ["mdst.root", "150_noBKG_DtoPiNuNu.root", "mdst-v06-00-00.root", "mdst-v05-00-00.root"]


@pytest.mark.parametrize("name", REAL)
def test_tracks_of_real_files_are_those_known_from_elsewhere(name, mdst, tmp_path):
    known = json.loads((mdst / "uproot_summary.json").read_text())[name]
    job = write_job([mdst / name], {"tracks": COUNTS}, known["experiment"], known["run"])
    tracks = fill(job, tmp_path)["tracks"]
    assert tracks["counts"] == np.bincount(known["tracks"], minlength=60).tolist()
    assert tracks["below"] == tracks["above"] == 0
    assert sum(tracks["counts"]) == known["entries"]


def test_the_validation_of_this_repository_on_a_real_file(mdst, tmp_path):
    known = json.loads((mdst / "uproot_summary.json").read_text())["mdst.root"]
    found = fill(write_job([mdst / "mdst.root"], read_tracking(), 1003, 0), tmp_path)
    with uproot.open(mdst / "mdst.root") as file:
        tree = file["tree"]
        p_values = np.concatenate(tree["TrackFitResults/TrackFitResults.m_pValue"].array(library="np"))
        energies = np.exp(np.concatenate(tree["ECLClusters/ECLClusters.m_logEnergy"].array(library="np")))
        hits = tree["EventLevelTrackingInfo/m_nCDCHitsNotAssigned"].array(library="np")
        clusters = tree["ECLClusters"].array(library="np")
    expected = {
        "p_value": (p_values, 51, 0, 1.02),
        "cluster_energy": (energies, 100, 0, 5),
        "unassigned_cdc_hits": (hits, 50, 0, 5000),
        "clusters": (clusters, 60, 0, 60),
    }
    for name, (values, number, low, high) in expected.items():
        counts, _ = np.histogram(values[values < high], number, (low, high))
        assert found[name]["counts"] == counts.tolist(), name
        assert found[name]["above"] == np.sum(values >= high)
    middles = (np.arange(100) + 0.5) * 0.05
    total = np.dot(found["cluster_energy"]["counts"], middles)
    assert math.isclose(total, sum(known["ecl_cluster_energy_sum"]), rel_tol=0.02)
    assert count_entries(found["tracks"]) == 100


@pytest.mark.parametrize("most", [1, 7, 33])
def test_histograms_do_not_depend_on_the_chunks_and_are_made_twice_the_same(
    most, mdst, tmp_path, monkeypatch
):
    job = write_job([mdst / "mdst.root"], read_tracking(), 1003, 0)
    whole = fill(job, tmp_path / "whole")
    monkeypatch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", most)
    monkeypatch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
    chunks = []
    read = renderer.event_data.event_file.EventFile.read_chunks

    def note(*arguments, **named):
        for chunk in read(*arguments, **named):
            chunks.append(len(chunk))
            yield chunk

    monkeypatch.setattr(renderer.event_data.event_file.EventFile, "read_chunks", note)
    assert fill(job, tmp_path / "parts") == whole
    assert max(chunks) == most
    assert sum(chunks) == 100
    first, second = (tmp_path / one / "histograms.a.json" for one in ("whole", "parts"))
    assert first.read_bytes() == second.read_bytes()


def test_a_run_without_events_has_histograms_of_nothing(mdst, tmp_path):
    found = fill(write_job([mdst / "chaintest_empty.root"], read_tracking(), 1, 0), tmp_path)
    assert {count_entries(one) for one in found.values()} == {0}
    assert len(found) == len(read_tracking())


def test_several_files_of_a_run_are_one_histogram(tmp_path):
    one = write_run(tmp_path / "a.root", 5, x=np.arange(5.0))
    other = write_events(tmp_path / "b.root", experiment=[3, 3], run=[529, 529], event=[8, 9], x=[4.0, 20.0])
    x = {"expression": "x", "bins": BINS, "per": "event"}
    found = fill(write_job([one, other], {"x": x}), tmp_path / "out")["x"]
    assert found["counts"] == [1, 1, 1, 1, 2, 0, 0, 0, 0, 0]
    assert (found["below"], found["above"]) == (0, 1)


IDENTITY = dict(zip(("experiment", "run", "event"), OBJECTS, strict=True))


def write_flagged(path, numbers, flags):
    """Events as basf2 names them, with error flags; none if `flags` is None."""
    size = len(numbers)
    columns = {IDENTITY["experiment"]: [3] * size, IDENTITY["run"]: [529] * size, IDENTITY["event"]: numbers}
    flags = {} if flags is None else {ERROR_FLAG: np.array(flags, np.uint32)}
    return write_events(path, tree="tree", **columns, **flags, x=np.arange(float(size)))


@pytest.mark.parametrize("most", [2, 100_000], ids=["chunks", "whole"])
def test_events_with_an_error_flag_are_counted_where_every_file_has_the_branch(tmp_path, monkeypatch, most):
    monkeypatch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", most)
    monkeypatch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
    x = {"x": {"expression": "x", "bins": BINS, "per": "event"}}
    one = write_flagged(tmp_path / "a.root", [1, 2, 3, 4, 5], [0, 16, 0, 1, 2**31])
    other = write_flagged(tmp_path / "b.root", [6, 7], [0, 1])
    without = write_flagged(tmp_path / "c.root", [8, 9], None)
    told = {}
    for name, paths in (("both", [one, other]), ("unknown", [one, without]), ("lone", [without])):
        fill(write_job(paths, x), tmp_path / name)
        told[name] = json.loads((tmp_path / name / "histograms.a.json").read_bytes()).get("error_flagged")
    assert told == {"both": 4, "unknown": None, "lone": None}


def test_real_files_say_that_none_of_their_events_has_an_error_flag(mdst, tmp_path):
    for name, run in (("mdst.root", (1003, 0)), ("chaintest_empty.root", (1, 0))):
        tracks = COUNTS if name == "mdst.root" else {"expression": "x", "bins": BINS, "per": "event"}
        fill(write_job([mdst / name], {"tracks": tracks}, *run), tmp_path / name)
        assert json.loads((tmp_path / name / "histograms.a.json").read_bytes())["error_flagged"] == 0


def test_arithmetic_is_that_of_cuts(tmp_path):
    run = write_run(tmp_path / "a.root", 4, x=[1.0, 2.0, 0.0, -9.0], y=[2, 4, 0, 1])
    ratio = {"expression": "2 * y / x ** 2", "bins": [4, 0.0, 4.0], "per": "event"}
    found = fill(write_job([run], {"ratio": ratio}), tmp_path / "out")["ratio"]
    # 4, 2, 0/0, 2/81: the upper edge and what is not a number are above
    assert (found["below"], found["counts"], found["above"]) == (0, [1, 0, 1, 0], 2)


def write_lists(path, **lists):
    size = len(next(iter(lists.values())))
    with uproot.recreate(path) as file:
        identity = {"experiment": np.full(size, 3), "run": np.full(size, 529), "event": np.arange(size)}
        arrays = {**identity, **{name: awkward.Array(one) for name, one in lists.items()}}
        file.mktree(
            "events", {name: getattr(one, "dtype", None) or one.type.content for name, one in arrays.items()}
        ).extend(arrays)
    return path


def test_lists_have_an_entry_for_each_value_and_numbers_of_the_event_go_with_each(tmp_path):
    run = write_lists(tmp_path / "a.root", pt=[[1.0, 2.0], [], [5.0]], beam=[1.0, 2.0, 3.0])
    quantities = {
        "pt": {"expression": "pt + beam", "bins": BINS, "per": "object"},
        "number": {"count": "pt", "bins": BINS, "per": "event"},
    }
    found = fill(write_job([run], quantities), tmp_path / "out")
    assert found["pt"]["counts"] == [0, 0, 1, 1, 0, 0, 0, 0, 1, 0]
    assert found["number"]["counts"] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_an_ntuple_of_candidates_has_an_entry_for_each_event_or_for_each_candidate(tmp_path):
    run = write_events(
        tmp_path / "a.root",
        tree="B0",
        __experiment__=[3, 3, 3],
        __run__=[529, 529, 529],
        __event__=[1, 1, 2],
        __candidate__=[0, 1, 0],
        nTracks=[4.0, 4.0, 6.0],
    )
    quantities = {per: {"expression": "nTracks", "bins": BINS, "per": per} for per in ("event", "object")}
    found = fill(write_job([run], quantities), tmp_path / "out")
    assert found["event"]["counts"] == [0, 0, 0, 0, 1, 0, 1, 0, 0, 0]
    assert found["object"]["counts"] == [0, 0, 0, 0, 2, 0, 1, 0, 0, 0]


def test_of_an_event_with_candidates_lists_are_counted_once(tmp_path):
    event = {
        "__experiment__": [3] * 3,
        "__run__": [529] * 3,
        "__event__": [1, 1, 2],
        "__candidate__": [0, 1, 0],
    }
    run = write_lists(tmp_path / "a.root", **event, pt=[[1.0, 2.0], [1.0, 2.0], [5.0]])
    number = {"count": "pt", "bins": BINS, "per": "event"}
    found = fill(write_job([run], {"number": number}), tmp_path / "out")["number"]
    assert found["counts"] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]


# -- what cannot be


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        (
            {"expression": "m_pValu", "of": "TrackFitResults"},
            "nearest: TrackFitResults/TrackFitResults.m_pValue",
        ),
        (
            {"expression": "m_pValue", "of": "TrackFitResult"},
            "has no branch TrackFitResult/TrackFitResult.m_pValue",
        ),
        ({"count": "Traks"}, "has no branch Traks; nearest: Tracks"),
        ({"count": "EventMetaData"}, "it holds no objects and no list to count"),
        ({"expression": "m_flagBlock", "of": "EventLevelTrackingInfo"}, "neither one number nor one list"),
    ],
)
def test_what_a_file_lacks_concerns_all_jobs_of_the_step(quantity, message, mdst, tmp_path):
    job = write_job([mdst / "mdst.root"], {"one": {"bins": BINS, "per": "object", **quantity}}, 1003, 0)
    assert message in lack(job, tmp_path)


def test_a_list_is_not_one_number_per_event(mdst, tmp_path):
    one = {"expression": "m_pValue", "of": "TrackFitResults", "bins": BINS, "per": "event"}
    told = lack(write_job([mdst / "mdst.root"], {"one": one}, 1003, 0), tmp_path)
    assert "a list of numbers per event, and one has one entry per event; write `per: object`" in told


def test_lists_of_several_lengths_do_not_go_together(tmp_path):
    run = write_lists(tmp_path / "a.root", pt=[[1.0], [1.0, 2.0]], px=[[1.0], [1.0]])
    one = {"expression": "px / pt", "bins": BINS, "per": "object"}
    told = fail(write_job([run], {"one": one}), tmp_path)
    assert told == "a.root, entry 1: the lists that one needs have several lengths"


def test_events_are_those_of_the_run_as_registered_and_occur_once(tmp_path):
    x = {"x": {"expression": "x", "bins": BINS, "per": "event"}}
    run = write_run(tmp_path / "a.root", 5, x=np.arange(5.0))
    assert "event 1 belongs to 3:529, the job is for 3:530" in fail(write_job([run], x, run=530), tmp_path)
    job = write_job([run], x)
    job["inputs"][0]["events"] = 6
    assert fail(job, tmp_path) == "a.root holds 5 events, and 6 are registered"
    again = write_run(tmp_path / "b.root", 5, x=np.arange(5.0))
    assert "event" in fail(write_job([run, again], x), tmp_path, "permanent")


def test_a_trial_ends_after_its_events(tmp_path):
    x = {"x": {"expression": "x", "bins": BINS, "per": "event"}}
    run = write_run(tmp_path / "a.root", 5, x=np.arange(5.0))
    assert count_entries(fill(write_job([run], x, most_events=3), tmp_path / "out")["x"]) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantities": {}}, "the job has no quantities"),
        ({"outputs": []}, "the job has no outputs"),
        ({"inputs": []}, "the job has no inputs"),
        ({"outputs": [{"file": "../a.json"}]}, "is not a plain name that ends in .root or .json"),
        ({"quantities": {"x": {"bins": BINS, "per": "event"}}}, "needs `expression` or `count`"),
        ({"quantities": {"x": {"bins": BINS, "per": "run", "count": "x"}}}, "needs `expression` or `count`"),
        ({"quantities": {"x": {"bins": BINS, "per": "event", "expression": "x >"}}}, "does not parse"),
    ],
)
def test_a_wrong_job_is_told(change, message, tmp_path):
    assert message in fail(write_job(["a.root"], {"x": COUNTS}) | change, tmp_path, "permanent")
