"""Files into the catalogue and out of it, by the command line: what is refused, told, removed, and made again."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import struct

import numpy as np
import pytest
import uproot

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema.tables import files
from reconciler.ledger.store.database import State, opened
from tests.support.inputs.damaged_sroot import damage
from tests.support.worlds.skimmed import Skimmed


class ImportingCheckout:
    """A folder with a run catalogue, and the command line."""

    def __init__(self, root, capsys):
        self.root, self._capsys = root, capsys

    def __call__(self, *words):
        """Exit code, what is written on stdout, and on stderr."""
        self._capsys.readouterr()
        code = run(["--root", str(self.root), *map(str, words)])
        return code, *self._capsys.readouterr()

    def write(self, name, first=1, count=100, runs=(1,), **more):
        """A ROOT file with events of runs of experiment 12; `more` are further columns."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "experiment": np.full(count, 12, np.int32),
            "run": np.resize(np.array(runs, np.int32), count),
            "event": np.arange(first, first + count, dtype=np.uint32),
            **more,
        }
        with uproot.recreate(path) as file:
            file.mktree("tree", {key: column.dtype for key, column in columns.items()}).extend(columns)
        return path

    def list(self, rows):
        path = self.root / "list.json"
        path.write_text(json.dumps(rows))
        return path

    def show(self, *words):
        """The rows that `files list --json` writes."""
        code, out, _ = self("files", "list", "--json", *words)
        assert code == Exit.FINE
        return json.loads(out)


@pytest.fixture
def importing(tmp_path, capsys):
    (tmp_path / "productions").mkdir()
    (tmp_path / "runs.csv").write_text("experiment,run,type,events\n12,1,physics,150\n12,2,physics,\n")
    made = ImportingCheckout(tmp_path, capsys)
    assert made("runs", "import", tmp_path / "runs.csv")[0] == Exit.FINE
    return made


def test_of_two_files_of_one_name_in_two_folders_none_is_taken(importing):
    one = importing.write("in/hlt_bhabha/sub00/cdst.root", 1, 100)
    other = importing.write("in/hlt_hadron/sub00/cdst.root", 101, 50)
    code, _, told = importing("files", "import", importing.root / "in", "--level", "cdst")
    assert code == Exit.FINDINGS
    assert f"refused: {one}: " in told
    assert f"refused: {other}: " in told
    assert "files: 0 new, 0 changed, 0 unchanged, 2 refused\nnothing was changed\n" in told
    assert importing.show() == []
    rows = [{"path": str(one)}, {"path": str(other), "name": "hadron.root"}]
    assert importing("files", "import", importing.list(rows), "--level", "cdst")[0] == Exit.FINE
    assert {(row["name"], row["events"]) for row in importing.show()} == {
        ("cdst.root", 100),
        ("hadron.root", 50),
    }


def test_more_events_than_the_run_has_are_told_at_each_import(importing):
    """A job that was started twice left two files with the same events, equal in no byte of their headers."""
    importing.write("in/out_job7_00.root")
    importing.write("in/out_job7_01.root")
    for new in ("2 new, 0 changed, 0 unchanged", "0 new, 0 changed, 2 unchanged"):
        code, _, told = importing("files", "import", importing.root / "in", "--level", "mdst")
        assert code == Exit.FINDINGS
        assert new in told
        assert (
            "12:1: its files in unassigned/mdst are registered with 200 events, the run itself with 150"
            in told
        )
    importing.write("two/out.root", runs=(2,))
    assert importing("files", "import", importing.root / "two", "--level", "mdst")[0] == Exit.FINE, (
        "run 2 has no number"
    )


@pytest.mark.parametrize("name", [b"\xff.root", b"a\nb.root", b"\x1b[31mb.root", b" b.root"])
def test_a_file_whose_name_is_none_is_refused_and_the_others_are_taken(importing, name):
    (importing.root / "in").mkdir()
    os.rename(importing.write("b.root", 101, 50), os.fsencode(importing.root / "in") + b"/" + name)
    importing.write("in/a.root")
    code, _, told = importing("files", "import", importing.root / "in", "--level", "mdst")
    assert (code, "1 new, 0 changed, 0 unchanged, 1 refused" in told) == (Exit.FINDINGS, True)
    assert re.search(r"^refused: (path|name) '.*' has (a|a line end or another) ", told, re.MULTILINE)
    assert not {"\x1b", "\udcff"} & set(told)
    assert [row["name"] for row in importing.show()] == ["a.root"]


