"""Event lists of basf2's files: what basf2 reads back by them is what was accepted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

import renderer.event_data.event_file
from renderer.event_data.event_file import read_events
from renderer.skimming import skim
from renderer.skims.event_list import write_sequence
from tests.support.inputs.skim_jobs import read_output, write_job

HADRON = "software_trigger_cut&skim&accept_hadron"


def generate_number_sequence(text):
    """The numbers of a sequence, as basf2 reads it (`framework/utilities/src/NumberSequence.cc`): a sorted set."""
    numbers = set()
    for token in text.split(",") if text else []:
        first, colon, last = token.partition(":")
        numbers.update(range(int(first), int(last if colon else first) + 1))
    return sorted(numbers)


def read_root_input(parameters):
    """The events that `RootInput` reads with these parameters: a chain of files, and the entries of each."""
    names, sequences = parameters["inputFileNames"], parameters["entrySequences"]
    assert len(names) == len(sequences) == len(set(names))
    found = []
    for name, sequence in zip(names, sequences, strict=True):
        with uproot.open(name) as file:
            assert file["persistent/FileMetaData/m_nEvents"].array()[0] > 0
            events = file["tree/EventMetaData/m_event"].array(library="np")
        entries = generate_number_sequence(sequence)
        assert entries[-1] < len(events)
        found += events[entries].tolist()
    return found


def read_list(path):
    with uproot.open(path) as file:
        return json.loads(str(file["event_list"]))


@given(st.sets(st.integers(0, 240), max_size=80))
def test_a_sequence_says_the_numbers_that_it_was_given(some):
    numbers = sorted(some)
    sequence = write_sequence(np.array(numbers, np.int64))
    assert generate_number_sequence(sequence) == numbers
    tokens = sequence.split(",") if numbers else []
    assert len(tokens) == len([n for n in numbers if n - 1 not in numbers])  # no shorter way to say it


@pytest.mark.parametrize("rows", [7, 100_000])
def test_basf2_reads_the_events_of_a_line_back(rows, shared_data, tmp_path, monkeypatch):
    monkeypatch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", rows)
    monkeypatch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
    mdst = shared_data / "belle2" / "mdst" / "mdst.root"
    report = skim(write_job([mdst], {"hadron": {"line": HADRON}}, 1003, 0), tmp_path)
    assert report["outputs"]["hadron.root"]["kind"] == "event list"
    (chunk, *_) = read_events(mdst, "mdst", None, (), [(HADRON, "final")])
    output = read_output(tmp_path / "hadron.root")
    said = read_list(tmp_path / "hadron.root")
    assert read_root_input(said["RootInput"]) == output["event"]
    assert said["inputs"] == [
        {"name": "mdst.root", "path": str(mdst), "entries": 100, "accepted": len(output["event"])}
    ]
    if rows > 100:
        accepted = np.flatnonzero(chunk.decisions.values[HADRON, "final"] == 1)
        assert output["entry"] == accepted.tolist()
        assert output["event"] == chunk.columns["event"][accepted].tolist()
    assert set(output["decision"]) == {1}


def test_files_of_which_nothing_was_accepted_are_not_read_by_basf2(shared_data, tmp_path):
    folder = shared_data / "belle2" / "mdst"
    names = ["chaintest_empty.root", "chaintest_1.root"]
    job = write_job(
        [folder / name for name in names],
        {"some": {"cut": "event > 3 and event != 7"}, "no": {"cut": "event < 0"}},
        0,
        1,
    )
    report = skim(job, tmp_path)
    assert report["failure"] is None
    output = read_output(tmp_path / "some.root")
    said = read_list(tmp_path / "some.root")
    assert said["RootInput"]["inputFileNames"] == [str(folder / "chaintest_1.root")]
    assert sorted(read_root_input(said["RootInput"])) == sorted(output["event"])
    assert all(event > 3 and event != 7 for event in output["event"])
    assert set(output["input"]) == {1}
    assert [one["entries"] for one in said["inputs"]] == [0, 12]
    nothing = read_list(tmp_path / "no.root")
    assert nothing["RootInput"] == {"inputFileNames": [], "entrySequences": []}
    assert nothing["schema"] == "event-list/1"


def test_a_list_names_files_so_that_they_are_found_from_anywhere(shared_data, tmp_path, monkeypatch):
    (tmp_path / "in.root").write_bytes((shared_data / "belle2/mdst/chaintest_1.root").read_bytes())
    monkeypatch.chdir(tmp_path)
    skim(write_job(["in.root"], {"all": {"cut": "True"}}, 0, 1), tmp_path)
    assert read_list(tmp_path / "all.root")["RootInput"] == {
        "inputFileNames": [str(tmp_path / "in.root")],
        "entrySequences": ["0:11"],
    }


def test_a_list_is_read_like_any_file_of_events(shared_data, tmp_path):
    mdst = shared_data / "belle2" / "mdst" / "mdst.root"
    skim(write_job([mdst], {"few": {"cut": "event < 11"}}, 1003, 0), tmp_path)
    report = skim(write_job([tmp_path / "few.root"], {"fewer": {"cut": "event < 6"}}, 1003, 0), tmp_path)
    assert report["failure"] is None
    kept = read_output(tmp_path / "fewer.root")
    assert kept["entry"] == [
        n for n, event in enumerate(read_output(tmp_path / "few.root")["event"]) if event < 6
    ]
