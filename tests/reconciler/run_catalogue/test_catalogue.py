"""The run catalogue: what imports change, what selections take, what is refused."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import uproot

from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import State, opened, reading
from reconciler.model.run import File, Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import RAW, list_runs, read_inputs
from reconciler.run_catalogue.file_decision import RefusedFile
from reconciler.run_catalogue.file_import import read_files
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.lists.file_lists import find_files
from reconciler.run_catalogue.lists.run_lists import RunList, collect_runs
from reconciler.run_catalogue.run_import import ImportedRuns, import_runs
from reconciler.run_catalogue.run_selection import select_runs
from schemas.manifest.campaign import Selector
from schemas.manifest.runs import RunRange, run_key

RUNS = [
    Run(3, number, kind, 100, f"2019-01-{number:02d}T00:00:00Z")
    for number, kind in ((5, "physics"), (2, "beam"), (9, "cosmic"), (7, "physics"))
]


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state")
    with opened(state) as engine:
        import_runs(engine, RUNS)
    return state


def file(run, **changes):
    name = changes.get("name", f"raw.{run}.root")
    values = {
        "name": name,
        "path": f"/x/{run}/{name}",
        "size": 1,
        "checksum": f"adler32:{zlib.adler32(f'{run} {name}'.encode()):08x}",
        "events": 10,
    }
    return File(3, run, "raw", **{**values, **changes})


def serial(state):
    with reading(state) as connection:
        return read_identity(connection).catalogue_serial


def test_importing_twice_changes_nothing(state):
    with opened(state) as engine:
        import_files(engine, [file(2), file(5)])
        before = serial(state)
        assert import_runs(engine, RUNS) == ImportedRuns(unchanged=4)
        assert import_files(engine, [file(5), file(2)]).counts == ImportedRuns(unchanged=2)
    assert serial(state) == before


def test_a_growing_list_adds_the_new_runs(state):
    with opened(state) as engine:
        assert import_runs(engine, [*RUNS, Run(3, 11)]) == ImportedRuns(new=1, unchanged=4)
        assert import_runs(engine, [Run(3, 11, "physics")]) == ImportedRuns(changed=1)


@pytest.mark.parametrize("change", [{"size": 2}, {"checksum": "adler32:01"}], ids=str)
def test_a_changed_file_moves_the_input_of_its_run_alone(state, change):
    with opened(state) as engine:
        import_files(engine, [file(2), file(5)])
        with reading(state) as connection:
            before = read_inputs(connection, RAW, [3])
        assert import_files(engine, [file(5, **change)]).counts == ImportedRuns(changed=1)
    with reading(state) as connection:
        after = read_inputs(connection, RAW, [3])
    assert {key for key in before if before[key] != after[key]} == {run_key(3, 5)}


def test_where_a_file_lies_moves_nothing(state):
    with opened(state) as engine:
        import_files(engine, [file(2)])
        with reading(state) as connection:
            before = read_inputs(connection, RAW, [3])
        import_files(engine, [file(2, path="/elsewhere")])
    with reading(state) as connection:
        assert read_inputs(connection, RAW, [3]) == before


@pytest.mark.parametrize(
    ("selector", "runs"),
    [
        (Selector(3, ranges=(RunRange(1, 8),)), [2, 5, 7]),
        (Selector(3, ranges=(RunRange(1, 8),), exclude=(RunRange(5, 6),)), [2, 7]),
        (Selector(3, ranges=(RunRange(1, 20),), types=("physics", "beam")), [2, 5, 7]),
        (Selector(4, ranges=(RunRange(1, 20),)), []),
        (Selector(3, ranges=(RunRange(1, 20),), exclude=(RunRange(6, 99_999_998),)), [2, 5]),
        (Selector(3, first=1, max_runs=2), [5, 2, 9, 7]),
        (Selector(3, first=3, max_runs=2), [5, 9, 7]),
        (Selector(3, first=3, max_runs=9, until="2019-01-07"), [5, 7]),
        (Selector(3, first=1, max_runs=2, exclude=(RunRange(5, 5),)), [2, 9, 7]),
        (Selector(3, ranges=tuple(RunRange(number, number) for number in range(1, 600, 2))), [5, 7, 9]),
    ],
    ids=[
        "closed",
        "exclude",
        "types",
        "other experiment",
        "a vast exclusion",
        "in order of arrival",
        "from",
        "until",
        "open exclude",
        "many",
    ],
)
def test_a_selector_takes(state, selector, runs):
    with reading(state) as connection:
        assert select_runs(connection, selector) == [run_key(3, run) for run in runs]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("3,x,physics,1", "not a count"),
        ("3,-5,physics,1", "not a count"),
        ("3,5,physics,-99", "not a count"),
        ("3,5,physics (short),1", "run type"),
        (",5,physics,1", "missing"),
        ("99999,5,physics,1", "experiment '99999' is beyond 9999"),
        ("3,1,cosmic,1", "listed before"),
    ],
)
def test_a_row_that_cannot_be_trusted_is_refused_with_its_reason(tmp_path, row, says):
    listed = tmp_path / "runs.csv"
    listed.write_text(f"exp,run,run_type,events\n3,1,physics,1\n{row}\n")
    runs, refused = collect_runs(RunList(listed))
    assert [run.run for run in runs] == [1]
    ((number, reason),) = [(one.line, one.reason) for one in refused]
    assert number == 3
    assert says in reason


@pytest.mark.parametrize("content", ["", "[]", "{", "run\n1\n", '{"a": 1}'])
def test_what_is_no_list_is_a_source_that_is_unavailable(tmp_path, content):
    for name in ("runs.csv", "runs.json"):
        (tmp_path / name).write_text(content)
        with pytest.raises(SourceUnavailable):
            collect_runs(RunList(tmp_path / name))


def write_root(path, runs):
    with uproot.recreate(path) as out:
        columns = {"experiment": np.full(len(runs), 3), "run": np.array(runs), "event": np.arange(len(runs))}
        out.mktree("events", {name: column.dtype for name, column in columns.items()})
        out["events"].extend(columns)


def test_files_say_themselves_which_run_they_are_of(tmp_path):
    write_root(tmp_path / "good.root", [529, 529])
    write_root(tmp_path / "mixed.root", [529, 530])
    (tmp_path / "cut.root").write_bytes((tmp_path / "good.root").read_bytes()[:200])
    (found,) = read_files(find_files(tmp_path / "good.root"), "ntuple", tmp_path)
    assert (found.file.experiment, found.file.run, found.file.events) == (3, 529, 2)
    refused = [
        one for one in read_files(find_files(tmp_path), "ntuple", tmp_path) if isinstance(one, RefusedFile)
    ]
    assert {one.path.rsplit("/", 1)[1]: one.reason[:30] for one in refused}.keys() == {
        "cut.root",
        "mixed.root",
    }
    assert any("2 runs" in one.reason for one in refused)


def test_a_list_that_says_everything_opens_no_file(tmp_path):
    listed = tmp_path / "files.json"
    row = {
        "path": "on/tape.root",
        "experiment": 3,
        "run": 5,
        "size": 7,
        "checksum": "adler32:0a1b2c3d",
        "events": 4,
    }
    listed.write_text(json.dumps([row]))
    (found,) = read_files(find_files(listed), "raw", tmp_path)
    assert found.file == File(
        3, 5, "raw", "tape.root", str(tmp_path / "on/tape.root"), 7, "adler32:0a1b2c3d", 4
    )


def listed(tmp_path, **row):
    (tmp_path / "files.json").write_text(json.dumps([row]))
    (found,) = read_files(find_files(tmp_path / "files.json"), "raw", tmp_path)
    return found


NAMED = "physics.0003.00529.HLT2.f00001.root"


def test_the_name_of_a_raw_file_says_its_run_and_a_file_on_tape_is_not_read(tmp_path):
    found = listed(tmp_path, path=f"on/{NAMED}", size=7, checksum="adler32:0a1b2c3d", storage="tape").file
    assert (found.experiment, found.run, found.events, found.storage) == (3, 529, None, "tape")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"path": f"on/{NAMED}", "storage": "tape"}, "not read for them"),
        ({"path": f"on/{NAMED}", "size": 7, "checksum": "0a1b2c3d"}, "not written as in adler32:0a1b2c3d"),
        (
            {"path": f"on/{NAMED}", "size": 7, "checksum": "adler32:0a1b2c3d", "storage": "attic"},
            "'attic' is none of",
        ),
        ({"path": f"on/{NAMED}", "size": -7, "checksum": "adler32:0a1b2c3d"}, "size -7 is not a count"),
        (
            {"path": f"on/{NAMED}", "size": 7, "checksum": "adler32:0a1b2c3d", "events": "many"},
            "events 'many'",
        ),
    ],
    ids=str,
)
def test_a_row_that_says_too_little_or_wrong_is_refused(tmp_path, row, why):
    found = listed(tmp_path, **row)
    assert isinstance(found, RefusedFile)
    assert why in found.reason


def test_a_file_whose_events_are_of_another_run_than_its_name_is_refused(tmp_path):
    write_root(tmp_path / NAMED, [530])
    found = listed(tmp_path, path=NAMED)
    assert isinstance(found, RefusedFile)
    assert found.reason == "its events are of run 3:530, it is said to be of 3:529"


def test_where_a_file_is_stored_is_counted_and_moves_nothing(state):
    def look():
        with reading(state) as connection:
            (row,) = (row for row in connection.execute(list_runs()) if row.run == 2)
            return (row.files, row.on_disk), read_inputs(connection, RAW, [3])

    with opened(state) as engine:
        import_files(
            engine, [file(2), file(2, name="b", storage="tape"), file(2, name="c", storage="staging")]
        )
        counts, before = look()
        assert counts == (3, 1)
        assert import_files(engine, [file(2, name="b")]).counts == ImportedRuns(changed=1)
    assert look() == ((3, 2), before)
