"""The tool is told beside every decision and every job, and is not part of what is signed; jobs are of the release approved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from ci.cli.exits import Exit
from reconciler.execution.tracking.workspace import judge_release
from reconciler.outside.installation import find_tool
from schemas.manifest.lock import read_lock
from schemas.manifest.tool import Tool
from tests.support.inputs.keys import ORDER
from tests.support.worlds.signable_checkout import SignableCheckout
from tests.support.worlds.worlds import ONE_STEP, World

OTHER = Tool("0.0.9", "a" * 64, "b" * 64, "c" * 40)
COMMIT = "1f489b950d1782c077ff6d0e64f56986ecfec9a8"
LOCK = "productions/campaigns/proc7/campaign.lock"


def test_this_b2prod_knows_what_it_is():
    tool = find_tool()
    assert Tool(**tool.describe()) == tool
    assert {len(tool.code), len(tool.runtime)} == {64}


@pytest.fixture
def signable(tmp_path, circle):
    return SignableCheckout(tmp_path / "checkout", circle)


def read(signable):
    return read_lock(LOCK, (signable.root / LOCK).read_bytes())[0]


def test_a_lock_says_who_wrote_it_and_another_b2prod_writes_it_anew_for_no_other_reason(signable):
    signable.change(("max_units: 100", "max_units: 99"), lock=False)
    assert signable.call("resolve", "proc7") == Exit.FINE
    lock = read(signable)
    assert lock.tool == find_tool()
    signable.write(LOCK, replace(lock, tool=OTHER).text())
    before = (signable.root / LOCK).read_bytes()
    assert signable.call("resolve", "proc7") == Exit.FINE
    assert signable.call("resolve", "--check", "proc7") == Exit.FINE
    assert (signable.root / LOCK).read_bytes() == before


def test_approvals_hold_whoever_wrote_the_lock(signable):
    signable.sign(*ORDER)
    signable.write(LOCK, replace(read(signable), tool=OTHER).text())
    signable.commit("approved")
    assert signable.call("approvals", "proc7") == Exit.FINE
    assert signable.launch() == Exit.FINE


def test_a_review_tells_that_the_tool_or_a_template_is_another_one(signable, capsys):
    signable.write(LOCK, replace(read(signable), tool=OTHER).text())
    base = signable.commit("by another b2prod")
    signable.change(("max_units: 100", "max_units: 99"), lock=False)
    assert signable.call("resolve", "proc7") == Exit.FINE
    head = signable.commit("fewer units")
    capsys.readouterr()
    assert signable.call("review", "--base", base, "--head", head) == Exit.FINE
    said = capsys.readouterr().out
    assert "the lock was written by b2prod" in said
    assert "the one before by b2prod 0.0.9" in said


def test_every_job_has_the_tool_that_made_it_in_its_record(signable, capsys):
    signable.sign(*ORDER)
    signable.commit("approved")
    assert signable.launch() == Exit.FINE
    capsys.readouterr()
    assert signable.call("explain", "--json", "proc7/reco/3:1") == Exit.FINE
    found = json.loads(capsys.readouterr().out)
    origins = [one["origin"] for unit in found for item in unit["history"] for one in item["attempts"]]
    assert origins
    assert all(
        origin == {"tool": find_tool().describe(), "release": "release-03-00-00"} for origin in origins
    )
    assert signable.call("explain", "proc7/reco/3:1") == Exit.FINE
    assert f"by {find_tool()}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "release", "commit", "told"),
    [
        ("chaintest_1.root", "release-03-00-00", None, None),
        (
            "chaintest_1.root",
            "release-03-00-00",
            COMMIT,
            f"the commit {COMMIT}-modified, and {COMMIT} was approved",
        ),
        ("chaintest_1.root", None, "0" * 40, "the commit 1f489b9"),
        ("mdst-v06-00-00.root", "release-06-00-00", COMMIT, None),
        (
            "mdst-v06-00-00.root",
            "release-03-00-00",
            None,
            "release-06-00-00, and release-03-00-00 was approved",
        ),
        ("mdst-v06-00-00.root", "light-2406-ragdoll", None, None),
        ("mdst-v06-00-00.root", None, None, None),
    ],
)
def test_real_files_state_what_wrote_them(shared_data, name, release, commit, told):
    said = judge_release(shared_data / "belle2/mdst" / name, name, release, commit)
    assert (said is None) if told is None else told in said


def test_a_job_of_another_commit_than_the_approved_one_is_not_taken(tmp_path, shared_data):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,))
    world.change(('"1-2"', '"1"'), lock=False)
    file = world.root / "productions/releases.yaml"
    file.write_text(
        file.read_text().replace(
            'release-03-00-00: {date: "2019-01-05"',
            f'release-03-00-00: {{commit: "{"0" * 40}", date: "2019-01-05"',
        )
    )
    world.lock()
    shutil.copyfile(shared_data / "belle2/mdst/chaintest_1.root", world.root / "events/1.root")
    world.behave("counts 12 1 12")
    outcome = world.reconcile()
    assert not world.produced()
    assert [step for step, _, reason in world.quarantined() if "was approved" in reason] == ["reco"], outcome
