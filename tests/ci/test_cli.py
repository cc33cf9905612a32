"""The command line as people and pipelines meet it: exit codes, messages, formats."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import rich_click as click
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.cli.rows import align_rows, divide_columns
from ci.command_line import b2prod, run
from ci.reports.plan import format_markdown
from ci.verbs import load_verb
from reconciler.model.plan import CampaignPlan, Group, Plan
from reconciler.model.states import PlanAction
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import CAMPAIGN, FILES, swap, tree
from tests.support.worlds.worlds import ONE_STEP, World

STATE = pytest.mark.usefixtures("database")
"""For tests of commands that look at a state."""


@pytest.fixture
def checkout(tmp_path):
    """A valid repository on disk; returns what calls b2prod there."""
    for name, content in tree(**{"productions/global-tags/.gitkeep": ""}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def call(*arguments):
        return run(["--root", str(tmp_path), *map(str, arguments)])

    call.root = tmp_path
    return call


def test_a_sound_repository_is_fine(checkout, capsys):
    assert checkout("check") == Exit.FINE
    assert capsys.readouterr().out == ""


def test_findings_are_findings_in_every_format(checkout, capsys):
    (checkout.root / FILES["campaign"]).write_text(swap(CAMPAIGN, ("title:", "tilte:")))
    assert checkout("check") == Exit.FINDINGS
    assert "campaign.yaml:2:1: BP201" in capsys.readouterr().out
    assert checkout("check", "--format", "json") == Exit.FINDINGS
    found = json.loads(capsys.readouterr().out)
    assert {(item["code"], item["line"], item["column"]) for item in found} >= {("BP201", 2, 1)}
    assert checkout("check", "--format", "gitlab") == Exit.FINDINGS
    report = json.loads(capsys.readouterr().out)
    assert report[0]["location"] == {"path": FILES["campaign"], "lines": {"begin": found[0]["line"]}}
    assert len({item["fingerprint"] for item in report}) == len(report)
    assert checkout("check", "--format", "github") == Exit.FINDINGS
    assert f"::error file={FILES['campaign']},line=2,col=1,title=BP201::" in capsys.readouterr().out


@STATE
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("check", "--nonsense"), Exit.USAGE, "--nonsense"),
        (("nonsense",), Exit.USAGE, "nonsense"),
        (("check", "proc9"), Exit.USAGE, "there is no campaign proc9"),
        (("resolve",), Exit.USAGE, "NAMES"),
        (("reconcile",), Exit.USAGE, "--once"),
        (("plan", "proc9"), Exit.USAGE, "there is no campaign proc9"),
        (("new", "proc7"), Exit.USAGE, "never used"),
        (("new", "../x"), Exit.USAGE, "not a legal name"),
        (("explain", "nonsense"), Exit.USAGE, "neither a code"),
        (("explain", "proc7/3-5"), Exit.USAGE, "write it as in 3:529"),
        (("apply", "missing.json"), Exit.USAGE, "does not exist"),
        (("reconcile", "--watch", "--interval", "nan"), Exit.USAGE, "is not a number"),
        (("reconcile", "--watch", "--interval", "1e9"), Exit.USAGE, "86400"),
        (("reconcile", "--once", "--lease", "inf"), Exit.USAGE, "3600"),
        (("reconcile", "--once", "--lease", "0"), Exit.USAGE, "--lease"),
        (("resolve", "proc7"), Exit.UNAVAILABLE, "there is no run catalogue"),
        (("status",), Exit.UNAVAILABLE, "there is no run catalogue"),
        (("plan", "proc7"), Exit.FINDINGS, "has no lock"),
        (("plan",), Exit.UNAVAILABLE, "never locked: GCR5b, proc7"),
        (("apply", FILES["campaign"]), Exit.USAGE, "not a plan"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_slip_is_answered_and_has_its_exit_code(checkout, capsys, monkeypatch, arguments, code, says):
    monkeypatch.chdir(checkout.root)
    assert checkout(*arguments) == code
    told = capsys.readouterr()
    assert says in told.err
    assert "Traceback" not in told.err + told.out


def test_outside_of_a_checkout_it_says_where_to_go(tmp_path, capsys):
    assert run(["--root", str(tmp_path), "check"]) == Exit.USAGE
    assert "no folder `productions`" in capsys.readouterr().err


@STATE
def test_a_plan_that_was_edited_is_not_applied(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    stored = world.store()
    stored["campaigns"][0]["groups"][0]["reason"] = "because I say so"
    (tmp_path / "plan.json").write_text(json.dumps(stored))
    assert run(["--root", str(tmp_path), "apply", str(tmp_path / "plan.json")]) == Exit.USAGE
    assert "was edited" in capsys.readouterr().err


def test_new_writes_a_campaign_that_checks(checkout, capsys):
    assert checkout("new", "mine") == Exit.FINE
    assert checkout("new", "mine2", "--from", "GCR5b") == Exit.FINE
    assert (
        (checkout.root / "productions/campaigns/mine2/campaign.yaml")
        .read_text()
        .startswith("schema: campaign/1")
    )
    assert checkout("check", "mine") == Exit.FINE, capsys.readouterr()


def test_explain_tells_what_a_code_means(capsys):
    assert run(["explain", "bp404"]) == Exit.FINE
    told = capsys.readouterr().out
    assert told.startswith("BP404")
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize("title", ['"\\e[31mred\\e[0m"', '"\\u202Etxt"', '"a\\0b"'])
def test_s40_a_title_cannot_talk_to_the_terminal(checkout, capsys, title):
    (checkout.root / FILES["campaign"]).write_text(
        swap(CAMPAIGN, ("title: Phase 2 reprocessing", f"title: {title}"))
    )
    assert checkout("check") == Exit.FINDINGS
    told = capsys.readouterr()
    assert not {"\x1b", "\u202e", "\0"} & set(told.out + told.err)


@STATE
def test_json_is_json_and_nothing_is_coloured_without_a_terminal(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    for arguments in (("runs", "--json"), ("runs",), ("check",), ("--help",)):
        command = [
            sys.executable,
            "-c",
            "from ci.command_line import main; main()",
            "--root",
            str(tmp_path),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        assert "\x1b" not in done.stdout + done.stderr
        if "--json" in arguments:
            assert [row["run"] for row in json.loads(done.stdout)] == [1, 2]


def walk(command, path=("b2prod",)):
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            one = load_verb(name) if command is b2prod else command.get_command(None, name)
            yield from walk(one, (*path, name))


@pytest.mark.parametrize("path", list(walk(b2prod)), ids=" ".join)
def test_every_verb_has_a_help_that_fits(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert run([*path[1:], "--help"]) == Exit.FINE
    told = capsys.readouterr().out
    assert "Usage" in told
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 100


def test_s39_markdown_of_a_plan_is_inert():
    hostile = "</td> @all ![x](http://x) `APPROVED` | **x**"
    group = Group(PlanAction.SUBMIT, "reco", ("mdst",), hostile, (run_key(3, 529),), "")
    text = format_markdown(Plan("ledger", 1, 1, (CampaignPlan("proc7", 1, (), 0, (group,)),)))
    (row,) = [line for line in text.splitlines() if "3:529" in line]
    assert not [mark for mark in ("</td>", "@all", "![", "](", "`APPROVED`", "**x") if mark in row]
    assert row.count("|") == 8


@STATE
def test_b2_an_empty_list_changes_nothing(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    empty = tmp_path / "runs.csv"
    for content in ("", "experiment,run\n", "<html>gateway</html>", "experiment,run\nx,y\n"):
        empty.write_text(content)
        assert run(["--root", str(tmp_path), "runs", "import", str(empty)]) == Exit.UNAVAILABLE
    assert "Traceback" not in capsys.readouterr().err
    assert world.summary() == {"submit": 2}


@STATE
def test_explain_tells_what_a_unit_is_made_of(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    world.templates = load_templates()
    world.lock()
    world.reconcile()
    assert run(["--root", str(tmp_path), "explain", "proc7/3:2", "--json"]) == Exit.FINE
    (unit,) = json.loads(capsys.readouterr().out)
    assert unit["state"] == "done"
    assert unit["made_with"]["CDCGeometry"]["revision"] == "1"
    (made,) = unit["history"]
    assert made["recipe"]["release"] == "release-03-00-00"
    assert [attempt["state"] for attempt in made["attempts"]] == ["verified"]
    assert run(["--root", str(tmp_path), "explain", "proc7/reco/3:9"]) == Exit.FINE
    assert "not selected: the run catalogue has no such run" in capsys.readouterr().out


@STATE
def test_a_renamed_step_keeps_its_retention(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    world.templates = load_templates()
    world.lock()
    world.reconcile()
    before = run(["--root", str(tmp_path), "retention", "proc7", "--json"]), capsys.readouterr().out
    assert before[0] == Exit.FINE
    assert json.loads(before[1])
    world.change(("  reco:", "  again:"))
    assert world.summary() == {"done": 2}
    assert before == (run(["--root", str(tmp_path), "retention", "proc7", "--json"]), capsys.readouterr().out)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.integers(60, 100))
def test_a_table_that_is_too_wide_goes_on_below_with_its_first_column(sizes, width):
    rows = [[f"{place:x}".ljust(size, "x") for place, size in enumerate(sizes)] for _ in range(2)]
    blocks = divide_columns(rows, width)
    assert all(len(line) <= width for block in blocks for line in align_rows(block))
    shown = [cell for block in blocks for cell in block[0][1:]]
    assert sorted([rows[0][0], *shown]) == sorted(rows[0])
    assert {block[0][0] for block in blocks} == {rows[0][0]}
    assert (len(blocks) == 1) == (len(align_rows(rows)[0]) <= width)
    assert len(blocks) == 1 or blocks[0][0][1] == rows[0][-1], "the result is in front"
