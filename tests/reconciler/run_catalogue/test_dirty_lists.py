"""Lists as people and databases export them, through the command line: each row is taken or refused with its reason."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import State, reading
from tests.support.worlds import worlds


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "productions").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bring(place, content, *options, verb=("runs", "import"), name="list.txt"):
    """Imports a list of this content: the exit code."""
    (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return run([*verb, name, *options])


def catalogued(place, *columns):
    with reading(state(place)) as connection:
        chosen = [tables.runs.c[name] for name in ("experiment", "run", *columns)]
        return [tuple(row) for row in connection.execute(select(*chosen).order_by(*chosen[:2]))]


def state(place):
    return State(place / ".b2prod", worlds.SERVER)


def quarantined(capsys):
    capsys.readouterr()
    assert run(["runs", "quarantine", "--json"]) == Exit.FINE
    return {row["line"]: (row["reason"], row["text"]) for row in json.loads(capsys.readouterr().out)}


def test_an_empty_cell_between_tabs_is_not_known_and_moves_no_other(place):
    table = "experiment\trun\ttype\tevents\tfiles\tremark\n12\t3\tphysics\t488\t1\tok\n12\t4\tphysics\t\t2\t1 restart\n"
    assert bring(place, table) == Exit.FINE
    assert catalogued(place, "type", "events", "files") == [
        (12, 3, "physics", 488, 1),
        (12, 4, "physics", None, 2),
    ]


def test_a_quoted_cell_may_hold_what_looks_like_rows(place, capsys):
    assert bring(place, "experiment,run,type,remark\n12,6,physics,good\n") == Exit.FINE
    table = (
        'experiment,run,type,remark\n12,5,physics,"see the log:\n12,6,cosmic,HV off\nend"\n12,6,physics,good\n'
        '12,8,physics,"copied from\n12,9,physics,ok\nof the elog"\n'
    )
    assert bring(place, table) == Exit.FINE
    assert catalogued(place, "type") == [(12, 5, "physics"), (12, 6, "physics"), (12, 8, "physics")]
    assert quarantined(capsys) == {}


EXPORT = """\
"Experiment";"Run";"run_type";"n_events";"time_start";"time_stop";"beam_energy";"quality";"n_files";"Shifter; remark"
10;1;physics;102000;2019-11-05T10:00:00+0900;2019-11-05T11:00:00+0900;4S;good;12;""
10;2;physics;-99;2019-11-05 11:05:00+09:00;2019-11-05 11:50:00+09:00;4S;good;8;"events not counted"
10;3;"physics (B = 0; solenoid off)";5500;2019-11-05T12:00+0900;2019-11-05T12:20+0900;4S;bad;1;"magnet trip:
10;4;physics;1;;;4S;good;1;copied from the elog
see ""Solenoid"", page 3"
10;5;cosmic;816.0;2019-11-05T13:00:00Z;;No Beam;;2;"missing stop"
10;6;physics;7000;5 Nov, before lunch;2019-11-05T14:00:00Z;4S;good;1;"free text"
10;7;physics;7000;2019-11-05T14:00:00Z;2019-11-05T15:00:00Z;4S;good;1
10;8;physics;7000;2019-11-05T14:00:00Z;2019-11-05T15:00:00Z;4S;good;1;"HV ramp";"a second remark"
8;2001;physics;300;2019-06-30T00:00:00Z;2019-06-30T01:00:00Z;4S;good;1;"of the summer"
10;9;physics;-1;;;;;;
10;10;physics;1_000;;;;;;
10;11;physics;７７;;;;;;
10;12;physics;10;2019-11-06T00:00:00Z;2019-11-05T00:00:00Z;;;;"stops before it starts"
10;13;physics;10;;;10.58 GeV;;;
10;14;physics;10;;;;so so;;

