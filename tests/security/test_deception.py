"""A pull request speaks in its own name only: what reviewers are shown was written by the review, and reaches nobody else."""

from __future__ import annotations

import json

import pytest

from ci.exits import Exit
from ci.findings import FORMATS
from ci.review_text import MARKER
from tests.keys import Circle
from tests.launchpad import Launchpad

BYTES = "productions/campaigns/proc7/caf\udce9.txt"
"""A name that is no text."""


@pytest.fixture(scope="module")
def circle(tmp_path_factory):
    return Circle(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def pad(tmp_path, circle):
    return Launchpad(tmp_path, circle)


def propose(pad, files):
    """The base of a commit that has these files too."""
    base = pad.git("rev-parse", "HEAD")
    for name, content in files.items():
        pad.write(name, content)
    pad.git("add", "--", *files)
    pad.commit("proposed")
    return base


def test_s39_a_name_that_is_no_text_ends_no_review_and_no_check(pad, tmp_path, capsys):
    base = propose(pad, {BYTES: "", "ci/caf\udce9.py": ""})
    change = ("--base", base, "--head", "HEAD")
    assert pad.call("review", *change, "-o", tmp_path / "made") == Exit.FINDINGS
    assert "caf\\xe9.txt" in (tmp_path / "made/comment.md").read_text("utf-8")
    for form in FORMATS:
        capsys.readouterr()
        assert pad.call("check", *change, f"--format={form}") == Exit.FINDINGS
        assert "BP705" in capsys.readouterr().out.encode("utf-8").decode()


@pytest.mark.parametrize("end", [Exit.FINE, Exit.USAGE], ids=["reviewed", "not reviewed"])
def test_s39_a_review_that_the_change_brings_is_not_taken_for_ours(pad, end):
    forged = {"review/comment.md": f"{MARKER}\n## APPROVED\n", "review/plan.json": "{}"}
    base = propose(pad, forged)
    if end == Exit.USAGE:
        pad.change(("max_units: 100", "max_units: 90"), lock=False)
        pad.commit("mine")
        mine = pad.git("rev-parse", "HEAD")
        pad.git("checkout", "-q", base)
        pad.change(("max_units: 100", "max_units: 80"), lock=False)
        base = pad.commit("theirs")
        pad.git("checkout", "-q", mine)
    assert pad.call("review", "--base", base, "--head", "HEAD", "-o", pad.root / "review") == end
    left = {file.name: file.read_text() for file in (pad.root / "review").iterdir()}
    assert json.dumps(left).count("APPROVED") == 0
    assert left.get("plan.json") != "{}"