def test_what_is_no_plain_file_is_refused_and_not_waited_for(importing):
    (importing.root / "in").mkdir()
    for pipe in ("in/p.root", "in/p.sroot", "list.csv"):
        os.mkfifo(importing.root / pipe)
    (importing.root / "in/gone.root").symlink_to(importing.root / "nowhere")
    importing.write("in/a.root")
    code, _, told = importing("files", "import", importing.root / "in", "--level", "raw")
    assert (code, "1 new, 0 changed, 0 unchanged, 3 refused" in told) == (Exit.FINDINGS, True)
    assert told.count("it is not a plain file") == 2
    code, _, told = importing("files", "import", importing.root / "list.csv", "--level", "raw")
    assert (code, "it is not a plain file" in told) == (Exit.UNAVAILABLE, True)
    row = {"path": str(importing.root / "in/p.root"), "experiment": 12, "run": 1, "size": 9}
    code, _, told = importing("files", "import", importing.list([row]), "--level", "raw")
    assert (code, "it is not a plain file" in told) == (Exit.FINDINGS, True)


def test_a_path_with_a_line_end_in_a_list_is_refused(importing):
    """Quotes that pair across rows: the second row has no file of its own."""
    file = importing.root / "list.csv"
    row = ",12,2,5,adler32:0000000"
    file.write_text(f'path,experiment,run,size,checksum\n"/x/a.root\n/x/b.root"{row}1\n/x/c.root{row}2\n')
    code, _, told = importing("files", "import", file, "--level", "mdst")
    assert code == Exit.FINDINGS
    assert "line 2 refused: path '/x/a.root\\n/x/b.root' has a line end" in told
    assert [row["name"] for row in importing.show()] == ["c.root"]


@pytest.mark.parametrize(
    ("counts", "excess"), [((100, 51, None), 151), ((100, 50, None), None), ((None, None, 151), 151)]
)
def test_files_without_a_count_hide_no_events_of_the_others(importing, counts, excess):
    rows = [
        {
            "path": f"/raw/{number}.root",
            "experiment": 12,
            "run": 1,
            "size": 9,
            "checksum": f"adler32:0000000{number}",
        }
        | ({} if events is None else {"events": events})
        for number, events in enumerate(counts, 1)
    ]
    code, _, told = importing("files", "import", importing.list(rows), "--level", "mdst")
    said = f"12:1: its files in unassigned/mdst are registered with at least {excess} events, the run itself with 150"
    assert (code, said in told) == ((Exit.FINDINGS, True) if excess else (Exit.FINE, False))


def test_a_copied_file_is_refused_until_it_is_declared_a_replica(importing):
    first = importing.write("in/a.root")
    copy = importing.root / "copy" / "b.root"
    copy.parent.mkdir()
    shutil.copy(first, copy)
    assert importing("files", "import", first, "--level", "mdst")[0] == Exit.FINE
    code, _, told = importing("files", "import", copy.parent, "--level", "mdst")
    assert code == Exit.FINDINGS
    assert f"refused: {copy}: it has the content of {first} (unassigned/mdst/12:1/a.root)" in told
    code, _, told = importing("files", "import", copy.parent, "--level", "mdst", "--replicas")
    assert (code, "replicas: 1 new" in told) == (Exit.FINE, True)
    (row,) = importing.show()
    assert (row["name"], row["replicas"]) == ("a.root", [str(copy)])
    (summed,) = json.loads(importing("runs", "--json")[1])[:1]
    assert summed["files"] == 1, "it is read once"
    code, _, told = importing("files", "import", importing.root, "--level", "mdst")
    assert code == Exit.FINDINGS, "without the declaration a file of another name is one that is equal"