;;;;;;;;;
10;12345678901;physics;10;;;;;;
ten;15;physics;10;;;;;;
10;16;physics;10;;;;good;-99;
10;17;null;0;;;;;;"
"
10;1;physics;102001;2019-11-05T10:00:00+0900;2019-11-05T11:00:00+0900;4S;good;12;"counted again"
10;18;beam;12;;;4s_offres;Recoverable;1;"last"
"""

REFUSED = {
    3: "events '-99' is not a count; leave it empty where it is not known",
    4: "run type 'physics (B = 0; solenoid off)' is none of physics, beam",
    8: "start '5 Nov, before lunch' is not a time",
    9: "9 cells instead of 10",
    10: "11 cells instead of 10",
    12: "events '-1' is not a count",
    13: "events '1_000' is not a count",
    14: "events '７７' is not a count",
    15: "it stops (2019-11-05T00:00:00Z) before it starts (2019-11-06T00:00:00Z)",
    16: "beam energy '10.58 GeV' is none of",
    17: "quality 'so so' is none of",
    20: "run '12345678901' is beyond 99999999",
    21: "experiment 'ten' is not a count",
    22: "files '-99' is not a count",
    25: "run 10:1 was listed before, differently",
}


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=repr)
def test_the_export_of_experiment_10_comes_in_row_by_row(place, capsys, ending):
    content = b"\xef\xbb\xbf" + EXPORT.replace("\n", ending).encode()
    assert bring(place, content, name="exp10.csv") == Exit.FINDINGS
    assert "exp10.csv: line 3 refused: events '-99' is not a count" in capsys.readouterr().err
    at = "2019-11-05T01:00:00Z", "2019-11-05T02:00:00Z"
    assert catalogued(place, "type", "events", "start", "stop", "energy", "quality", "files") == [
        (8, 2001, "physics", 300, "2019-06-30T00:00:00Z", "2019-06-30T01:00:00Z", "4S", "good", 1),
        (10, 1, "physics", 102000, *at, "4S", "good", 12),
        (10, 5, "cosmic", 816, "2019-11-05T13:00:00Z", None, "No Beam", None, 2),
        (10, 17, "null", 0, None, None, None, None, None),
        (10, 18, "beam", 12, None, None, "4S_offres", "recoverable", 1),
    ]
    kept = quarantined(capsys)
    assert kept.keys() == REFUSED.keys()
    assert {line: reason for line, (reason, _) in kept.items() if not reason.startswith(REFUSED[line])} == {}
    assert kept[4][1] == ending.join(EXPORT.split("\n")[3:6])
    # as a list of experiment 10 alone, the run of another is told apart
    assert bring(place, content, "--experiment", "10", "--as", "alone") == Exit.FINDINGS
    assert "the run is of experiment 8, the list was said to be of 10" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["runs", "files", "lumi"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("experiment,run,path\n3,1,a\n".encode("utf-16"), "it is UTF-16; `iconv -f UTF-16 -t UTF-8 FILE`"),
        ("experiment,run,path\n3,1,a\n".encode("utf-16-le"), "it is UTF-16; `iconv"),
        ("experiment,run,path\n3,1,a\n".encode("utf-32"), "it is UTF-32; `iconv"),
        ("experiment,run,path\n3,1,Größe\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xf6)"),
        (b"experiment,run,path\n3,1,a\0b" + b"c" * 900, "NUL in line 2"),
        (b'experiment,run,path\n3,1,"a\n3,2,b\n3,3,c\n', "the quote that opens in line 2, column 5, is not closed"),
        (b"experiment,run,path,Run\n3,1,a,2\n", "two columns `run`"),
        (b"", "list"),
    ],
    ids=["utf-16", "utf-16 without mark", "utf-32", "latin-1", "nul", "quote", "twice", "empty"],
)  # fmt: skip
def test_a_list_that_cannot_be_read_to_its_end_changes_nothing_and_says_why(
    place, capsys, verb, content, says
):
    options = {
        "runs": (),
        "files": ("--level", "raw"),
        "lumi": ("--method", "m", "--version", "v", "--unit", "nb"),
    }
    assert bring(place, content, *options[verb], verb=(verb, "import")) == Exit.UNAVAILABLE
    said = capsys.readouterr().err
    assert says in said
    assert "nothing was changed" in said


def test_the_separator_may_be_said(place):
    text = "experiment run;type;events\n3;physics;5\n"
    assert (
        bring(place, text, "--separator", "semicolon", "--experiment", "3", "--mapping", "run=experiment run")
        == 0
    )
    assert catalogued(place, "type", "events") == [(3, 3, "physics", 5)]
    assert bring(place, text, "--separator", "colon") == Exit.USAGE
    assert bring(place, text, "--experiment", "-3") == Exit.USAGE
    lumi = ("--method", "m", "--version", "v", "--unit", "nb", "--separator", "bar")
    assert bring(place, "exp|run|lumi\n3|3|5.5\n", *lumi, verb=("lumi", "import")) == Exit.FINE


def test_a_mapped_column_is_the_only_one_and_must_be_there(place, capsys):
    text = "experiment,run,RunNumber,events\n3,1,529,7\n"
    assert bring(place, text, "--mapping", "run=RunNumber") == Exit.FINE
    assert catalogued(place, "events") == [(3, 529, 7)]
    assert bring(place, text, "--mapping", "events=NEvents") == Exit.UNAVAILABLE
    assert "no column `nevents`" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["3;529", "3\t529", "3 529", '"3","529"', "3,529, # of the elog", "3 | 529"])
def test_plain_lines_have_any_separator(place, line):
    assert bring(place, f"{line}\r\n") == Exit.FINE
    assert catalogued(place) == [(3, 529)]


def registered(place):
    with reading(state(place)) as connection:
        columns = ("experiment", "run", "level", "name", "size", "checksum", "events", "storage")
        query = select(*(tables.files.c[name] for name in columns)).order_by(tables.files.c.name)
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.usefixtures("database")
def test_a_list_of_files_is_read_row_by_row(place, capsys):
    rows = [
        "Path;experiment;run;size;checksum;events;storage;level;remark",
        "a/1.root;3;1;7;adler32:A1B2C3D;5;TAPE;;",
        '"a/2;x.root";3;1;8.0;md5:' + "D4" * 16 + ';;disk;mdst;"of\nthe ""elog"""',
        "a/3.root;3;1;7;adler32:12;5;;;",
        "a/4.root;3;1;-7;adler32:0a1b2c3d;5;;;",
        "a/5.root;3;1;7;adler32:0a1b2c3d;5;attic;;",
        "a/6.root;3;1;7;adler32:0a1b2c3d;5;;;;",
        "a/7.root;3;1;7;adler32:0a1b2c3d;1_0;;;",
        " a/8.root;3;1;7;adler32:0a1b2c3d;5;;;",
        ";3;1;7;adler32:0a1b2c3d;5;;;",
        "a/9.root;10000;1;7;adler32:0a1b2c3d;5;;;",
        "a/10.root;3;1;7;0a1b2c3d;5;;;",
        "a/11.root;3;1;7;adler32:0a1b2c3d;5;;reco;",
        "#12.root;3;2;7;sha256:" + "0F" * 32 + ";5;;;",
    ]
    assert (
        bring(place, "\n".join(rows), "--level", "raw", verb=("files", "import"), name="f.csv")
        == Exit.FINDINGS
    )
    said = capsys.readouterr().err
    assert "files: 3 new, 0 changed, 0 unchanged, 10 refused" in said
    assert "files f.csv: line 5 refused: checksum 'adler32:12' has 2 digits; adler32 has 8" in said
    assert registered(place) == [
        (3, 2, "raw", "#12.root", 7, "sha256:" + "0f" * 32, 5, "disk"),
        (3, 1, "raw", "1.root", 7, "adler32:0a1b2c3d", 5, "tape"),
        (3, 1, "mdst", "2;x.root", 8, "md5:" + "d4" * 16, None, "disk"),
    ]
    kept = quarantined(capsys)
    assert list(kept) == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert kept[8] == ("10 cells instead of 9", rows[6])
    assert [kept[line][0] for line in (10, 11, 14)] == [
        "path ' a/8.root' has a blank at one of its ends",
        "path is missing",
        "level 'reco' is none of sroot, raw, cdst, mdst, dst, udst, ntuple",
    ]
    mended = [*rows[:3], rows[-1]]
    assert (
        bring(place, "\n".join(mended), "--level", "raw", verb=("files", "import"), name="f.csv") == Exit.FINE
    )
    assert quarantined(capsys) == {}
