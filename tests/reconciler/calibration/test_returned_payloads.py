"""What is read of a folder that a calibration gives back, and what is said of one that is not as it should be."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from reconciler.calibration import returned_payloads
from reconciler.calibration.returned_payloads import read_returned
from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.local_database import settle_overlaps
from schemas.manifest.runs import run_key
from tests.support.inputs.caf_results import name_revision, write_results

WANTED = ("CDCTimeZeros", "CDCXtRelation")
RUNS = [run_key(3, run) for run in (529, 530, 613)]
RELEASE = "release-06-00-00"
TIMES, RELATION = ("CDCTimeZeros", b"times", "3,529,-1,-1"), ("CDCXtRelation", b"relation", "3,529,-1,-1")


def read(folder, wanted=WANTED, runs=RUNS, release=RELEASE):
    return read_returned(folder, wanted, runs, release)


def tell(found):
    return [str(finding) for finding in found.findings]


def test_several_calibrations_become_one_local_snapshot(tmp_path):
    found = read(write_results(tmp_path, CDCT0=[TIMES], CDCXT=[RELATION]))
    assert (found.findings, found.notes) == ((), ())
    snapshot = found.freeze("proc8-calibrate-1")
    assert snapshot.state == "LOCAL"
    assert [str(iov).split()[0] for iov in snapshot.iovs] == [*WANTED]
    assert all(iov.checksum.startswith(iov.revision) for iov in snapshot.iovs)


def test_the_folder_of_the_results_itself_is_taken_too(tmp_path):
    write_results(tmp_path, CDC=[TIMES, RELATION])
    inner, outer = read(tmp_path / "caf_outputdb_results"), read(tmp_path)
    assert inner == outer
    assert not inner.findings


def test_all_that_is_wrong_is_said_at_once_each_at_its_line(tmp_path):
    """A missing and an unexpected name, a bad line, a file that is gone, another md5, an IoV that leaves runs out."""
    write_results(
        tmp_path, CDC=[("CDCTimeZeros", b"times", "3,600,-1,-1"), ("CDCTimeZero", b"slip", "0,0,-1,-1")]
    )
    cdc = tmp_path / "caf_outputdb_results/CDC"
    (cdc / "database.txt").write_text(
        (cdc / "database.txt").read_text()
        + "dbstore/CDCTimeZeros 7 3,9,3,1\nCDCTimeZeros 1 0,0,-1,-1\ndbstore/CDCTimeZeros abc123 3,700,-1,-1\n"
    )
    shutil.copy(cdc / f"dbstore_CDCTimeZeros_rev_{name_revision(b'times')}.root", cdc / "other")
    (cdc / "other").rename(cdc / "dbstore_CDCTimeZeros_rev_abc123.root")
    (cdc / f"dbstore_CDCTimeZero_rev_{name_revision(b'slip')}.root").unlink()
    found = tell(read(tmp_path))
    file = str(cdc / "database.txt")
    assert [line.removeprefix(file).split(" ", 2)[:2] for line in found if line.startswith(file)] == [
        [":1:1:", "BP503"],
        [":2:1:", "BP514"],
        [":2:1:", "BP526"],
        [":3:1:", "BP526"],
        [":4:1:", "BP526"],
        [":5:1:", "BP514"],
    ]
    text = "\n".join(found)
    for part in (
        "CDCXtRelation was asked for and is not returned",
        "CDCTimeZero was not asked for",
        "CDCTimeZeros has no IoV for 3:529-530",
        "which does not begin with abc123",
        "ends before it begins",
    ):
        assert part in text


def test_an_end_and_a_beginning_that_are_unusual_are_told_and_accepted(tmp_path):
    times, relation = ("CDCTimeZeros", b"t", "3,529,3,613"), ("CDCXtRelation", b"r", "0,0,-1,-1")
    found = read(write_results(tmp_path, CDC=[times, relation]))
    assert not found.findings
    assert found.notes == (
        "CDCTimeZeros ends: exp 3, runs 529 - 613; runs after that get the payload of the global tag",
        "CDCXtRelation begins before the first run that was handed over: always",
    )


@pytest.mark.parametrize(
    ("release", "used"), [("release-06-00-00", b"second"), ("release-08-01-00", b"second")]
)
def test_of_overlapping_lines_the_last_one_counts(tmp_path, release, used):
    lines = [("CDCTimeZeros", b"first", "3,0,-1,-1"), ("CDCTimeZeros", b"second", "3,500,-1,-1")]
    found = read(write_results(tmp_path, CDC=lines), ("CDCTimeZeros",), release=release)
    assert not found.findings
    settled = settle_overlaps(found.freeze("x"), release).iovs
    assert [(iov.revision, iov.first) for iov in settled] == [
        (name_revision(b"first"), run_key(3, 0)),
        (name_revision(used), run_key(3, 500)),
    ]


def test_a_release_that_reads_no_hashes_is_told(tmp_path):
    found = read(write_results(tmp_path, CDC=[TIMES, RELATION]), release="release-03-00-00")
    assert [(finding.code, finding.place.line) for finding in found.findings] == [("BP518", 1), ("BP518", 2)]
    assert "gt pull" not in found.findings[0].hint


def test_two_calibrations_must_not_return_one_payload_for_the_same_runs(tmp_path):
    late = ("CDCTimeZeros", b"late", "3,600,-1,-1")
    found = read(write_results(tmp_path / "a", One=[TIMES], Two=[late]), ("CDCTimeZeros",))
    assert [finding.code for finding in found.findings] == ["BP526"]
    assert "also returned by One" in tell(found)[0]
    early = ("CDCTimeZeros", b"early", "3,529,3,599")
    assert not read(write_results(tmp_path / "b", One=[early], Two=[late]), ("CDCTimeZeros",)).findings
    assert not read(write_results(tmp_path / "c", One=[TIMES], Two=[TIMES]), ("CDCTimeZeros",)).findings


def test_a_line_that_stands_twice_counts_once(tmp_path):
    found = read(write_results(tmp_path, CDC=[TIMES, TIMES, RELATION]))
    assert not found.findings
    assert len(found.freeze("x").iovs) == 2


def test_real_local_databases_are_read(shared_data, tmp_path):
    """basf2's own files; the files of their payloads are made up, so that their md5 sums do not agree with the hashes."""
    for name, file in (("TRG", "database.txt"), ("MVA", "mva_localdb_database.txt")):
        here = tmp_path / "caf_outputdb_results" / name
        here.mkdir(parents=True)
        text = (shared_data / "belle2/conditions" / file).read_text()
        (here / "database.txt").write_text(text)
        for line in text.splitlines():
            payload, revision = line.split()[0].removeprefix("dbstore/"), line.split()[1]
            (here / f"dbstore_{payload}_rev_{revision}.root").write_bytes(b"root")
    names = ("TRGECLFAMParas", "TRGECLTMMParas", "TRGECLETMParas", "TRGECLBadRuns")
    hashed = ("XGBoost_ADCFilter_in_CDC", "trackfindingcdc_XGBoost_ADCFilter_in_CDC")
    found = read(tmp_path, (*names, *hashed), [run_key(26, 7)])
    assert {finding.code for finding in found.findings} == {"BP514"}
    assert [finding.place.line for finding in found.findings] == [1, 2]  # one for each file
    assert len(found.payloads) == 9