def test_a_checksum_that_lost_its_zeros_is_that_of_the_same_file(importing):
    row = {"path": "/raw/a.root", "experiment": 12, "run": 2, "size": 9, "events": 5}
    for spelt, told in (
        ("adler32:b2c3d", "1 new, 0 changed, 0 unchanged"),
        ("ADLER32:000B2C3D", "0 new, 0 changed, 1 unchanged"),
    ):
        done = importing("files", "import", importing.list([{**row, "checksum": spelt}]), "--level", "raw")
        assert (done[0], told in done[2]) == (Exit.FINE, True)
    with opened(State(importing.root / ".b2prod")) as engine, engine.begin() as connection:
        connection.execute(files.update().values(checksum="adler32:b2c3d"))  # as it was registered once
    rows = [{**row, "checksum": "adler32:000b2c3d"}]
    assert "1 unchanged, 0 refused" in importing("files", "import", importing.list(rows), "--level", "raw")[2]
    rows[0] |= {"path": "/raw/b.root", "run": 1}
    code, _, told = importing("files", "import", importing.list(rows), "--level", "raw")
    assert (code, "it has the content of /raw/a.root" in told) == (Exit.FINDINGS, True)


def test_a_list_declares_replicas_beside_the_files(importing):
    rows = [
        {"path": "/disk/a.root", "experiment": 12, "run": 2, "size": 9, "checksum": "adler32:0a1b2c3d"},
        {
            "path": "/tape/a.root",
            "experiment": 12,
            "run": 2,
            "size": 9,
            "checksum": "adler32:0a1b2c3d",
            "storage": "tape",
            "replica_of": "/disk/a.root",
        },
    ]
    for _ in range(2):
        assert importing("files", "import", importing.list(rows), "--level", "raw")[0] == Exit.FINE
    (row,) = importing.show()
    assert (row["path"], row["replicas"]) == ("/disk/a.root", ["/tape/a.root"])
    rows[1]["size"] = 8
    code, _, told = importing("files", "import", importing.list(rows), "--level", "raw")
    assert code == Exit.FINDINGS
    assert "/tape/a.root: it is not a replica of /disk/a.root" in told or "another content" in told


def test_a_folder_that_lacks_registered_files_says_so_and_keeps_them(importing):
    paths = [importing.write(f"in/a_{number}.root", 1 + 50 * number, 50) for number in range(2)]
    assert importing("files", "import", importing.root / "in", "--level", "mdst")[0] == Exit.FINE
    importing.write("elsewhere/b.root", 1, 10, runs=(2,))
    assert importing("files", "import", importing.root / "elsewhere", "--level", "mdst")[0] == Exit.FINE
    (importing.root / "elsewhere/b.root").unlink()
    for path in paths:
        path.unlink()
    importing.write("in/a.root")
    code, _, told = importing("files", "import", importing.root / "in", "--level", "mdst")
    assert code == Exit.FINDINGS
    assert "registered and gone: 2 files" in told
    assert all(str(path) in told for path in paths)
    assert "b.root" not in told, "what is not below the folder was not looked for"
    assert len(importing.show()) == 4


def test_a_file_on_tape_is_not_missed_in_a_folder(importing):
    row = {
        "path": str(importing.root / "in/t.root"),
        "experiment": 12,
        "run": 2,
        "size": 9,
        "storage": "tape",
    }
    assert (
        importing(
            "files", "import", importing.list([{**row, "checksum": "md5:" + "0" * 32}]), "--level", "raw"
        )[0]
        == Exit.FINE
    )
    importing.write("in/a.root")
    assert importing("files", "import", importing.root / "in", "--level", "raw")[0] == Exit.FINE


