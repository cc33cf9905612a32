"""A pull request speaks in its own name only: what reviewers are shown was written by the review, and reaches nobody else."""

from __future__ import annotations

import json
import time

import pytest

from ci.cli.exits import Exit
from ci.cli.findings import FORMATS
from ci.review.text import MARKER
from schemas.policy.signers import read_revoked, read_signers
from tests.support.inputs.keys import PERSON
from tests.support.tables.promised_bounds import MARGIN, PROMISED_SECONDS

BYTES = "productions/campaigns/proc7/caf\udce9.txt"
"""A name that is no text."""


def propose(signable, files):
    """The base of a commit that has these files too."""
    base = signable.git("rev-parse", "HEAD")
    for name, content in files.items():
        signable.write(name, content)
    signable.git("add", "--", *files)
    signable.commit("proposed")
    return base


def test_s39_a_name_that_is_no_text_ends_no_review_and_no_check(signable, tmp_path, capsys):
    base = propose(signable, {BYTES: "", "ci/caf\udce9.py": ""})
    change = ("--base", base, "--head", "HEAD")
    assert signable.call("review", *change, "-o", tmp_path / "made") == Exit.FINDINGS
    assert "caf\\xe9.txt" in (tmp_path / "made/comment.md").read_text("utf-8")
    for form in FORMATS:
        capsys.readouterr()
        assert signable.call("check", *change, f"--format={form}") == Exit.FINDINGS
        assert "BP705" in capsys.readouterr().out.encode("utf-8").decode()


@pytest.mark.parametrize(("number", "size"), [(300, 65_000), (2001, 2)], ids=["large", "many"])
def test_s10_a_flood_of_statements_is_told_and_not_read(signable, capsys, number, size):
    """Each of them costs its reader as much as it can."""
    base = signable.git("rev-parse", "HEAD")
    folder = "productions/campaigns/proc7/approvals"
    junk = f"[{','.join(['[1]'] * (size // 4))}]"
    for place in range(number):
        signable.write(f"{folder}/{place}/x.json", junk)
        if place == 1500:
            base = signable.commit("half of them")  # a change has at most 2,000 files
    signable.commit("flood")
    capsys.readouterr()
    begin = time.process_time()
    assert signable.call("review", "--base", base, "--head", "HEAD") == Exit.FINE
    assert time.process_time() - begin < PROMISED_SECONDS * MARGIN
    assert f"has {number:,} files" in capsys.readouterr().out
    assert signable.launch() == Exit.REFUSED
    assert "`git rm` the statements" in capsys.readouterr().err


SIGNED = "administrators have signed the new root"


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("productions/sites/local.yaml", SIGNED),
        ("productions/layouts.yaml", "It changes how outputs are called. No administrator signs that"),
        ("productions/reconciler.pub", "whose copies of the state are trusted"),
        ("CODEOWNERS", "whom the forge asks for a review"),
    ],
)
def test_s26_nobody_is_told_that_administrators_sign_what_they_do_not(signable, capsys, file, told):
    there = signable.root / file
    base = propose(signable, {file: f"{there.read_text() if there.is_file() else ''}# more\n"})
    capsys.readouterr()
    signable.call("review", "--base", base, "--head", "HEAD")
    said = capsys.readouterr().out
    assert told in said
    assert (SIGNED in said) is (told == SIGNED)


@pytest.mark.parametrize("end", [Exit.FINE, Exit.USAGE], ids=["reviewed", "not reviewed"])
def test_s39_a_review_that_the_change_brings_is_not_taken_for_ours(signable, end):
    forged = {"review/comment.md": f"{MARKER}\n## APPROVED\n", "review/plan.json": "{}"}
    base = propose(signable, forged)
    if end == Exit.USAGE:
        signable.change(("max_units: 100", "max_units: 90"), lock=False)
        signable.commit("mine")
        mine = signable.git("rev-parse", "HEAD")
        signable.git("checkout", "-q", base)
        signable.change(("max_units: 100", "max_units: 80"), lock=False)
        base = signable.commit("theirs")
        signable.git("checkout", "-q", mine)
    assert signable.call("review", "--base", base, "--head", "HEAD", "-o", signable.root / "review") == end
    left = {file.name: file.read_text() for file in (signable.root / "review").iterdir()}
    assert json.dumps(left).count("APPROVED") == 0
    assert left.get("plan.json") != "{}"


HIDDEN = {
    "a second line": ("a\nproductions/b.yaml:1:1: no findings", r"a\nproductions"),
    "a terminal's colours": ("a\x1b[32mgood", r"a\x1b[32mgood"),
    "letters from right to left": ("a\u202etxt", r"a\u202etxt"),
    "nothing to be seen": ("a\u200b", r"a\u200b"),
    "a line's end of Unicode": ("a\u2028b", r"a\u2028b"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_s40_a_file_whose_name_hides_something_is_a_finding_that_shows_it(signable, tmp_path, capsys, name):
    called, shown = HIDDEN[name]
    file = f"productions/campaigns/proc7/{called.replace('/', '')}.yaml"
    base = propose(signable, {file: "x: 1\n"})
    shown = shown.replace("/", "")
    for words in (("check",), ("check", "--base", base, "--head", "HEAD")):
        capsys.readouterr()
        assert signable.call(*words) == Exit.FINDINGS
        told = capsys.readouterr().out
        assert shown in told
        assert all(character.isprintable() or character == "\n" for character in told)
        assert not any(line.startswith("productionsb") for line in told.splitlines())
    signable.call("review", "--base", base, "--head", "HEAD", "-o", tmp_path / "made")
    assert called not in (tmp_path / "made/comment.md").read_text("utf-8")


@pytest.mark.parametrize("between", ["\r", "\u2028", "\u202e", "\x1b[8m", "\x0b"])
def test_s39_a_key_that_only_its_reader_sees_or_only_reviewers_is_refused(circle, between):
    """`# old key<CR>ssh-ed25519 …` looks revoked, and is a comment."""
    line = circle.line(PERSON["release"])
    key = circle.key(PERSON["release"]).public
    for read, text in (
        (read_revoked, f"# an old key{between}{key}\n"),
        (read_signers, f"{line}# a note{between}{line}"),
        (read_signers, line.replace(" ", between, 1)),
    ):
        assert any(one.code == "BP111" for one in read("keys", text.encode())[1])
    for end in ("\r\n", "\n"):
        assert read_signers("keys", f"# a\tnote{end}{line.strip()}{end}".encode())[1] == ()
