"""A skim by a cut holds the accepted events with all branches that can be written, as they are in the input."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import awkward
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

import renderer.event_data.event_file
from renderer.event_data.tree_writer import read_code
from renderer.skimming import skim
from tests.support.inputs.skim_jobs import fail, lack, write_events, write_job, write_run

# -- collision events


@pytest.mark.slow
def test_a_skim_of_collision_events_equals_a_selection_by_numpy(shared_data, tmp_path):
    """All 22 columns of the sample, column by column, of each of its 65 runs."""
    oracle = json.loads((shared_data / "cms/events/retention_oracle.json").read_text())
    with (shared_data / "cms/events/Zee_Run2011A.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = defaultdict(list)
    for row in rows:
        runs[int(row["Run"])].append(row)
    assert len(rows[0]) == 22
    kinds = {"Q1": np.int32, "Q2": np.int32, "Run": np.int32, "Event": np.uint32}
    named = {"Run": "run", "Event": "event"}
    found = {}
    for run, some in runs.items():
        table = {"experiment": np.zeros(len(some), np.int32)}
        for name in rows[0]:
            values = [row[name] for row in some]
            column = (
                awkward.Array(values)
                if name.startswith("type")
                else np.array(values, kinds.get(name, np.float64))
            )
            table[named.get(name, name)] = column
        path = tmp_path / f"{run}.root"
        with uproot.recreate(path) as file:
            types = {name: getattr(column, "dtype", "string") for name, column in table.items()}
            file.mktree("tree", types).extend(table)
        job = write_job([path], {"z": {"cut": "[pt1 > 30] and [pt2 > 30] and [Q1*Q2 < 0]"}}, 0, run)
        report = skim(job, tmp_path)
        assert report["record"] == {}
        ((_, _, processed, accepted),) = report["outputs"]["z.root"]["runs"]
        found[str(run)] = {"n": processed, "pass": accepted}
        wanted = (table["pt1"] > 30) & (table["pt2"] > 30) & (table["Q1"] * table["Q2"] < 0)
        with uproot.open(tmp_path / "z.root") as file:
            tree = file["tree"]
            assert tree.keys() == [*table]
            for name, column in table.items():
                kept = tree[name].array(library="ak" if name.startswith("type") else "np")
                assert kept.tolist() == column[wanted].tolist()
                assert getattr(kept, "dtype", None) == getattr(column, "dtype", None)
    assert found == oracle["runs"]
    assert sum(run["pass"] for run in found.values()) == 10934


# -- trees of any branches

NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
SHAPES = st.sampled_from([(), (), (), (1,), (3,), (2, 3)])
KINDS = st.one_of(
    st.tuples(st.just("number"), st.sampled_from(NUMBERS), SHAPES),
    st.tuples(st.just("list"), st.sampled_from(NUMBERS), SHAPES),
    st.tuples(st.just("text"), st.just("u1"), st.just(())),
)
TREES = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True), KINDS, max_size=5)


def draw_numbers(dice, kind, shape):
    """Any bytes, so that the ends of all types are met, and values that are no number."""
    if kind == "?":
        return dice.random(shape) < 0.5
    count = int(np.prod(shape, dtype=int))
    return np.frombuffer(dice.bytes(count * np.dtype(kind).itemsize), kind).reshape(shape)


def draw_column(dice, rows, what, kind, shape):
    if what == "number":
        return draw_numbers(dice, kind, (rows, *shape))
    counts = dice.integers(0, 4, rows)
    if what == "list":
        content = draw_numbers(dice, kind, (int(counts.sum()), *shape))
        return awkward.unflatten(awkward.from_numpy(content, regulararray=True), counts)
    sizes = dice.choice([0, 1, 5, 254, 255, 256], rows)
    return awkward.Array(["".join(dice.choice([*"abcé~ "], size)) for size in sizes])


def correct_lists(tree, shapes):
    """Lets uproot 5.7 write lists of arrays: it forgets the arrays' lengths where it counts the bytes of a list."""
    write = tree._cascading.write_jagged_basket

    def write_shaped(sink, name, compression, values, offsets):
        return write(sink, name, compression, values.reshape(-1, *shapes.get(name, ())), offsets)

    tree._cascading.write_jagged_basket = write_shaped