def test_a_removed_file_stays_so_until_its_path_is_given(importing):
    path = importing.write("in/a.root")
    folder = ("files", "import", importing.root / "in", "--level", "mdst")
    assert importing(*folder)[0] == Exit.FINE
    assert importing("files", "remove", "a.root", "--reason", "bad  tracks")[0] == Exit.FINE
    assert importing.show() == []
    (gone,) = importing.show("--removed")
    assert (gone["path"], gone["reason"], gone["events"]) == (str(path), "bad tracks", 100)
    code, _, told = importing(*folder)
    assert code == Exit.FINE
    assert "1 file removed earlier and left out" in told
    assert importing.show() == []
    code, _, told = importing("files", "remove", path, "--reason", "again")
    assert code == Exit.UNAVAILABLE
    assert "bad tracks" in told
    assert importing("files", "import", path, "--level", "mdst")[0] == Exit.FINE
    assert [row["name"] for row in importing.show()] == ["a.root"]
    assert importing.show("--removed") == []


def test_a_name_of_several_files_removes_none_and_lists_them(importing):
    one = importing.write("in/1/a.root", 1, 50, runs=(1,))
    two = importing.write("in/2/a.root", 1, 50, runs=(2,))
    assert importing("files", "import", importing.root / "in", "--level", "mdst")[0] == Exit.FINE
    code, _, told = importing("files", "remove", "a.root", "--reason", "x")
    assert code == Exit.USAGE
    assert f"mdst/12:1/a.root  {one}" in told
    assert f"mdst/12:2/a.root  {two}" in told
    code, _, told = importing("files", "remove", "mdst/12:2/a.root", "nobody.root", "--reason", "x")
    assert code == Exit.UNAVAILABLE
    assert len(importing.show()) == 2, "of several, all are removed or none"
    assert importing("files", "remove", "mdst/12:2/a.root", "--reason", "x")[0] == Exit.FINE
    assert [row["run"] for row in importing.show()] == [1]


def test_of_a_file_with_a_replica_one_place_can_go(importing):
    first = importing.write("in/a.root")
    copy = importing.root / "copy" / "a.root"
    copy.parent.mkdir()
    shutil.copy(first, copy)
    assert importing("files", "import", first, "--level", "mdst")[0] == Exit.FINE
    assert importing("files", "import", copy, "--level", "mdst", "--replicas")[0] == Exit.FINE
    code, _, told = importing("files", "remove", first, "--reason", "the disk is full")
    assert (code, f"the file stays registered, at {copy}" in told) == (Exit.FINE, True)
    (row,) = importing.show()
    assert (row["path"], row["replicas"]) == (str(copy), [])
    assert importing("files", "remove", "a.root", "--reason", "bad")[0] == Exit.FINE
    assert importing.show() == []


CANDIDATES = {"__candidate__": np.tile(np.arange(4, dtype=np.uint32), 25)}


@pytest.mark.parametrize(
    ("columns", "said"),
    {
        "one row an event": ({}, 100),
        "four candidates an event": (
            {"event": np.repeat(np.arange(25, dtype=np.uint32), 4), **CANDIDATES},
            25,
        ),
        "events twice": (
            {"event": np.tile(np.arange(50, dtype=np.uint32), 2)},
            "50 events stand in it more than once",
        ),
        "one event twice": (
            {"event": np.r_[np.arange(99), 7].astype(np.uint32)},
            "1 event stands in it more than once, as 12:1:7",
        ),
        "candidates twice": (
            {"event": np.tile(np.repeat(np.arange(13, dtype=np.uint32), 4), 2)[:100], **CANDIDATES},
            "12 events stand in it more than once",
        ),
        "an event number beyond 32 bits": (
            {"event": np.arange(100) + 2**32 - 50},
            "event is 4294967296, which is not a whole number",
        ),
        "a run that wraps": (
            {"run": np.full(100, 2**32 + 1)},
            "run is 4294967297, which is not a whole number",
        ),
        "a negative experiment": (
            {"experiment": np.full(100, -1)},
            "experiment is -1, which is not a whole number",
        ),
        "half a run": ({"run": np.full(100, 1.5)}, "run is 1.5, which is not a whole number"),
        "no number": ({"event": np.full(100, np.nan)}, "event is nan, which is not a whole number"),
        "whole numbers as doubles": ({"run": np.full(100, 1.0), "event": np.arange(100.0)}, 100),
        "events of two runs": ({"run": np.repeat(np.array([1, 2]), 50)}, "events of 2 runs (12:1, 12:2 …)"),
    }.values(),
    ids=lambda value: None,
)
def test_the_events_of_a_file_are_counted_once(importing, columns, said):
    path = importing.write("in/a.root", **columns)
    code, _, told = importing("files", "import", path, "--level", "ntuple")
    if isinstance(said, int):
        assert code == Exit.FINE
        assert [row["events"] for row in importing.show()] == [said]
    else:
        assert code == Exit.FINDINGS
        assert said in told
        assert importing.show() == []


