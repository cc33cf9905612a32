"""HLT results in both layouts: what basf2 printed of real files, and the bytes of maps in every way that ROOT streams them."""

from __future__ import annotations

import json
import struct

import awkward
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.event_data.event_count import count_events
from renderer.event_data.event_file import read_events
from renderer.event_data.root_file import InputError, LackingError
from renderer.event_data.trigger_map import MapError, read_maps
from renderer.event_data.trigger_results import (
    BEFORE_PRESCALE,
    FINAL,
    ResultLayout,
    check_lines,
    find_results,
    pick_line,
)
from renderer.skimming import skim

OLD = "mdst-v02-01-00"
NINE = [
    "hadron",
    "bhabha",
    "gamma_gamma",
    "tau_tau",
    "mumu_2trk",
    "mumu_1trk",
    "single_photon_1GeV",
    "single_photon_2GeV_barrel",
    "single_photon_2GeV_endcap",
]
"""The nine lines of the talk of 2019."""


@pytest.fixture
def old(shared_data):
    folder = shared_data / "belle2" / "mdst-2019"
    return folder / f"{OLD}.root", json.loads((folder / f"{OLD}.hlt.json").read_text())["printed_events"]


# -- real files


@pytest.mark.slow
def test_the_layout_and_lines_of_real_files(shared_data, old):
    summary = json.loads((shared_data / "belle2/mdst/uproot_summary.json").read_text())
    for name, known in summary.items():
        found = count_events(shared_data / "belle2/mdst" / name, name).results
        assert len(found.lines) == known.get("hlt_lines", 0)
        assert {*found.lines} >= {*known.get("hlt_accepted", ())}
        assert found.layout is (ResultLayout.BOTH if found.lines else ResultLayout.NONE)
    path, printed = old
    found = count_events(path, path.name).results
    assert found.layout is ResultLayout.FINAL
    assert list(found.lines) == sorted(printed[0]["getResults"])
    assert {f"software_trigger_cut&hlt&accept_{line}" for line in NINE} <= {*found.lines}


def test_every_result_of_the_old_layout_is_what_basf2_prints(old):
    path, printed = old
    lines = count_events(path, path.name).results.lines
    (chunk,) = read_events(path, path.name, None, (), [(line, FINAL) for line in lines])
    assert len(chunk) == 10
    for place, event in enumerate(printed):
        found = {line: int(chunk.decisions.values[line, FINAL][place]) for line in lines}
        assert found == event["getResults"]
        assert set(event["getNonPrescaledResults"].values()) == {0}  # as basf2 pads what is not there


def test_a_skim_by_a_line_of_2018(old, tmp_path):
    path, printed = old
    line = "software_trigger_cut&hlt&accept_hadron"
    job = {
        "experiment": 0,
        "run": 0,
        "inputs": [{"name": path.name, "path": str(path)}],
        "outputs": [{"skim": "hadron", "file": "hadron.root"}],
        "skims": {"hadron": {"line": line}},
    }
    report = skim(job, tmp_path)
    assert report["failure"] is None
    (chunk,) = read_events(path, path.name, None, (), [(line, FINAL)])
    assert report["outputs"]["hadron.root"]["events"] == (chunk.decisions.values[line, FINAL] == 1).sum()
    assert sum(event["getResults"][line] == 1 for event in printed) > 0
    report = skim({**job, "skims": {"hadron": {"line": line, "decision": BEFORE_PRESCALE}}}, tmp_path)
    assert report["failure"]["class"] == "permanent"
    assert (
        "stores HLT results after the prescale only, as releases before 04 do" in report["failure"]["message"]
    )


def test_a_line_that_no_event_stores_names_the_nearest(old):
    path, _ = old
    wanted = [("software_trigger_cut&hlt&accept_hadrom", FINAL)]
    with pytest.raises(LackingError, match=r"no HLT line `.*hadrom`; nearest: .*accept_hadron"):
        list(read_events(path, path.name, None, (), wanted))


# -- the bytes of maps

LINES = st.dictionaries(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300),
    st.sampled_from([-1, 0, 1]),
    max_size=6,
)


def count(data):
    return struct.pack(">I", 0x40000000 | len(data)) + data


def write_text(text):
    data = text.encode()
    return (bytes([len(data)]) if len(data) < 255 else b"\xff" + struct.pack(">I", len(data))) + data


def write_pairs(lines, header=b""):
    pairs = (header + write_text(line) + struct.pack(">i", result) for line, result in lines.items())
    return count(struct.pack(">HI", 9, len(lines)) + b"".join(pairs))


def write_pairs_with_headers(lines):
    return write_pairs(lines, count(b"\0\x09") if lines else b"")


def write_columns(lines, header=b"", pair=b"\0\0\x12\x34\x56\x78"):
    names = b"".join(map(write_text, lines))
    results = struct.pack(f">{len(lines)}i", *lines.values())
    head = struct.pack(">H", 0x4009) + pair + struct.pack(">I", len(lines))
    return count(head + header + names + results)


def write_columns_with_header(lines):
    names = b"".join(map(write_text, lines))
    header = struct.pack(">IH", 0x40000000 | (2 + len(names)), 9)
    return write_columns(lines, header if lines else b"")


def write_columns_of_a_versioned_pair(lines):
    return write_columns(lines, pair=b"\0\x02")


def write_object(lines, unique=7):
    base = count(b"\0\x01" + struct.pack(">HII", 1, unique, 0x03000000))
    return count(b"\0\x04" + base + write_pairs(lines))


def write_object_without_header(lines):
    """As ROOT 6.40 writes a branch of split level 0."""
    base = count(b"\0\0" + struct.pack(">HII", 1, 0, 0))
    return base + write_columns_with_header(lines)


