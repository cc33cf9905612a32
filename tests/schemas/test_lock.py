"""Locks: written, read back, refused when edited."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest.lock import Lock, PinnedTag, read_lock
from schemas.manifest.runs import gather_runs, run_key
from tests.support.worlds.signable_checkout import NOBODY

LOCK = Lock(
    "proc7",
    2,
    runs=gather_runs(run_key(3, number) for number in (*range(529, 540), 620)),
    selection="a" * 64,
    open_runs=('{"experiment":5,"from":1,"max_runs":800}',),
    release="release-03-00-00",
    tags=(PinnedTag("data_reprocessing_proc7", "b" * 64, id=438, state="PUBLISHED"),),
    templates=(("raw_to_mdst/1", "c" * 64),),
    skims=(("hlt_hadron", "d" * 64),),
    storage="data",
    layout="{campaign}",
)


def test_a_lock_is_read_back_as_it_was_written():
    lock, findings = read_lock("campaign.lock", LOCK.text().encode())
    assert not findings
    assert lock == LOCK


@given(
    st.lists(st.builds(run_key, st.integers(0, 9), st.integers(0, 9999)), unique=True, max_size=300).map(
        sorted
    )
)
def test_any_list_of_runs_survives(runs):
    lock, findings = read_lock(
        "campaign.lock", Lock("x", 1, gather_runs(runs), selection="a" * 64).text().encode()
    )
    assert not findings
    assert lock.runs == gather_runs(runs)


def test_the_generation_is_no_part_of_the_digest():
    other, _ = read_lock("campaign.lock", LOCK.text().replace('"generation": 2', '"generation": 3').encode())
    assert other.digest() == LOCK.digest()


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda data: data.pop("site"), "BP605"),
        (lambda data: data.update(more=1), "BP605"),
        (lambda data: data.update(runs=["3:540-529"]), "BP605"),
        (lambda data: data.update(runs=["3:529", "3:530"]), "BP605"),
        (lambda data: data.update(generation=0), "BP605"),
        (lambda data: data["skims"].update(hlt_hadron="e"), "BP605"),
    ],
    ids=["missing", "unknown", "reversed", "not as written", "generation", "digest"],
)
def test_an_edited_lock_is_refused(edit, code):
    data = json.loads(LOCK.text())
    edit(data)
    lock, findings = read_lock(
        "campaign.lock", (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
    )
    assert lock is None
    assert {finding.code for finding in findings} == {code}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_lock_is_a_finding(content):
    lock, findings = read_lock("campaign.lock", content)
    assert lock is None
    assert findings


def test_a_lock_that_git_converted_is_told_as_such():
    lock, (finding,) = read_lock("campaign.lock", LOCK.text().replace("\n", "\r\n").encode())
    assert lock is None
    assert finding.code == "BP605"
    assert "end as on Windows" in finding.message
    assert "* -text" in finding.hint


def test_git_converts_nothing_of_a_checkout(tmp_path):
    def git(*words):
        subprocess.run(["git", *words], check=True, capture_output=True, env=NOBODY)

    root, clone = tmp_path / "root", tmp_path / "clone"
    root.mkdir()
    (root / ".gitattributes").write_bytes((Path(__file__).parents[2] / ".gitattributes").read_bytes())
    (root / "campaign.lock").write_text(LOCK.text())
    git("init", "-q", root)
    git("-C", root, "add", "-A")
    git("-C", root, "commit", "-q", "-m", "x")
    git("clone", "-q", "-c", "core.autocrlf=true", root, clone)
    assert read_lock("campaign.lock", (clone / "campaign.lock").read_bytes()) == (LOCK, ())
