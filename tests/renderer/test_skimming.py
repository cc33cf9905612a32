from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

import renderer.event_data.event_file
from renderer.skimming import main, skim
from tests.support.inputs.skim_jobs import fail, lack, read_output, write_events, write_job, write_run

HADRON = "software_trigger_cut&skim&accept_hadron"
FILES = [
    "150_noBKG_DtoPiNuNu.root",
    "chaintest_1.root",
    "chaintest_2.root",
    "chaintest_empty.root",
    "mdst-v05-00-00.root",
    "mdst-v06-00-00.root",
    "mdst.root",
    "mdst_with_muid.root",
]


@pytest.fixture
def mdst(shared_data) -> Path:
    return shared_data / "belle2" / "mdst"


@pytest.fixture
def summary(mdst):
    return json.loads((mdst / "uproot_summary.json").read_text())


# -- stored decisions of real files


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["final", "before_prescale"])
@pytest.mark.parametrize("name", FILES)
def test_every_line_accepts_what_is_known_from_elsewhere(name, decision, mdst, summary, tmp_path):
    known = summary[name]
    expected = known.get("hlt_accepted" if decision == "final" else "hlt_accepted_before_prescale", {})
    if not expected:
        assert name.startswith("chaintest")
        return
    skims = {f"s{number}": {"line": line, "decision": decision} for number, line in enumerate(expected)}
    report = skim(write_job([mdst / name], skims, known["experiment"], known["run"]), tmp_path)
    assert report["failure"] is None
    assert report["events_read"] == known["entries"]
    found = {
        skims[file.removesuffix(".root")]["line"]: output["events"]
        for file, output in report["outputs"].items()
    }
    assert found == expected
    for file, output in report["outputs"].items():
        assert output["runs"] == [[known["experiment"], known["run"], known["entries"], output["events"]]]
        with uproot.open(tmp_path / file) as written:
            assert written["events"].num_entries == output["events"]


def test_the_two_decisions_differ(mdst, tmp_path):
    line = "software_trigger_cut&filter&ge1_tight_track"
    skims = {"before": {"line": line, "decision": "before_prescale"}, "after": {"line": line}}
    report = skim(write_job([mdst / "mdst.root"], skims, 1003, 0), tmp_path)
    assert report["outputs"]["before.root"]["events"] == 100
    assert report["outputs"]["after.root"]["events"] == 0
    assert read_output(tmp_path / "before.root")["decision"] == [1] * 100


def test_output_of_a_line_names_the_events(mdst, summary, tmp_path):
    known = summary["mdst.root"]
    report = skim(write_job([mdst / "mdst.root"], {"hadron": {"line": HADRON}}, 1003, 0), tmp_path)
    output = read_output(tmp_path / "hadron.root")
    assert set(output) == {"experiment", "run", "event", "entry", "input", "decision"}
    assert len(output["event"]) == known["hlt_accepted"][HADRON] == report["outputs"]["hadron.root"]["events"]
    assert set(output["event"]) <= set(known["events"])
    assert set(output["experiment"]) == {1003}


@pytest.mark.slow
@pytest.mark.parametrize("events", [1, 7])
def test_chunks_change_nothing(events, mdst, summary, tmp_path, monkeypatch):
    monkeypatch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", events)
    monkeypatch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
    known = summary["mdst.root"]["hlt_accepted"]
    skims = {"hadron": {"line": HADRON}, "odd": {"cut": "event / 2 > 10 and event < 31"}}
    report = skim(write_job([mdst / "mdst.root"], skims, 1003, 0), tmp_path)
    assert report["outputs"]["hadron.root"]["events"] == known[HADRON]
    expected = [event for event in summary["mdst.root"]["events"] if 20 < event < 31]
    assert read_output(tmp_path / "odd.root")["event"] == expected


def test_a_file_without_events_gives_a_correct_zero(mdst, tmp_path):
    skims = {"a": {"line": HADRON}, "b": {"cut": "nosuch > 1"}}
    report = skim(write_job([mdst / "chaintest_empty.root"], skims, 5, 12), tmp_path)
    assert report["failure"] is None
    assert report["events_read"] == 0
    nothing = {"kind": "event list", "events": 0, "rows": 0, "runs": [[5, 12, 0, 0]]}
    assert report["outputs"] == {f"{name}.root": nothing for name in skims}
    columns = {name: [] for name in ("experiment", "run", "event", "entry", "input")}
    assert read_output(tmp_path / "a.root") == {**columns, "decision": []}
    assert read_output(tmp_path / "b.root") == {**columns, "nosuch": []}


