"""Names of files are an author's words too: they act on no terminal, break no comment, and run with no command one copies."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.console import print_data, print_json, strip_controls
from ci.cli.exits import Exit
from ci.cli.findings import FORMATS
from ci.cli.tables import make_table, print_table
from ci.command_line import run
from schemas.files.tree import read_tree, show_path
from tests.support.worlds.worlds import World

STRANGE = {
    "a line": "a\nBP000 all is well.yaml",
    "an escape": "a\x1b[2J\x1b]8;;evil.example\x07b.yaml",
    "turned around": "a\u202elmay.b.yaml",
    "unseen": "a\u200bb\u2066.yaml",
    "a command": "x;$(touch evil)`touch evil`.yaml",
    "options": "-rf --x.yaml",
    "quotes": "a'\"b.yaml",
    "markup": "[link=evil.example]here.yaml",
    "Markdown": "![x](www.evil.example)@everyone #1 <img src=x>|.yaml",
    "a line separator": "a\u2028b.yaml",
    "no text": "a\udce9\n.yaml",
}
PLACES = (
    "retirements",
    "sites",
    "campaigns/NAME",
    "skims",
    "global-tags",
    "campaigns/proc7/approvals/x",
)
ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def put(signable, name):
    for place in PLACES:
        path = place.replace("NAME", f"{name}/campaign.yaml") if "NAME" in place else f"{place}/{name}"
        signable.write(f"productions/{path}", "schema: retirement/1\n")


def list_commands(text):
    """What stands in backticks and begins as a command."""
    return re.findall(r"`+ ?((?:b2prod|git) [^`]*)`", text)


@pytest.mark.parametrize("case", STRANGE)
def test_s41_a_strange_name_of_a_file_is_told_and_does_nothing(case, signable, tmp_path, capfd):
    base = signable.git("rev-parse", "HEAD")
    put(signable, STRANGE[case])
    signable.commit("strange")
    told = {}
    for form in FORMATS:
        assert signable.call("check", f"--format={form}") == Exit.FINDINGS
        told[form] = "".join(capfd.readouterr())
    change = ("--base", base, "--head", "HEAD")
    assert signable.call("review", *change, "-o", tmp_path / "made") == Exit.FINDINGS
    comment = (tmp_path / "made/comment.md").read_text("utf-8")
    told["verbs"] = "".join(capfd.readouterr()) + comment
    for verb in (("doctor",), ("trust", "show"), ("approvals", "proc7"), ("status",), ("plan",)):
        signable.call(*verb)
    told["verbs"] += "".join(capfd.readouterr())
    for form, text in told.items():
        assert "Traceback" not in text
        assert ACTIVE.search(text) is None, (form, ACTIVE.search(text))
        assert not any(line.startswith("BP000") for line in text.splitlines())
        for command in list_commands(text):
            assert "evil" not in shlex.split(command) or "`" not in command
            assert not re.search(r"(?<!')[;&|$<>]", re.sub(r"'[^']*'", "", command)), command
    plain = re.sub(r"`[^`]*`", "", comment)
    assert not any(text in plain for text in ("](", "www.evil", "@everyone", "<img"))


@pytest.mark.parametrize("name", ["x; touch evil", "$(touch evil)", "a b", "-x", "`touch evil`", "a'b"])
def test_s41_a_retirement_of_a_strange_name_is_offered_no_command(name, signable, tmp_path):
    base = signable.git("rev-parse", "HEAD")
    signable.write(f"productions/retirements/{name}.yaml", "schema: retirement/1\n")
    signable.commit("retire")
    signable.call("review", "--base", base, "--head", "HEAD", "-o", tmp_path / "made")
    comment = (tmp_path / "made/comment.md").read_text("utf-8")
    assert "Retirement" in comment
    assert "b2prod approvals" not in comment


@pytest.mark.parametrize("name", ["x; touch evil", "$(touch evil)", "a b", "a'b"])
def test_s41_a_campaign_of_a_strange_name_is_in_no_command(name, tmp_path, capfd):
    world = World(tmp_path / "x")
    manifest = (world.root / "productions/campaigns/proc7/campaign.yaml").read_text()
    world.write(f"productions/campaigns/{name}/campaign.yaml", manifest)
    for verb in (["check"], ["plan"], ["status"], ["reconcile", "--once"]):
        run(["--root", str(world.root), *verb])
    told = "".join(capfd.readouterr())
    assert "not a legal name" in told
    assert not [
        command
        for command in list_commands(told)
        if "evil" in command or "a b" in command or "a'b" in command
    ]


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=12))
def test_a_path_that_is_shown_is_one_line_that_can_be_read(name):
    shown = show_path(name)
    assert shown.isprintable()
    assert show_path(shown) == shown
    if name.isprintable():
        assert shown == name


@given(st.text(max_size=30))
def test_what_is_written_is_seen_and_json_stays_json(text):
    clean = strip_controls(text)
    assert ACTIVE.search(clean.replace("\u2060", "")) is None
    kept = "".join(one for one in text if one in "\n\t" or not (one < " " or "\x7f" <= one <= "\x9f"))
    value = json.dumps({"x": kept}, ensure_ascii=False)
    assert json.loads(strip_controls(value)) == {"x": kept}
    if text.isprintable():
        assert clean == text


def test_cells_of_tables_are_text(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    table = make_table("a", "b", title="[red]x\x1b[2J")
    table.add_row(
        "[link=https://evil.example]here[/link]", "x\x1b]8;;https://evil.example\x07y\u202e :smile:"
    )
    print_table(table)
    print_data("x\u202e")
    print_json(["x\u202e"])
    told = capsys.readouterr().out
    assert "[link=https://evil.example]here[/link]" in told
    assert ":smile:" in told
    assert "\x1b]8" not in told
    assert "\x1b[2J" not in told
    assert "\u202e" not in told


def test_files_of_such_names_are_not_read(tmp_path):
    (tmp_path / "productions/sites").mkdir(parents=True)
    for name in STRANGE.values():
        (tmp_path / "productions/sites" / name).write_text("x")
    tree, findings = read_tree(tmp_path)
    assert all(file.isprintable() for file in tree)
    assert len(findings) == sum(not name.isprintable() for name in STRANGE.values())