def test_what_a_list_states_of_a_file_that_is_read_is_held_against_it(importing):
    path = str(importing.write("in/a.root"))
    for stated, said in (
        ({"events": 99, "experiment": 12}, "it holds 100 events, and is said to hold 99"),
        ({"size": 3}, "and is said to have 3"),
        ({"experiment": 12, "run": 2}, "its events are of run 12:1, it is said to be of 12:2"),
        ({"size": 0}, "it has 0 bytes"),
        ({"experiment": 12345, "run": 1, "events": 1}, "12345"),
    ):
        code, _, told = importing(
            "files", "import", importing.list([{"path": path, **stated}]), "--level", "ntuple"
        )
        assert code == Exit.FINDINGS, stated
        assert said in told


def test_a_folder_behind_a_link_is_read_once(importing):
    importing.write("data/a.root")
    (importing.root / "in").mkdir()
    (importing.root / "in/sub00").symlink_to(importing.root / "data")
    (importing.root / "in/sub01").symlink_to(importing.root / "data")
    (importing.root / "in/loop").symlink_to(importing.root / "in")
    assert importing("files", "import", importing.root / "in", "--level", "mdst")[0] == Exit.FINE
    assert len(importing.show()) == 1


@pytest.fixture
def sroot(shared_data):
    return (shared_data / "belle2" / "sroot" / "seqroot_input.sroot").read_bytes()


def test_raw_data_in_the_format_of_the_daq_are_found_in_folders(importing, sroot):
    (importing.root / "in").mkdir()
    (importing.root / "in/a.sroot").write_bytes(sroot)
    other = bytearray(sroot)
    struct.pack_into("<q", other, 16, 7)  # the time in microseconds of its first record
    (importing.root / "in/a.sroot-1").write_bytes(bytes(other))
    struct.pack_into("<q", other, 16, 8)
    (importing.root / "in/b.sroot.gz").write_bytes(gzip.compress(bytes(other)))
    (importing.root / "in/notes.txt").write_text("of the shift")
    assert importing("files", "import", importing.root / "in", "--level", "raw")[0] == Exit.FINE
    found = {
        (row["name"], row["level"], row["experiment"], row["run"], row["events"]) for row in importing.show()
    }
    assert found == {(name, "sroot", 0, 1, 27) for name in ("a.sroot", "a.sroot-1", "b.sroot.gz")}
    code, _, told = importing("files", "import", importing.root / "in/a.sroot", "--level", "mdst")
    assert (code, "of level `sroot`, not `mdst`" in told) == (Exit.FINDINGS, True)


@pytest.mark.parametrize("stated", [False, True], ids=["read", "a list states all"])
def test_a_cut_file_of_the_daq_is_refused_whatever_a_list_states(importing, sroot, shared_data, stated):
    records = json.loads((shared_data / "belle2" / "sroot" / "seqroot_input.events.json").read_text())[
        "records"
    ]
    for number, (name, content, said) in enumerate(damage(sroot, records).values()):
        path = importing.root / f"in/{number}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        row = {"path": str(path), "experiment": 0, "run": 1, "events": 27, "size": len(content)}
        row["checksum"] = f"sha256:{number:064x}"
        source = importing.list([row]) if stated else path
        code, _, told = importing("files", "import", source, "--level", "sroot")
        assert code == Exit.FINDINGS, name
        assert (said if content else "0 bytes") in told
    gone = {**row, "path": str(importing.root / "nosuch.sroot"), "size": 5}
    code, _, told = importing("files", "import", importing.list([gone]), "--level", "sroot")
    assert (code, "No such file" in told) == (Exit.FINDINGS, True)
    assert importing.show() == []


