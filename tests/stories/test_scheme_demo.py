"""The second part of the demo keeps its promises: what is made and what is not, the verdicts, the signatures, and what comes back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.command_line import run

MADE = re.compile(r"^(\d+) units produced, 0 failed(?:, (\d+) not begun)?$", re.MULTILINE)


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """What the demo said, and its scratch clone."""
    folder = tmp_path_factory.mktemp("demo")
    words = [sys.executable, "-m", "ci.demo", "--scheme", "--keep"]
    environment = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "160"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    (clone,) = folder.glob("b2prod-demo-*/b2prod")
    yield told, clone
    shutil.rmtree(clone.parent)


def list_runs(clone: Path, campaign: str) -> list[str]:
    """The folders of versions of cdst that a campaign has, as `r00001/v1`."""
    folders = (clone / f".b2prod/data/{campaign}/reco/e0012").glob("r*/all/cdst/v*")
    return sorted(f"{one.parents[2].name}/{one.name}" for one in folders)


@pytest.mark.slow
def test_a_canary_stops_the_faulty_release_and_the_corrected_one_is_made_after_a_signature(tour):
    told, clone = tour
    turns = [(int(made), int(left or 0)) for made, left in MADE.findall(told)]
    assert turns == [(48, 0), (8, 16), (0, 16), (8, 16), (0, 16), (16, 0), (3, 0)]
    first = [f"r{run:05d}/v1" for run in range(1, 13)]
    canary = [f"r{run:05d}/v2" for run in (1, 4, 8, 12)]
    assert list_runs(clone, "toy1") == list_runs(clone, "toy2") == first
    assert list_runs(clone, "toy3") == sorted(first + canary)
    assert list_runs(clone, "toy4") == first[:3]


@pytest.mark.slow
def test_the_verdicts_are_pass_fail_and_warn_for_the_number_of_tracks(tour):
    told, _ = tour
    passed, failed = (
        told.index("toy2/reco/cdst against toy1/reco/cdst: pass"),
        told.index("canary of 4 runs failed"),
    )
    warned = told.index("canary of 4 runs warns and waits for a signature of validation")
    assert passed < failed < warned
    lines = [line.split() for line in told.splitlines() if line.split()[:1] in (["tracks"], ["energy"])]
    # where a table goes on below, its verdicts are not told again
    assert [(words[0], word) for words in lines for word in words if word in ("pass", "warn", "fail")] == [
        ("energy", "pass"),
        ("tracks", "pass"),
        ("tracks", "fail"),
        ("energy", "pass"),
    ]


@pytest.mark.slow
def test_what_was_signed_counts(tour, capsys):
    _, clone = tour
    for words in (["--canary", "toy3"], ["--gate", "toy/calibrate"]):
        assert run(["--root", str(clone), "approvals", *words]) == Exit.FINE
    shown = capsys.readouterr().out
    assert "validation  ok  validation-manager@example.org" in shown
    assert "calibration  ok  calibration-manager@example.org" in shown


@pytest.mark.slow
def test_calibration_goes_round_and_the_next_iteration_is_drafted(tour, capsys):
    told, clone = tour
    inputs = json.loads((clone / "handover/input_data.json").read_text())["all_events"]
    assert [place for _, place in inputs] == [[12, number] for number in range(1, 13)]
    assert {Path(folder).name for folder, (_, number) in inputs if number in (1, 4, 8, 12)} == {"v2"}
    assert json.loads((clone / "handover/caf_config.json").read_text())["requested_iov"] == [12, 1, 12, 12]
    assert {one.name for one in (clone / "testing/toy-calibrate-1").iterdir()} == {
        "database.txt",
        "dbstore_CDCTimeZeros_rev_1.root",
    }
    assert "gate calibrate, iteration 1: toy3/reco/cdst not handed over" in told
    drafted = (clone / "productions/campaigns/toy3b/campaign.yaml").read_text()
    assert {"state: held", "supersedes: [toy3]", "  - {name: toy_final, mode: snapshot}"} <= {
        *drafted.splitlines()
    }
    capsys.readouterr()
    assert run(["--root", str(clone), "scheme", "show", "toy", "--json"]) == Exit.FINE
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["passed", "passed", "passed"]
    assert run(["--root", str(clone), "check"]) == Exit.FINE


@pytest.mark.slow
def test_nothing_in_it_looks_like_an_accident(tour):
    told, _ = tour
    assert "\x1b" not in told
    assert not re.search(r"(?i)traceback|a defect|warning", told)
