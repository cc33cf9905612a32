"""Events are counted, not rows; each once; as many as are registered; and numbers that are none are refused."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

import renderer.event_data.event_file
from renderer.event_data.event_count import count_events, tell_repeated
from renderer.event_data.event_file import read_events
from renderer.event_data.event_numbers import (
    EventNumbers,
    FileNumbers,
    RecordError,
    RepeatedEventsError,
    read_record,
    write_record,
)
from renderer.skimming import skim
from tests.support.inputs.skim_jobs import fail, lack, write_events, write_job, write_run

NAMES = ("__experiment__", "__run__", "__event__")


def write_candidates(path, counts, **branches):
    """An ntuple of run 3:529: of event i + 1 as many candidates as counts[i]."""
    events = np.repeat(np.arange(1, len(counts) + 1), counts).astype(np.uint32)
    candidates = np.concatenate([np.arange(count) for count in (*counts, 0)]).astype(np.int32)
    identity = {
        "__experiment__": np.full(len(events), 3, np.int32),
        "__run__": np.full(len(events), 529, np.int32),
        "__event__": events,
        "__candidate__": candidates,
        "__ncandidates__": np.repeat(counts, counts).astype(np.int32),
    }
    return write_events(path, "tree", **identity, **branches)


@pytest.fixture
def small(monkeypatch):
    def choose(rows):
        monkeypatch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", rows)
        monkeypatch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)

    return choose


# -- candidates


@pytest.mark.parametrize("rows", [1, 3, 100_000])
def test_rows_of_candidates_are_events_once(rows, small, tmp_path):
    """As VariablesToNtuple writes: 100 events, of which 20 have five candidates each."""
    small(rows)
    counts = [5] * 20 + [1] * 80
    path = write_candidates(
        tmp_path / "in.root", counts, n=np.repeat(np.where(np.array(counts) == 5, 5.0, 1.0), counts)
    )
    report = skim(write_job([path], {"n": {"cut": "n >= 3"}}), tmp_path)
    assert report["failure"] is None
    assert (report["events_read"], report["rows_read"]) == (100, 180)
    assert report["outputs"]["n.root"]["events"] == 20
    assert report["outputs"]["n.root"]["rows"] == 100
    assert report["outputs"]["n.root"]["runs"] == [[3, 529, 100, 20]]
    kept = list(read_events(tmp_path / "n.root", "n.root", None, (), ()))
    assert (sum(chunk.events for chunk in kept), sum(map(len, kept))) == (20, 100)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=30),
    rows=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_event_passes_if_one_of_its_candidates_does(counts, rows, seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("candidates")
    good = np.random.default_rng(seed).random(sum(counts)) < 0.3
    path = write_candidates(folder / "in.root", counts, good=good.astype(np.int8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", rows)
        patch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
        report = skim(write_job([path], {"good": {"cut": "good == 1"}}), folder)
        again = skim(write_job([folder / "good.root"], {"all": {"cut": "True"}}), folder)
    events = np.repeat(np.arange(1, len(counts) + 1), counts)[good]
    assert report["events_read"] == len(counts)
    assert report["outputs"]["good.root"]["events"] == len(np.unique(events))
    with uproot.open(folder / "good.root") as file:
        assert file["tree/__event__"].array(library="np").tolist() == events.tolist()
    # what is left of the candidates does not begin with the first of an event any more
    assert (again["events_read"], again["rows_read"]) == (len(np.unique(events)), len(events))


@pytest.mark.slow
@settings(max_examples=60)
@given(
    candidates=st.lists(
        st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True), min_size=1, max_size=20
    ),
    rows=st.integers(1, 12),
    cut=st.integers(0, 6),
)
def test_candidates_may_stand_in_any_order_within_their_event(candidates, rows, cut, tmp_path_factory):
    """Sorted by something else, and some of them dropped; the import and the job count alike."""
    folder = tmp_path_factory.mktemp("candidates")
    events = np.repeat(np.arange(1, len(candidates) + 1), list(map(len, candidates)))
    numbers = np.concatenate(candidates)
    identity = {"__experiment__": np.full(len(events), 3), "__run__": np.full(len(events), 529)}
    path = write_events(
        folder / "in.root", "tree", **identity, __event__=events, __candidate__=numbers.astype(np.float64)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", rows)
        patch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
        report = skim(write_job([path], {"low": {"cut": f"[__candidate__ < {cut}]"}}), folder)
        counted = count_events(path, "in.root")
    assert (report["failure"], report["events_read"], report["rows_read"]) == (
        None,
        len(candidates),
        len(events),
    )
    assert report["outputs"]["low.root"]["events"] == len(np.unique(events[numbers < cut]))
    assert (counted.events, counted.rows, counted.repeated) == (len(candidates), len(events), 0)


@pytest.mark.parametrize(
    ("events", "candidates"),
    [
        ([1, 2, 1], [0, 0, 1]),
        ([1, 1, 2], [0, 0, 0]),
        ([1, 1, 1, 2], [1, 0, 1, 0]),
        ([1, 1], [np.nan, np.nan]),
    ],
    ids=["rows apart", "a candidate twice", "twice in another order", "no numbers"],
)
@pytest.mark.parametrize("rows", [1, 100_000])
def test_what_a_job_takes_for_an_event_twice_an_import_does_too(events, candidates, rows, small, tmp_path):
    small(rows)
    identity = {"__experiment__": np.full(len(events), 3), "__run__": np.full(len(events), 529)}
    path = write_events(
        tmp_path / "in.root",
        "tree",
        **identity,
        __event__=np.array(events),
        __candidate__=np.array(candidates),
    )
    message = fail(write_job([path], {"all": {"cut": "True"}}), tmp_path, "permanent")
    assert message.startswith("1 event of 3:529 is in in.root twice (the first: 1)")
    counted = count_events(path, "in.root")
    assert (counted.events, counted.repeated, counted.example) == (len(set(events)), 1, 1)
    assert "the rows of an event stand together, each with another candidate" in tell_repeated(counted)


def test_an_events_candidates_that_come_once_more_are_the_event_twice(tmp_path):
    whole = {
        "__experiment__": np.full(6, 3),
        "__run__": np.full(6, 529),
        "__event__": np.array([1, 1, 2, 2, 2, 2]),
    }
    path = write_events(tmp_path / "in.root", "tree", **whole, __candidate__=np.array([0, 1, 0, 1, 0, 1]))
    message = fail(write_job([path], {"all": {"cut": "True"}}), tmp_path, "permanent")
    assert message.startswith("1 event of 3:529 is in in.root twice (the first: 2)")


# -- each event once


def test_files_that_share_events_are_refused_and_named(shared_data, tmp_path):
    mdst = shared_data / "belle2" / "mdst"
    names = ["chaintest_2.root", "chaintest_1.root"]
    job = write_job([mdst / name for name in names], {"all": {"cut": "True"}}, 0, 1)
    message = fail(job, tmp_path, "permanent")
    assert message.startswith("9 events of 0:1 are in chaintest_2.root and in chaintest_1.root (the first: ")


@pytest.mark.parametrize("copies", [2, 3])
def test_a_copy_under_another_name_is_refused(copies, tmp_path):
    """As a job of the grid leaves it that was rescheduled: NAME_job7_00.root and NAME_job7_01.root."""
    paths = [write_run(tmp_path / f"out_job7_0{number}.root", 100) for number in range(copies)]
    message = fail(write_job(paths, {"all": {"cut": "True"}}), tmp_path, "permanent")
    assert message.startswith(
        "100 events of 3:529 are in out_job7_00.root and in out_job7_01.root (the first: 1)"
    )


def test_an_event_twice_in_one_file_is_refused(small, tmp_path):
    small(2)
    path = write_events(tmp_path / "in.root", experiment=[3] * 5, run=[529] * 5, event=[7, 8, 9, 8, 7])
    message = fail(write_job([path], {"all": {"cut": "True"}}), tmp_path, "permanent")
    assert message == "2 events of 3:529 are in in.root twice (the first: 7), and an event counts once"


def test_files_of_other_events_are_read_in_the_order_given(tmp_path):
    for name, event in (("a.root", [5, 3]), ("b.root", [4, 1])):
        write_events(tmp_path / name, experiment=[3, 3], run=[529, 529], event=event)
    report = skim(write_job([tmp_path / "b.root", tmp_path / "a.root"], {"all": {"cut": "True"}}), tmp_path)
    assert report["events_read"] == 4
    with uproot.open(tmp_path / "all.root") as file:
        assert file["events/event"].array(library="np").tolist() == [4, 1, 5, 3]


@given(st.lists(st.lists(st.integers(0, 40), unique=True, max_size=12), max_size=6))
def test_shared_events_are_found_as_sets_find_them(files):
    found = EventNumbers("3:529")
    seen: dict[int, int] = {}
    for place, events in enumerate(files):
        common = [event for event in events if event in seen]
        if common:
            other = min(seen[event] for event in common)
            shared = sorted(set(events) & set(files[other]))
            with pytest.raises(RepeatedEventsError) as caught:
                found.add(f"{place}.root", [np.array(events)])
            text = str(caught.value)
            assert text.startswith(f"{len(shared)} event")
            assert f"in {other}.root and in {place}.root (the first: {shared[0]})" in text
            return
        found.add(f"{place}.root", [np.array(events[:3]), np.array(events[3:])])
        seen |= dict.fromkeys(events, place)
    assert {int(event) for file in found.files for event in file.numbers} == seen.keys()


# -- as many as are registered


def test_other_than_the_registered_number_of_events_is_told(tmp_path):
    path = write_candidates(tmp_path / "in.root", [2, 2, 1])
    job = write_job([path], {"all": {"cut": "True"}})
    for stated in (None, 3):
        job["inputs"][0]["events"] = stated
        assert skim(job, tmp_path)["failure"] is None
    (tmp_path / "all.root").unlink()
    job["inputs"][0]["events"] = 5
    message = fail(job, tmp_path)
    assert message == "in.root holds 3 events in 5 rows, and 5 are registered"


def test_a_file_without_events_of_which_some_are_registered(shared_data, tmp_path):
    job = write_job([shared_data / "belle2/mdst/chaintest_empty.root"], {"all": {"cut": "True"}}, 1, 0)
    job["inputs"][0]["events"] = 12
    assert "holds 0 events, and 12 are registered" in fail(job, tmp_path)


# -- numbers of experiments, runs and events


@pytest.mark.parametrize(
    ("branch", "values", "wrong"),
    [
        ("event", np.array([1, -1], np.int32), "-1"),
        ("event", np.array([1, 2**32], np.int64), "4294967296"),
        ("event", np.array([1, 2**64 - 1], np.uint64), "18446744073709551615"),
        ("event", np.array([1, 2.5]), "2.5"),
        ("event", np.array([1, np.nan]), "nan"),
        ("event", np.array([1, np.inf]), "inf"),
        ("event", np.array([1, 1e300]), "1e+300"),
        ("run", np.array([529, 529 + 2**32], np.int64), "4294967825"),
        ("run", np.array([529, -529]), "-529"),
        ("experiment", np.array([3, 2**31], np.uint32), "2147483648"),
        ("experiment", np.array([3, 3.0000001]), "3.0000001"),
    ],
)
def test_numbers_beyond_their_type_are_refused_and_never_wrapped(branch, values, wrong, tmp_path):
    right = {"experiment": np.full(2, 3), "run": np.full(2, 529), "event": np.array([1, 2])}
    path = write_events(tmp_path / "in.root", **{**right, branch: values})
    message = fail(write_job([path], {"all": {"cut": "True"}}), tmp_path)
    assert message.startswith(
        f"in.root: tree `events`, entry 1: {branch} is {wrong}, which is not a whole number from 0 to"
    )


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, np.uint64, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_read_as_they_are(kind, tmp_path):
    values = np.array([1, 100, 127], kind)
    path = write_events(tmp_path / "in.root", experiment=values * 0 + 3, run=values * 0 + 5, event=values)
    report = skim(write_job([path], {"all": {"cut": "event > 1"}}, 3, 5), tmp_path)
    assert report["outputs"]["all.root"]["events"] == 2
    with uproot.open(tmp_path / "all.root") as file:
        kept = file["events/event"].array(library="np")
        assert kept.dtype == kind
        assert kept.tolist() == [100, 127]


def test_the_highest_numbers_are_right(tmp_path):
    path = write_events(
        tmp_path / "in.root", experiment=[2**31 - 1], run=[2**31 - 1], event=np.array([2**32 - 1], np.uint32)
    )
    assert (
        skim(write_job([path], {"all": {"cut": "True"}}, 2**31 - 1, 2**31 - 1), tmp_path)["events_read"] == 1
    )


# -- the record that a job leaves


FILES = st.lists(
    st.tuples(st.text(max_size=8), st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=20)), max_size=4
)


def as_files(files):
    return [FileNumbers(name, np.array(sorted(events), np.uint32)) for name, events in files]


@given(FILES)
def test_a_record_is_read_back(files):
    found = read_record(write_record(as_files(files)))
    assert [(file.name, file.numbers.tolist()) for file in found] == [(n, sorted(e)) for n, e in files]
    assert all(file.numbers.dtype == np.uint32 for file in found)


@given(FILES.filter(bool), st.data())
def test_a_damaged_record_is_refused_or_another_record(files, data):
    whole = bytearray(write_record(as_files(files)))
    place = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (bytes(whole[:place]), bytes(whole) + b"\0"):
        with pytest.raises(RecordError):
            read_record(damaged)
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = read_record(bytes(whole))
    except RecordError:
        return
    for file in found:
        assert (np.diff(file.numbers.astype(np.int64)) > 0).all()


@pytest.mark.parametrize("events", [2, 0, -1, 10**12, 2.0, None])
def test_a_record_does_not_hold_what_it_does_not_say(events):
    part = zlib.compress(struct.pack("<3I", 5, 1, 1))
    line = json.dumps({"schema": "event-numbers/1", "files": [["a", events, len(part)]]}).encode()
    with pytest.raises(RecordError):
        read_record(line + b"\n" + part)


def test_a_record_that_would_unpack_to_gigabytes_is_cut_off():
    part = zlib.compress(bytes(10**8), 9)
    line = json.dumps({"schema": "event-numbers/1", "files": [["a", 10, len(part)]]}).encode()
    with pytest.raises(RecordError, match="does not hold 10 events"):
        read_record(line + b"\n" + part)


def test_a_job_leaves_what_it_read(tmp_path):
    for name, event in (("a.root", [5, 3]), ("b.root", [4, 1])):
        write_events(tmp_path / name, experiment=[3, 3], run=[529, 529], event=event)
    skim(write_job([tmp_path / "a.root", tmp_path / "b.root"], {"no": {"cut": "event < 0"}}), tmp_path)
    found = read_record((tmp_path / "event-numbers").read_bytes())
    assert [(file.name, file.numbers.tolist()) for file in found] == [("a.root", [3, 5]), ("b.root", [1, 4])]
    lack(write_job([tmp_path / "a.root"], {"no": {"cut": "nosuch < 0"}}), tmp_path)