def test_a_file_that_was_cut_at_a_record_is_told_by_its_number_of_events(importing, sroot, shared_data):
    records = json.loads((shared_data / "belle2" / "sroot" / "seqroot_input.events.json").read_text())[
        "records"
    ]
    path = importing.root / "a.sroot"
    path.write_bytes(sroot[: records[20]["offset"]])
    row = {"path": str(path), "experiment": 0, "run": 1, "events": 27}
    code, _, told = importing("files", "import", importing.list([row]), "--level", "sroot")
    assert (code, "it holds 19 events, and is said to hold 27" in told) == (Exit.FINDINGS, True)


def test_registered_files_are_verified_on_disk(importing, sroot, shared_data):
    (importing.root / "in").mkdir()
    path = importing.root / "in/a.sroot"
    path.write_bytes(sroot)
    other = importing.write("in/b.root")
    assert importing("files", "import", path, "--level", "sroot")[0] == Exit.FINE
    assert importing("files", "import", other, "--level", "mdst")[0] == Exit.FINE
    code, out, _ = importing("files", "verify", "--json", "--processes", "1")
    assert (code, json.loads(out)) == (Exit.FINE, {"files": 2, "troubles": []})
    path.write_bytes(sroot[:-1])
    code, out, _ = importing("files", "verify", "0:1", "--processes", "1")
    assert (code, "changed: " in out) == (Exit.FINDINGS, True)
    path.unlink()
    code, out, _ = importing("files", "verify", "--level", "sroot", "--processes", "1")
    assert (code, f"gone: {path} is gone" in out) == (Exit.FINDINGS, True)


def test_how_hlt_results_are_stored_is_told(importing, shared_data):
    old = shared_data / "belle2" / "mdst-2019" / "mdst-v02-01-00.root"
    new = shared_data / "belle2" / "mdst" / "mdst.root"
    code, _, told = importing("files", "import", old, new, "--level", "mdst")
    assert code == Exit.FINE
    assert "HLT results of 97 lines, after and before the prescale: in 1 file" in told
    assert "after the prescale only: in 1 file" in told


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Skimmed(tmp_path_factory.mktemp("removed"))


@pytest.mark.slow
def test_units_of_a_removed_file_are_made_again_with_its_reason(made, capsys):
    """Run 2's file is replaced by another one, run 3's goes without any."""
    made.restore()
    old = made.root / "in/mdst.2.root"
    with uproot.open(old) as file:
        columns = {key: values[:40] for key, values in file["events"].arrays(library="np").items()}
    (made.root / "better").mkdir(exist_ok=True)
    with uproot.recreate(made.root / "better/mdst.2a.root") as file:
        file.mktree("events", {key: column.dtype for key, column in columns.items()}).extend(columns)
    assert made.b2prod("files", "import", made.root / "better", "--level", "mdst") == Exit.FINE
    assert made.b2prod("files", "remove", old, "mdst.3.root", "--reason", "wrong field map") == Exit.FINE
    capsys.readouterr()
    assert made.b2prod("plan") == Exit.FINE
    told = capsys.readouterr().out
    assert "input files changed; removed: wrong field map" in told
    assert "no mdst is registered; removed: wrong field map" in told
    assert made.b2prod("explain", "seven/skims/7:2") == Exit.FINE
    assert "removed: wrong field map" in capsys.readouterr().out
    assert made.b2prod("reconcile", "--once") == Exit.FINE
    assert made.b2prod("explain", "seven/skims/7:2", "--json") == Exit.FINE
    (unit,) = json.loads(capsys.readouterr().out)
    assert [item["events_read"] for item in unit["history"]] == [100, 40]
    assert made.b2prod("files", "import", made.root / "in/mdst.3.root", "--level", "mdst") == Exit.FINE
    capsys.readouterr()
    assert made.b2prod("plan") == Exit.FINE
    assert "done 3 units" in capsys.readouterr().out, "what came back is what was made before"
