"""What a step reads by name is looked up in its input before there are jobs: at `resolve`, and before the first jobs."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from ci.cli.exits import Exit
from reconciler.planning import input_check
from reconciler.planning.input_check import Needs, look_into
from tests.support.worlds.skim_checkout import FILE, Checkout, write_events


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def resolve(checkout, capsys, *options):
    """Exit code of `resolve`, and what it says."""
    code = checkout.b2prod("resolve", "seven", *options)
    told = capsys.readouterr()
    return code, told.out + told.err


def lock(checkout):
    return (checkout.root / "productions/campaigns/seven/campaign.lock").exists()


def test_what_is_there_is_looked_up_and_said(checkout, capsys):
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINE
    assert f"seven: what skims reads was looked up in {checkout.root}/in/mdst.1.root" in told
    assert lock(checkout)


def test_a_branch_that_is_not_there_is_one_finding_that_says_what_is(checkout, capsys):
    checkout.declare("many", "slip", "other")
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINDINGS
    assert told.count("BP408") == 1
    assert f"{FILE}:12:5: BP408" in told
    assert "mdst.1.root: tree `events` has no branch nTrackLE; nearest: nTracksLE" in told
    assert "no branch EC1CMSLE; it holds experiment, run, event, nTracksLE" in told
    assert not lock(checkout)
    checkout.declare("many")
    assert resolve(checkout, capsys)[0] == Exit.FINE


def test_a_tree_that_is_not_there_is_a_finding(checkout, capsys):
    checkout.declare("many", more="\n    parameters: {tree: event}")
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINDINGS
    assert "mdst.1.root has no tree `event`; it holds events" in told


def test_a_pattern_that_names_no_branch_is_a_finding(checkout, capsys):
    checkout.declare("many", more='\n    keep: ["nTracks*", "trk_*"]')
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINDINGS
    assert "mdst.1.root: tree `events` has no branch that `keep: trk_*` names; it holds" in told
    assert "keep: nTracks*" not in told


def test_a_file_without_hlt_results_is_a_finding(checkout, capsys):
    checkout.declare("line_hadron", "line_slip")
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINDINGS
    assert told.count("the file holds no HLT result") == 1


def test_lines_are_looked_up_in_a_real_file(shared_data):
    file = shared_data / "belle2" / "mdst" / "mdst.root"
    line = "software_trigger_cut&skim&accept_hadron"
    wanted = Needs("tree", (), ((line, "final"), (line, "before_prescale")))
    there = [("mdst.root", str(file))], []
    looked = look_into({"a": (wanted, there)})["a"]
    assert (looked.path, looked.lacking) == (str(file), ())
    slip = wanted._replace(lines=((line, "final"), (f"{line[:-1]}m", "final"), ("no&such&line", "final")))
    lacking = look_into({"a": (slip, there)})["a"].lacking
    assert lacking[0].startswith(f"mdst.root has no HLT line `{line[:-1]}m`; nearest: {line}")
    assert lacking[1].startswith("mdst.root has no HLT line `no&such&line`")
    assert len(lacking) == 2


def remove(checkout):
    shutil.rmtree(checkout.root / "in")


def cut_short(checkout):
    for file in (checkout.root / "in").iterdir():
        os.truncate(file, 200)


def tape(checkout):
    rows = [
        {"path": f"in/mdst.{n}.root", "experiment": 7, "run": n, "size": 1, "checksum": f"adler32:0000000{n}"}
        for n in (1, 2, 3)
    ]
    checkout.write("list.json", json.dumps([{**row, "storage": "tape"} for row in rows]))
    assert checkout.b2prod("files", "import", checkout.root / "list.json", "--level", "mdst") == Exit.FINE


@pytest.mark.parametrize("away", [remove, cut_short, tape])
def test_where_no_file_can_be_read_the_lock_is_the_same_and_nothing_is_said(checkout, capsys, away):
    checkout.declare("many")
    assert resolve(checkout, capsys)[0] == Exit.FINE
    away(checkout)
    code, told = resolve(checkout, capsys, "--check")
    assert code == Exit.FINE
    assert "looked up" not in told
    checkout.declare("slip")
    assert resolve(checkout, capsys)[0] == Exit.FINE, "it is for the first job to say"


def test_a_file_that_is_gone_or_without_events_leaves_the_word_to_the_next(checkout, capsys):
    checkout.declare("slip")
    (checkout.root / "in" / "mdst.1.root").unlink()
    write_events(checkout.root / "in" / "mdst.2.root", 2, size=0)
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINDINGS
    assert "mdst.3.root: tree `events` has no branch nTrackLE" in told


@pytest.mark.parametrize("strange", [1, 3])
def test_a_strange_file_at_one_end_is_no_fault_of_the_step(checkout, capsys, strange):
    write_events(checkout.root / "in" / f"mdst.{strange}.root", strange, tree="strange")
    checkout.declare("many", more="\n    parameters: {tree: events}")
    assert resolve(checkout, capsys)[0] == Exit.FINE
    for number in (1, 2, 3):
        write_events(checkout.root / "in" / f"mdst.{number}.root", number, tree="strange")
    assert resolve(checkout, capsys)[0] == Exit.FINDINGS


def test_a_storage_that_hangs_is_not_waited_for(checkout, capsys, monkeypatch):
    monkeypatch.setattr(input_check, "PATIENCE", 0.5)
    file = checkout.root / "in" / "mdst.1.root"
    file.unlink()
    os.mkfifo(file)
    checkout.declare("slip")
    begun = time.monotonic()
    code, _ = resolve(checkout, capsys)
    assert code == Exit.FINE
    assert time.monotonic() - begun < 15
    with file.open("wb"):  # lets the reader go
        pass


def test_of_a_step_behind_another_nothing_is_known_before(checkout, capsys):
    step = "\n  again:\n    application: uproot\n    input: {step: skims, skim: many}\n    skims: [other]"
    checkout.declare("many", more=step)
    code, told = resolve(checkout, capsys)
    assert code == Exit.FINE
    assert "what again reads" not in told