# ── attacks ──


def test_links_pipes_and_folders_are_not_read(tmp_path):
    write_results(tmp_path, CDC=[TIMES, RELATION])
    top = tmp_path / "caf_outputdb_results"
    secret = tmp_path / "secret"
    secret.write_bytes(b"times")
    file = top / f"CDC/dbstore_CDCTimeZeros_rev_{name_revision(b'times')}.root"
    file.unlink()
    file.symlink_to(secret)
    pipe = top / f"CDC/dbstore_CDCXtRelation_rev_{name_revision(b'relation')}.root"
    pipe.unlink()
    os.mkfifo(pipe)
    (top / "Linked").symlink_to(top / "CDC")
    (top / "Piped").mkdir()
    os.mkfifo(top / "Piped/database.txt")
    (top / "Folder/database.txt").mkdir(parents=True)
    found = read(tmp_path)
    assert [finding.code for finding in found.findings] == ["BP514", "BP514", "BP526", "BP526", "BP526"]
    assert all(not one.iov.checksum for one in found.payloads)


@pytest.mark.parametrize(
    "line",
    [
        "dbstore/../../../etc/passwd 1 0,0,-1,-1",
        "dbstore/.. 1 0,0,-1,-1",
        "dbstore/CDC\u202eTimeZeros 1 0,0,-1,-1",
        "dbstore/CDCTimeZeros ../../secret 0,0,-1,-1",
        "dbstore/CDCTimeZeros 1 0,0,-1,99999999999999999999",
        "dbstore/CDCTimeZeros 1 0,0",
        "dbstore/CDCTimeZeros 1 0,0,-1,-1 0,0,-1,-1",
        "\x1b[2J",
    ],
)
def test_a_line_leads_to_no_other_file(tmp_path, line):
    here = tmp_path / "caf_outputdb_results/CDC"
    here.mkdir(parents=True)
    (here / "database.txt").write_text(f"{line}\n")
    (tmp_path / "secret.root").write_bytes(b"x")
    found = read(tmp_path, ())
    assert found.findings
    assert not any(one.iov.checksum for one in found.payloads)
    assert all(str(tmp_path) in finding.place.file for finding in found.findings)


@pytest.mark.parametrize("content", [b"\xff\xfe\0\0", b"\0" * 100, os.urandom(4096), b"", b"# nothing\n"])
def test_garbage_is_one_finding_or_some_and_never_an_error(tmp_path, content):
    here = tmp_path / "caf_outputdb_results/CDC"
    here.mkdir(parents=True)
    (here / "database.txt").write_bytes(content)
    assert read(tmp_path).findings


def test_huge_files_are_refused_without_being_read(tmp_path, monkeypatch):
    write_results(tmp_path, CDC=[TIMES, RELATION])
    cdc = tmp_path / "caf_outputdb_results/CDC"
    with (cdc / f"dbstore_CDCTimeZeros_rev_{name_revision(b'times')}.root").open("r+b") as stream:
        stream.truncate(returned_payloads.LARGEST_PAYLOAD + 1)
    begun = time.monotonic()
    found = read(tmp_path)
    assert time.monotonic() - begun < 5
    assert [(finding.code, finding.place.line) for finding in found.findings] == [("BP514", 1)]
    monkeypatch.setattr(returned_payloads, "LARGEST_TEXT", 10)
    assert "larger than 10 bytes" in "".join(tell(read(tmp_path)))


def test_many_wrong_lines_are_counted_and_not_listed(tmp_path):
    here = tmp_path / "caf_outputdb_results/CDC"
    here.mkdir(parents=True)
    (here / "database.txt").write_text("nonsense\n" * 100_000)
    assert len(read(tmp_path).findings) < 110


def test_a_folder_that_is_not_there_is_no_empty_return(tmp_path):
    with pytest.raises(SourceUnavailable):
        read(tmp_path / "nowhere")
    assert [finding.code for finding in read(tmp_path).findings] == ["BP526"]