WRITERS = [
    write_pairs,
    write_pairs_with_headers,
    write_columns,
    write_columns_with_header,
    write_columns_of_a_versioned_pair,
    write_object,
    write_object_without_header,
]


def as_bytes(entries):
    """A list of bytes for each entry, as uproot gives them."""
    return awkward.unflatten(np.frombuffer(b"".join(entries), np.uint8), [len(entry) for entry in entries])


def read_back(entries):
    found = [None] * len(entries)
    for shape, places, results in read_maps(as_bytes(entries)):
        for place, row in zip(places, results, strict=True):
            assert found[place] is None
            found[place] = dict(zip(shape.lines, row.tolist(), strict=True))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
@given(events=st.lists(LINES, min_size=1, max_size=5))
def test_maps_come_back_however_they_were_streamed(write, events):
    assert read_back([write(lines) for lines in events]) == events


@given(lines=LINES, results=st.lists(st.sampled_from([-1, 0, 1]), min_size=50, max_size=50))
def test_events_that_differ_in_results_alone_share_a_shape(lines, results):
    events = [dict.fromkeys(lines, result) for result in results]
    entries = [write_object(event, unique) for unique, event in enumerate(events)]
    assert len(list(read_maps(as_bytes(entries)))) == 1
    assert read_back(entries) == events


@given(lines=LINES.filter(bool), data=st.data())
def test_bytes_that_do_not_add_up_are_refused(lines, data):
    whole = write_pairs(lines)
    kept = data.draw(st.integers(0, len(whole) - 1))
    for wrong in (whole[:kept], whole + b"\0", whole[:-4] + struct.pack(">i", 7)):
        good = write_pairs({"a": 1})
        with pytest.raises(MapError) as caught:
            read_back([good, wrong])
        assert caught.value.entry == 1


# -- trees of other layouts, as uproot would show them


class Branch:
    """A branch: what it holds, and what is below it."""

    def __init__(self, name, values=(), branches=()):
        self.name, self.values, self.branches, self.typename = name, values, branches, "?"


class Shown:
    """A tree: branches by their names."""

    label = "in.root: tree `tree`"

    def __init__(self, **branches):
        self.tree = {name.replace("__", "."): branch for name, branch in branches.items()}
        self.keys = [*self.tree]

    def read(self, branch, start, stop, library, interpretation=None):
        if interpretation is None:
            return awkward.Array(branch.values[start:stop])
        rows = (b"".join(map(write_text, row)) if isinstance(row, list) else row for row in branch.values)
        return as_bytes([*rows][start:stop])


def test_a_split_map_of_single_results_and_an_object_that_was_not_split():
    events = [{"a": 1, "b": -1}, {"b": 1}, {"a": 0, "b": 1, "c": 1}]
    split = Shown(
        SoftwareTriggerResult__m_results=Branch("m_results", branches=[0]),
        SoftwareTriggerResult__m_results__first=Branch("first", [[*event] for event in events]),
        SoftwareTriggerResult__m_results__second=Branch("second", [[*event.values()] for event in events]),
    )
    whole = Shown(SoftwareTriggerResult=Branch("SoftwareTriggerResult", [write_object(e) for e in events]))
    for tree in (split, whole):
        results = find_results(tree)
        assert results.layout is ResultLayout.FINAL
        read = results.read(0, 3, [("a", FINAL), ("b", FINAL), ("d", FINAL)])
        assert [read.values[line, FINAL].tolist() for line in "abd"] == [[1, 0, 0], [-1, 1, 1], [0, 0, 0]]
        assert read.unstored == {"a": 1, "b": 0, "d": 3}
        assert read.lines == ("a", "b", "c")


def test_results_in_a_way_that_is_not_known_are_no_zero():
    odd = Shown(SoftwareTriggerResult__m_results=Branch("m_results", [b"\0\0\0\x01", b"whatever"]))
    with pytest.raises(InputError, match="entry 0 stores HLT results in a way that is not known"):
        find_results(odd).read(0, 2, [("a", FINAL)])
    with pytest.raises(InputError, match=r"not known: SoftwareTriggerResult.m_other"):
        find_results(Shown(SoftwareTriggerResult__m_other=Branch("m_other")))


def test_a_line_may_be_missing_in_some_events_and_not_in_all():
    some = [write_object({"c": 1}), write_object({"c": 1, "a": 1})]
    tree = Shown(SoftwareTriggerResult=Branch("SoftwareTriggerResult", some))
    read = find_results(tree).read(0, 2, [("a", FINAL), ("b", FINAL)])
    check_lines(tree.label, ["a", "c"], read.lines)
    with pytest.raises(LackingError, match=r"no HLT line `b`; it holds c, a"):
        check_lines(tree.label, ["a", "b"], read.lines)


def test_unlike_lists_of_lines_are_read_event_by_event():
    names = awkward.Array([["a", "b"], ["b"], ["a", "aa", "b"]])
    values = awkward.Array([[1, -1], [1], [1, 1, 0]])
    found = {line: pick_line(names, values, line) for line in ("a", "b")}
    assert {line: (column.tolist(), none) for line, (column, none) in found.items()} == {
        "a": ([1, 0, 1], 1),
        "b": ([-1, 1, 0], 0),
    }


def test_one_list_of_lines_holds_for_all_events():
    names, values = awkward.Array([["a", "aa", "b"]]), awkward.Array([[1, -1, 0], [0, 1, -1]])
    found = [pick_line(names, values, line) for line in ("a", "aa", "b", "c")]
    assert [column.tolist() for column, _ in found] == [[1, 0], [-1, 1], [0, -1], [0, 0]]
    assert [none for _, none in found] == [0, 0, 0, 2]
