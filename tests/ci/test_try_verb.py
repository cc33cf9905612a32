"""`try NAME`: what it shows, how it ends, what it keeps, and that nothing else is written, also for a draft."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from tests.support.worlds.command_world import SignalledWorld
from tests.support.worlds.processes import wait_until
from tests.support.worlds.skim_checkout import FILE, Checkout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A campaign without a lock over three runs of forty events each, and a folder for scratch."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Checkout(tmp_path / "checkout", size=40)


def dump(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def test_a_draft_is_tried_shown_and_leaves_no_trace(checkout, tmp_path, capsys):
    capsys.readouterr()
    before = dump(checkout.root)
    assert checkout.b2prod("try", "seven", "--run", "7:2", "--events", "10") == Exit.FINE
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["skims", "many", "10", "7", "70"] in [row[:5] for row in rows]
    assert ["skims", "3", "3", "120"] in [row[:4] for row in rows]
    assert "all runs: " in shown.out
    assert "seven, run 7:2: the first 10 events, in scratch" in shown.err
    assert dump(checkout.root) == before
    assert os.listdir(tmp_path / "tmp") == []


def test_json_has_what_a_program_needs(checkout, capsys):
    capsys.readouterr()
    assert checkout.b2prod("try", "seven", "--events", "1", "--json") == Exit.FINE
    told = json.loads(capsys.readouterr().out)
    assert (told["campaign"], told["run"], told["most_events"]) == ("seven", "7:1", 1)
    (step,) = told["steps"]
    assert (step["step"], step["jobs"], step["events_read"]) == ("skims", 1, 1)
    assert step["outputs"]["many"]["events"] == 0
    (cost,) = told["all_runs"]
    assert (cost["units"], cost["jobs"], cost["events"]) == (3, 3, 120)
    assert cost["cpu_hours"] > 0
    assert told["failure"] is None


def test_what_jobs_leave_is_kept_if_that_is_wanted(checkout, tmp_path, capsys):
    kept = tmp_path / "kept"
    assert checkout.b2prod("try", "seven", "--events", "3", "--keep", str(kept)) == Exit.FINE
    start, job = sorted(kept.iterdir(), key=lambda folder: -len(folder.name))
    assert start.name == f"{job.name}.start"
    assert {"job.json", "log", "result.json", "many.mdst.1.root"} <= {*os.listdir(job)} | {"many.mdst.1.root"}
    assert json.loads((job / "job.json").read_text())["most_events"] == 3
    assert checkout.b2prod("try", "seven", "--keep", str(kept)) == Exit.USAGE
    assert "is not empty" in capsys.readouterr().err


def test_a_failing_job_shows_the_end_of_its_log_and_the_cause(checkout, tmp_path, capsys):
    checkout.declare("slip")
    capsys.readouterr()
    before = dump(checkout.root)
    assert checkout.b2prod("try", "seven") == Exit.PARTLY
    shown = capsys.readouterr()
    assert "skims failed (permanent): " in shown.err
    assert "has no branch nTrackLE; nearest: nTracksLE" in shown.err
    assert "has no branch nTrackLE" in shown.out, "the log is not shown"
    assert checkout.b2prod("try", "seven", "--json") == Exit.PARTLY
    failure = json.loads(capsys.readouterr().out)["failure"]
    assert (failure["step"], failure["class"]) == ("skims", "permanent")
    assert "nTrackLE" in failure["lines"][-1]
    assert dump(checkout.root) == before
    assert os.listdir(tmp_path / "tmp") == []


ENDS = [
    (["seven", "--run", "7:9"], Exit.USAGE, "seven does not take 7:9: the run catalogue has no such run"),
    (["eight"], Exit.USAGE, "there is no campaign eight; there are: seven"),
    (["seven", "--step", "skim"], Exit.USAGE, "seven has no step skim; it has skims"),
    (["seven", "--run", "x"], Exit.USAGE, "is not a run"),
    (["seven", "--events", "0"], Exit.USAGE, "--events"),
]


@pytest.mark.parametrize(("words", "code", "told"), ENDS, ids=[" ".join(row[0]) for row in ENDS])
def test_wrong_use_says_what_to_write(checkout, words, code, told, capsys):
    assert checkout.b2prod("try", *words) == code
    assert told in capsys.readouterr().err


def test_a_source_that_is_missing_is_told(checkout, capsys):
    for file in (checkout.root / "in").iterdir():
        file.unlink()
    assert checkout.b2prod("try", "seven") == Exit.UNAVAILABLE
    assert "mdst.1.root is not on this machine, nor is that of the next 2 runs" in capsys.readouterr().err


def test_findings_come_first(checkout, capsys):
    checkout.write(FILE, (checkout.root / FILE).read_text().replace('ranges: "1-3"', 'ranges: "5-9"'))
    assert checkout.b2prod("try", "seven") == Exit.FINDINGS
    assert "BP405" in capsys.readouterr().err


def test_a_signal_ends_the_job_and_removes_the_scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    world = SignalledWorld(tmp_path / "world")
    world.behave("hang")
    process = world.start("try", "proc7")
    wait_until(lambda: world.starts, 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "tmp") == []
    assert world.processes() == []