def test_events_without_hlt_result_are_no_zero(mdst, tmp_path):
    message = lack(write_job([mdst / "chaintest_1.root"], {"hadron": {"line": HADRON}}, 0, 1), tmp_path)
    assert message.startswith("chaintest_1.root: tree `tree` has no branch SoftwareTriggerResult: ")
    assert "no HLT result" in message


def test_an_unknown_line_names_the_nearest(mdst, tmp_path):
    line = HADRON.replace("hadron", "hadrom")
    message = lack(write_job([mdst / "mdst.root"], {"hadron": {"line": line}}, 1003, 0), tmp_path)
    assert "mdst.root" in message
    assert f"no HLT line `{line}`; nearest: {HADRON}" in message


def test_events_of_another_run_are_refused(mdst, tmp_path):
    message = fail(write_job([mdst / "chaintest_1.root"], {"all": {"cut": "True"}}, 3, 529), tmp_path)
    assert "belongs to 0:1, the job is for 3:529" in message


# -- layouts and trees


def test_ntuples_of_basf2(tmp_path):
    names = {"__experiment__": [3, 3], "__run__": [529, 529], "__event__": [7, 4], "M": [1.0, 2.0]}
    path = write_events(tmp_path / "n.root", "b0", **names)
    skim(write_job([path], {"m": {"cut": "M > 1.5"}}), tmp_path)
    kept = {"__experiment__": [3], "__run__": [529], "__event__": [4], "M": [2.0]}
    assert read_output(tmp_path / "m.root", "b0") == kept


def test_which_tree_is_read(tmp_path):
    identity = {"experiment": np.array([3]), "run": np.array([529])}
    with uproot.recreate(tmp_path / "in.root") as file:
        for number, name in enumerate(["other", "events", "tree"]):
            file.mktree(name, dict.fromkeys(("experiment", "run", "event"), np.int64)).extend(
                {**identity, "event": np.array([number])}
            )
    for tree, event in ((None, 2), ("events", 1), ("other", 0)):
        skim(write_job([tmp_path / "in.root"], {"all": {"cut": "True"}}, tree=tree), tmp_path)
        assert read_output(tmp_path / "all.root", tree or "tree")["event"] == [event]
    (tmp_path / "all.root").unlink()
    message = lack(write_job([tmp_path / "in.root"], {"all": {"cut": "True"}}, tree="evts"), tmp_path)
    assert message == "in.root has no tree `evts`; it holds other, events, tree"


def test_a_missing_variable_names_file_tree_and_nearest(tmp_path):
    path = write_run(tmp_path / "in.root", P1OEbeamCMSBhabhaLE=np.ones(5))
    message = lack(write_job([path], {"x": {"cut": "P10EbeamCMSBhabhaLE > 1"}}), tmp_path)
    assert message == (
        "in.root: tree `events` has no branch P10EbeamCMSBhabhaLE; nearest: P1OEbeamCMSBhabhaLE"
    )


def test_where_no_name_is_near_it_is_said_what_is_there(tmp_path):
    branches = {f"v{number}": np.ones(5) for number in range(9)}
    few = write_run(tmp_path / "in.root", a=np.ones(5))
    message = lack(write_job([few], {"x": {"cut": "nTracksLE > 1"}}), tmp_path)
    assert message.endswith("no branch nTracksLE; it holds experiment, run, event, a")
    many = write_run(tmp_path / "many.root", **branches)
    assert lack(write_job([many], {"x": {"cut": "nTracksLE > 1"}}), tmp_path).endswith(", v3, v4 …")


def test_events_without_identity_are_refused(tmp_path):
    path = write_events(tmp_path / "in.root", run=[1], event=[1])
    assert "EventMetaData/m_experiment" in lack(write_job([path], {"x": {"cut": "True"}}), tmp_path)


def test_several_numbers_per_event_are_no_variable(tmp_path):
    path = tmp_path / "in.root"
    with uproot.recreate(path) as file:
        types = dict.fromkeys(("experiment", "run", "event"), np.int64) | {"v": (np.float64, (3,))}
        file.mktree("events", types).extend(
            {name: np.array([1, 1]) for name in types} | {"v": np.ones((2, 3))}
        )
    message = lack(write_job([path], {"x": {"cut": "v > 1"}}), tmp_path)
    assert "branch v is double[3], not one number per event" in message