def as_bytes(column):
    """A column so that equal ones are equal, also where they hold what is not a number."""
    if isinstance(column, np.ndarray):
        return column.dtype.newbyteorder("="), column.shape, column.tobytes()
    packed = awkward.to_packed(column)
    if awkward.parameters(packed).get("__array__") == "string":
        return packed.tolist()
    content = awkward.to_numpy(awkward.flatten(packed, axis=1))
    return awkward.num(packed, axis=1).tolist(), content.dtype, content.shape[1:], content.tobytes()


def read_column(tree, name):
    branch = tree[name]
    library = "np" if isinstance(branch.interpretation, uproot.AsDtype) else "ak"
    return branch.array(library=library)


@pytest.mark.slow
@settings(max_examples=30)
@given(
    kinds=TREES,
    rows=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    chunk=st.integers(1, 50),
    share=st.sampled_from([1, 500, 10**6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_a_tree_holds_comes_out_for_the_accepted_events(
    kinds, rows, chunk, share, seed, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("tree")
    dice = np.random.default_rng(seed)
    kinds = {f"b_{name}": kind for name, kind in kinds.items()}
    types = {"experiment": np.int32, "run": np.int16, "event": np.uint32, "good": np.int8}
    for name, (what, kind, shape) in kinds.items():
        lengths = "".join(f"{size} * " for size in shape)
        text = {"list": f"var * {lengths}{np.dtype(kind)}", "text": "string"}
        types[name] = text.get(what, np.dtype((kind, shape)))
    parts, number = [], 0
    for count in rows:
        part = {"experiment": np.full(count, 3), "run": np.full(count, 529)}
        part |= {
            "event": np.arange(number, number + count),
            "good": (dice.random(count) < 0.4).astype(np.int8),
        }
        part |= {name: draw_column(dice, count, *kind) for name, kind in kinds.items()}
        parts.append(part)
        number += count
    with uproot.recreate(folder / "in.root", compression=uproot.ZLIB(int(dice.integers(0, 5)))) as file:
        tree = file.mktree("data", types, title="some data", counter_name=lambda name: f"of_{name}")
        correct_lists(tree, {name: shape for name, (_, _, shape) in kinds.items()})
        for part in parts:
            tree.extend(part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer.event_data.event_file, "_CHUNK_EVENTS", chunk)
        patch.setattr(renderer.event_data.event_file, "_CLUSTER_BYTES", 0)
        patch.setattr("renderer.skims.outputs._HELD_BYTES", share)
        skims = {"good": {"cut": "good == 1"}, "none": {"cut": "good > 1"}, "all": {"cut": "True"}}
        report = skim(write_job([folder / "in.root"], skims), folder)
    assert report["failure"] is None
    assert report["record"] == {}
    accepted = np.concatenate([part["good"] for part in parts]) == 1
    with uproot.open(folder / "in.root") as file:
        given_tree = file["data"]
        whole = {name: read_column(given_tree, name) for name in given_tree.keys()}  # noqa: SIM118 -- no mapping
        names = {name: given_tree[name].typename for name in whole}
    for output, mask in (("good", accepted), ("none", accepted & False), ("all", accepted | True)):
        assert report["outputs"][f"{output}.root"]["events"] == mask.sum()
        with uproot.open(folder / f"{output}.root") as file:
            tree = file["data"]
            assert tree.title == "some data"
            assert {name: tree[name].typename for name in tree.keys()} == names  # noqa: SIM118 -- no mapping
            assert tree.num_entries == mask.sum()
            for name, column in whole.items():
                assert tree[name].title == f"{name}" + tree[name].title.removeprefix(name)
                if mask.any():
                    assert as_bytes(read_column(tree, name)) == as_bytes(column[mask])


# -- counters, titles, compression, baskets


def write_lists(path, compression=None):
    lists = awkward.Array([[1.0, 2.0], [], [3.0], [4.0, 5.0, 6.0]])
    values = {
        "experiment": np.full(4, 3),
        "run": np.full(4, 529),
        "event": np.arange(4),
        "x": lists,
        "y": -lists,
    }
    types = dict.fromkeys(("experiment", "run", "event"), np.int32) | dict.fromkeys("xy", "var * float64")
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree("tree", types, counter_name=lambda _: "size")
        tree.extend(values)
    return path


def test_lists_share_their_counter_as_in_the_input(tmp_path):
    path = write_lists(tmp_path / "in.root")
    skim(write_job([path], {"all": {"cut": "event != 1"}}), tmp_path)
    with uproot.open(tmp_path / "all.root") as file:
        tree = file["tree"]
        assert tree.keys() == ["experiment", "run", "event", "size", "x", "y"]
        assert [tree[name].count_branch.name for name in "xy"] == ["size", "size"]
        assert tree["size"].array().tolist() == [2, 1, 3]
        assert tree["y"].array().tolist() == [[-1, -2], [-3], [-4, -5, -6]]


def dress(path, basket=2000):
    """Gives a tree what other writers do: titles of branches, sizes of baskets, a counter of another type."""
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        types = dict.fromkeys(("experiment", "run", "event"), np.int32) | {
            "E": np.float64,
            "x": "var * float32",
        }
        tree = file.mktree("tree", types, counter_name=lambda _: "size")
        for datum in tree._cascading._branch_data:
            datum["fBasketSize"] = basket
            if datum["fName"] == "E":
                datum["fTitle"] = "energy of the photon [GeV]"
            if datum["fName"] == "size":
                datum["dtype"] = np.dtype(">u2")
        tree._cascading._relocate(file.file, file.file.sink)
        rows = np.arange(1000)
        tree.extend(
            {
                "experiment": rows * 0 + 3,
                "run": rows * 0 + 529,
                "event": rows,
                "E": rows / 7,
                "x": awkward.unflatten(rows, rows * 0 + 1),
            }
        )
    return path


def test_titles_sizes_of_baskets_and_types_of_counters_stay(tmp_path):
    path = dress(tmp_path / "in.root")
    skim(write_job([path], {"all": {"cut": "True"}, "none": {"cut": "event < 0"}}), tmp_path)
    for output in ("all", "none"):
        with uproot.open(tmp_path / f"{output}.root") as file:
            tree = file["tree"]
            assert tree["E"].title == "energy of the photon [GeV]"
            assert {branch.member("fBasketSize") for branch in tree.branches} == {2000}
            assert tree["size"].typename == "uint16_t"


def test_baskets_hold_about_as_much_as_the_inputs(tmp_path, monkeypatch):
    size = 10_000
    rows = np.arange(size)
    path = tmp_path / "in.root"
    with uproot.recreate(path) as file:
        tree = file.mktree("tree", dict.fromkeys(("experiment", "run", "event", "x"), np.int64))
        for start in range(0, size, 2500):
            part = rows[start : start + 2500]
            tree.extend({"experiment": part * 0 + 3, "run": part * 0 + 529, "event": part, "x": part % 4})
    skim(write_job([path], {"all": {"cut": "True"}, "some": {"cut": "x == 1"}}), tmp_path)
    for output, events in (("all", size), ("some", size // 4)):
        with uproot.open(tmp_path / f"{output}.root") as file:
            # 32,000 bytes hold 3,970 of these numbers with their header
            assert file["tree/x"].num_baskets == -(-events // 3990) or file["tree/x"].num_baskets == -(
                -events // 3970
            )


@pytest.mark.parametrize("compression", [None, uproot.ZLIB(4), uproot.LZMA(2), uproot.LZ4(4), uproot.ZSTD(5)])
def test_the_compression_is_the_inputs(compression, tmp_path):
    path = write_lists(tmp_path / "in.root", compression)
    skim(write_job([path], {"all": {"cut": "True"}, "none": {"cut": "event < 0"}}), tmp_path)
    for output in ("all", "none"):
        with uproot.open(path) as before, uproot.open(tmp_path / f"{output}.root") as after:
            assert after.file.fCompress == before.file.fCompress


@pytest.mark.parametrize(
    ("code", "known"),
    [
        *(
            (0, None),
            (100, None),
            (-1, None),
            (1, uproot.ZLIB(1)),
            (101, uproot.ZLIB(1)),
            (301, uproot.ZLIB(1)),
        ),
        *((209, uproot.LZMA(9)), (404, uproot.LZ4(4)), (505, uproot.ZSTD(5)), (499, uproot.LZ4(12))),
    ],
)
def test_the_codes_of_root(code, known):
    assert repr(read_code(code)) == repr(known)


# -- what is kept


def write_four(path):
    return write_run(path, 3, trk_pt=[1.0, 2.0, 3.0], trk_eta=[4.0, 5.0, 6.0], E=[7, 8, 9])


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (["trk_*"], ["trk_pt", "trk_eta"]),
        (["E"], ["E"]),
        (["*_eta", "E", "event"], ["trk_eta", "E"]),
        (["?"], ["E"]),
        (["*"], ["trk_pt", "trk_eta", "E"]),
    ],
)
def test_patterns_name_what_is_kept_beside_the_identity(keep, kept, tmp_path):
    job = {**write_job([write_four(tmp_path / "in.root")], {"s": {"cut": "trk_pt >= 2"}}), "keep": keep}
    assert skim(job, tmp_path)["failure"] is None
    with uproot.open(tmp_path / "s.root") as file:
        assert file["events"].keys() == ["experiment", "run", "event", *kept]
        assert file["events/event"].array().tolist() == [2, 3]


def test_a_list_is_kept_with_its_counter(tmp_path):
    job = {**write_job([write_lists(tmp_path / "in.root")], {"s": {"cut": "event > 1"}}), "keep": ["y"]}
    skim(job, tmp_path)
    with uproot.open(tmp_path / "s.root") as file:
        assert file["tree"].keys() == ["experiment", "run", "event", "size", "y"]
        assert file["tree/y"].array().tolist() == [[-3], [-4, -5, -6]]


def test_a_pattern_that_names_nothing_is_told(tmp_path):
    job = {**write_job([write_four(tmp_path / "in.root")], {"s": {"cut": "E > 0"}}), "keep": ["E", "trk_ptt"]}
    message = lack(job, tmp_path)
    assert (
        message == "in.root: tree `events` has no branch that `keep: trk_ptt` names; nearest: trk_pt, trk_eta"
    )


def test_objects_of_basf2_have_nothing_to_keep(shared_data, tmp_path):
    path = shared_data / "belle2" / "mdst" / "mdst.root"
    job = {**write_job([path], {"s": {"cut": "event > 0"}}, 1003, 0), "keep": ["Tracks"]}
    assert "holds objects of basf2, of which an event list is written" in lack(job, tmp_path)


@pytest.fixture
def strange(monkeypatch):
    """Makes the branch E one that cannot be written."""

    class Odd(renderer.event_data.event_file.Tree):
        def __init__(self, tree, name):
            super().__init__(tree, name)
            tree["E"]._interpretation = uproot.AsObjects(
                uproot.containers.AsVector(True, uproot.containers.AsString(False))
            )

    monkeypatch.setattr(renderer.event_data.event_file, "Tree", Odd)


def test_what_cannot_be_written_is_in_the_record_once(strange, tmp_path):
    path = write_four(tmp_path / "in.root")
    report = skim(write_job([path], {"a": {"cut": "trk_pt >= 2"}, "b": {"cut": "trk_pt < 0"}}), tmp_path)
    assert report["failure"] is None
    assert report["record"] == {"unwritten": {"E": "std::vector<std::string>"}}
    for output in "ab":
        with uproot.open(tmp_path / f"{output}.root") as file:
            assert file["events"].keys() == ["experiment", "run", "event", "trk_pt", "trk_eta"]


def test_what_cannot_be_written_cannot_be_kept(strange, tmp_path):
    job = {**write_job([write_four(tmp_path / "in.root")], {"s": {"cut": "trk_pt > 0"}}), "keep": ["E"]}
    assert lack(job, tmp_path).endswith("of what `keep: E` names, E, nothing can be written")


# -- several inputs


def test_inputs_of_one_form_are_written_one_behind_the_other(tmp_path):
    empty = write_run(tmp_path / "a.root", 0, x=np.zeros(0, np.int16))
    first = write_run(tmp_path / "b.root", 2, x=np.array([1, 2], np.int16))
    identity = {"experiment": [3], "run": [529], "event": [9]}
    second = write_events(tmp_path / "c.root", **identity, x=np.array([3], np.int16))
    report = skim(write_job([empty, first, second], {"all": {"cut": "x > 1"}}), tmp_path)
    assert report["events_read"] == 3
    with uproot.open(tmp_path / "all.root") as file:
        assert file["events/x"].array(library="np").tolist() == [2, 3]
        assert file["events/x"].typename == "int16_t"


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        ({}, "b.root has no branch x that can be written, and a.root has"),
        ({"x": np.array([1.0])}, "b.root: branch x is float64, in a.root it is int16"),
        (
            {"x": np.array([1], np.int16), "y": np.array([1])},
            "b.root has a branch y, and a.root has none; `keep` in the step says which to keep",
        ),
    ],
)
def test_inputs_of_other_branches_are_refused_and_named(branches, said, tmp_path):
    first = write_run(tmp_path / "a.root", 2, x=np.array([1, 2], np.int16))
    second = write_events(tmp_path / "b.root", experiment=[3], run=[529], event=[9], **branches)
    assert lack(write_job([first, second], {"all": {"cut": "True"}}), tmp_path) == said


def test_objects_and_numbers_do_not_go_into_one_output(shared_data, tmp_path):
    objects = shared_data / "belle2" / "mdst" / "chaintest_1.root"
    flat = write_events(tmp_path / "flat.root", experiment=[0], run=[1], event=[900])
    for order in ([objects, flat], [flat, objects]):
        message = fail(write_job(order, {"all": {"cut": "True"}}, 0, 1), tmp_path)
        assert message == (
            "chaintest_1.root holds objects of basf2, and flat.root numbers: one output cannot hold both"
        )


def test_inputs_without_any_events_give_the_branches_without_rows(tmp_path):
    path = tmp_path / "in.root"
    with uproot.recreate(path) as file:
        identity = dict.fromkeys(("experiment", "run", "event"), np.int64)
        file.mktree("events", {**identity, "x": np.dtype((np.float32, (2,)))})
    assert skim(write_job([path], {"all": {"cut": "nosuch > 1"}}), tmp_path)["events_read"] == 0
    with uproot.open(tmp_path / "all.root") as file:
        assert {name: file["events"][name].typename for name in file["events"].keys()} == {  # noqa: SIM118 -- no mapping
            **dict.fromkeys(("experiment", "run", "event"), "int64_t"),
            "x": "float[2]",
        }


def test_a_skim_of_a_skim(tmp_path):
    path = write_run(tmp_path / "in.root", 10, x=np.arange(10))
    skim(write_job([path], {"first": {"cut": "x >= 4"}}), tmp_path)
    report = skim(write_job([tmp_path / "first.root"], {"second": {"cut": "x >= 8"}}), tmp_path)
    assert report["events_read"] == 6
    with uproot.open(tmp_path / "second.root") as file:
        assert file["events/x"].array().tolist() == [8, 9]


def test_a_full_disk_is_no_fault_of_the_input(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("renderer.event_data.tree_writer.TreeWriter.extend", refuse)
    path = write_run(tmp_path / "in.root")
    message = fail(write_job([path], {"all": {"cut": "True"}}), tmp_path, "infrastructure")
    assert message == "the outputs cannot be written: No space left on device"