def test_many_events_in_several_chunks(tmp_path):
    size = 250_001
    path = write_run(tmp_path / "in.root", size=size, x=np.arange(size) % 10)
    report = skim(write_job([path], {"x": {"cut": "x == 3"}}), tmp_path)
    counts = {"events": 25_000, "rows": 25_000, "runs": [[3, 529, size, 25_000]]}
    assert report["outputs"]["x.root"] == {"kind": "events", **counts}
    assert read_output(tmp_path / "x.root")["event"] == list(range(4, size + 1, 10))


# -- damaged inputs


@pytest.mark.parametrize("name", ["mdst.root", "chaintest_empty.root"])
@pytest.mark.parametrize("kept", [0, 3, 4, 19, 63, 0.5, -1])
def test_a_file_cut_short_is_never_a_zero(kept, name, mdst, tmp_path):
    whole = (mdst / name).read_bytes()
    size = int(len(whole) * kept) if isinstance(kept, float) else kept
    (tmp_path / "cut.root").write_bytes(whole[:size])
    message = fail(write_job([tmp_path / "cut.root"], {"hadron": {"line": HADRON}}, 1003, 0), tmp_path)
    assert message.startswith("cut.root is ")
    if size == 3:
        assert "not a ROOT file" in message
    elif size:
        assert "cut short" in message


@pytest.mark.parametrize("start", [100, 300, 50_000, 400_000, 1_000_000])
def test_overwritten_bytes_are_a_failure_or_harmless(start, mdst, tmp_path):
    data = bytearray((mdst / "mdst.root").read_bytes())
    data[start : start + 4000] = b"\xff" * len(data[start : start + 4000])
    (tmp_path / "bad.root").write_bytes(data)
    report = skim(write_job([tmp_path / "bad.root"], {"hadron": {"line": HADRON}}, 1003, 0), tmp_path)
    if report["failure"]:
        assert report["failure"]["class"] == "input"
        assert report["failure"]["message"].startswith("bad.root")
    else:
        assert report["events_read"] == 100


def test_a_file_that_is_missing_or_something_else(tmp_path):
    skims = {"all": {"cut": "True"}}
    assert "No such file" in fail(write_job([tmp_path / "no.root"], skims), tmp_path)
    (tmp_path / "text.root").write_text("roses are red")
    assert "is not a ROOT file" in fail(write_job([tmp_path / "text.root"], skims), tmp_path)
    with uproot.recreate(tmp_path / "empty.root"):
        pass
    assert "it holds no tree" in fail(write_job([tmp_path / "empty.root"], skims), tmp_path)
    with uproot.recreate(tmp_path / "new.root") as file:
        file.mkrntuple("events", {"run": np.int64})
    assert "it holds no tree; events is a ROOT::RNTuple" in fail(
        write_job([tmp_path / "new.root"], skims), tmp_path
    )


def test_a_good_file_before_a_damaged_one_leaves_no_output(tmp_path):
    good = write_run(tmp_path / "a.root")
    (tmp_path / "b.root").write_bytes(good.read_bytes()[:-100])
    message = fail(write_job([good, tmp_path / "b.root"], {"all": {"cut": "True"}}), tmp_path)
    assert message.startswith("b.root is cut short")


# -- wrong jobs


def change(**changes):
    return {**write_job(["in.root"], {"all": {"cut": "True"}}), **changes}


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({}, "`inputs`"),
        (change(experiment="3"), "`experiment`, an integer"),
        (change(run=True), "`run`"),
        (change(inputs=[]), "no inputs"),
        (change(outputs=[]), "no outputs"),
        (change(inputs=[7]), "`path`"),
        (change(skims={"other": {"cut": "True"}}), "asks for skim all"),
        (change(skims={"all": {}}), "either `cut` or `line`"),
        (change(skims={"all": {"cut": "True", "line": "x"}}), "either `cut` or `line`"),
        (change(skims={"all": {"cut": "[x > 1"}}), "the cut of skim all does not parse: column 1"),
        (change(skims={"all": {"line": "x", "decision": "prescaled"}}), "`before_prescale`"),
        (
            change(skims={"all": {"line": "a&total_result", "decision": "before_prescale"}}),
            "after the prescale",
        ),
        (change(outputs=[{"file": "../x.root", "skim": "all"}]), "plain name"),
        (change(outputs=[{"file": "application.json", "skim": "all"}]), "plain name"),
        (change(outputs=[{"file": "x.root", "skim": "all"}] * 2), "twice"),
        (change(parameters={"tree": 3}), "`tree`"),
    ],
)
def test_a_wrong_job_is_a_permanent_failure(job, said, tmp_path):
    write_run(tmp_path / "in.root")
    assert said in fail(job, tmp_path, "permanent")


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_input(tmp_path):
    write_run(tmp_path / "in.root")
    (tmp_path / "all.root").mkdir()
    assert "cannot be written" in fail(
        write_job(["in.root"], {"all": {"cut": "True"}}), tmp_path, "infrastructure"
    )


# -- as the job runtime calls it


def run_program(folder, *arguments):
    checkout = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-m", "renderer.skimming", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_program_reads_relative_paths_and_reports_last(tmp_path):
    write_run(tmp_path / "in.root", x=np.arange(5))
    (tmp_path / "job.json").write_text(json.dumps(write_job(["in.root"], {"x": {"cut": "x >= 3"}})))
    done = run_program(tmp_path, "job.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    report = json.loads((tmp_path / "application.json").read_text())
    assert report == {
        "outputs": {"x.root": {"kind": "events", "events": 2, "rows": 2, "runs": [[3, 529, 5, 2]]}},
        "events_read": 5,
        "rows_read": 5,
        "record": {},
        "failure": None,
    }
    left = {"in.root", "job.json", "x.root", "event-numbers", "application.json"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert (tmp_path / "application.json").stat().st_mtime_ns >= (tmp_path / "x.root").stat().st_mtime_ns


def test_the_program_has_one_thread_whatever_the_machine_has():
    """A thread for each processor would cost CPU time and memory at the start of every job."""
    count = "import os, runpy, sys; sys.argv = ['x']"
    count += "\ntry: runpy.run_module('renderer.skimming', run_name='__main__')"
    count += "\nexcept SystemExit: print(len(os.listdir('/proc/self/task')))"
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", count], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["-S -n", "-n"], ids=["may be raised", "may not be raised"])
@pytest.mark.parametrize("missing", [0, 1], ids=["sound", "the last lacks its variable"])
def test_more_outputs_than_files_may_be_open(tmp_path, limit, missing):
    """A skim of many, under a limit that is the machine's."""
    write_run(tmp_path / "a.root", 100, x=np.arange(100.0))
    skims = {f"from{number:03d}": {"cut": f"[x >= {number}]"} for number in range(100)}
    if missing:
        skims["from099"] = {"cut": "[y >= 99]"}
    (tmp_path / "job.json").write_text(json.dumps(write_job(["a.root"], skims)))
    command = f'ulimit {limit} 48; exec "$0" -m renderer.skimming job.json'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads((tmp_path / "application.json").read_text())
    if missing:
        assert (done.returncode, report["outputs"]) == (1, {})
        assert "has no branch y" in report["failure"]["message"]
        assert {one.name for one in tmp_path.iterdir()} == {"a.root", "job.json", "application.json"}
        return
    assert (done.returncode, done.stderr, report["failure"]) == (0, "", None)
    assert (report["events_read"], report["rows_read"]) == (100, 100)
    for number in range(100):
        file = f"from{number:03d}.root"
        assert report["outputs"][file]["events"] == 100 - number
        assert read_output(tmp_path / file)["x"] == [*range(number, 100)]


def test_the_program_says_in_one_line_what_failed(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps(write_job(["in.root"], {"x": {"cut": "x >= 3"}})))
    done = run_program(tmp_path, "job.json")
    assert done.returncode == 1
    assert done.stderr == "in.root cannot be read: No such file or directory\n"


@pytest.mark.parametrize("text", ["{", "[]", "7", "\udc80"])
def test_a_job_that_is_no_job(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("job.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert main(["job.json"]) == 1
    assert json.loads(Path("application.json").read_text())["failure"]["class"] == "permanent"
    assert "Traceback" not in capsys.readouterr().err


def test_called_wrongly(capsys):
    assert main([]) == 3
    assert "usage" in capsys.readouterr().err
