"""What goes wrong around a command: broken files, damaged state, stale plans; each has its exit code and a sentence."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from renderer.steering import load_templates
from tests.support.worlds.worlds import ONE_STEP, World

MANIFEST = "productions/campaigns/proc7/campaign.yaml"
DEEP = "[" * 100_000


@pytest.fixture
def world(tmp_path):
    """A locked campaign of two units, of which nothing is made, with the templates that b2prod comes with."""
    made = World(tmp_path, campaign=ONE_STEP)
    made.templates = load_templates()
    made.lock()
    return made


@pytest.fixture
def call(world, capsys):
    """Calls b2prod in the world; returns exit code, stdout and stderr."""

    def called(*arguments):
        capsys.readouterr()
        code = run(["--root", str(world.root), *map(str, arguments)])
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        assert "\x1b" not in told.out + told.err
        return code, told.out, told.err

    return called


def test_a_pipeline_can_tell_changes_from_none(world, call):
    assert call("plan")[0] == Exit.FINE, "changes count only where they are asked for"
    assert call("plan", "--exit-code")[0] == Exit.CHANGES
    world.reconcile()
    assert call("plan", "--exit-code")[0] == Exit.FINE


def test_a_plan_is_refused_when_the_world_has_moved(world, call):
    assert call("plan", "-o", world.root / "plan.json")[0] == Exit.FINE
    world.reconcile()
    starts = world.starts
    code, _, told = call("apply", world.root / "plan.json")
    assert code == Exit.REFUSED
    assert "stale" in told
    assert world.starts == starts, "a refused plan starts nothing"


def test_a_failed_unit_is_partly_done(world, call):
    world.behave("status 1", "reco-2")
    code, _, told = call("reconcile", "--once")
    assert code == Exit.PARTLY
    assert "failed: proc7/reco/3:2" in told
    assert "1 unit produced, 1 failed" in told


@pytest.mark.parametrize("verb", ["check", "plan", "reconcile --once"])
def test_broken_yaml_is_a_finding_at_its_place(world, call, verb):
    (world.root / MANIFEST).write_text("schema: campaign/1\ntitle: [\n")
    code, out, err = call(*verb.split())
    assert code == Exit.FINDINGS
    assert f"{MANIFEST}:2:8: BP102" in out + err


@pytest.mark.parametrize(
    ("verb", "begun", "exit_code"),
    [
        ("status", False, Exit.FINE),
        ("status", True, Exit.FINE),
        ("retention proc7", False, Exit.USAGE),
        ("retention proc7", True, Exit.FINE),
    ],
)
def test_who_tells_of_the_ledger_says_once_that_yaml_is_broken(world, call, verb, begun, exit_code):
    if begun:
        world.reconcile()
    (world.root / MANIFEST).write_text("schema: campaign/1\ntitle: [\n")
    code, out, err = call(*verb.split())
    assert code == exit_code
    assert err.count(f"{MANIFEST}:2:8: BP102") == 1
    assert "BP102" not in out
    assert "there is no campaign" not in err


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"7", b"\xff\xfe", DEEP.encode(), b'{"digest": "x"}'],
    ids=lambda c: repr(c[:8]),
)
def test_a_file_that_is_no_plan(world, call, content):
    (world.root / "plan.json").write_bytes(content)
    code, _, told = call("apply", world.root / "plan.json")
    assert code == Exit.USAGE
    assert "plan.json is not a plan" in told
    assert len(told) < 1000


@pytest.mark.parametrize(
    "verb",
    [
        "status",
        "plan",
        "runs",
        "resolve proc7",
        "reconcile --once",
        "retention proc7",
        "explain proc7/3:1",
        "retry proc7 --reason mended",
    ],
)
def test_a_damaged_database_is_named(world, call, verb):
    database = world.root / ".b2prod" / "b2prod.sqlite"
    database.write_bytes(b"this is not a database" * 1000)
    code, _, told = call(*verb.split())
    assert code == Exit.UNAVAILABLE
    assert str(database) in told
    assert database.read_bytes().startswith(b"this is not a database"), "it is left for somebody to look at"


@pytest.mark.parametrize(
    "verb",
    [
        "check --format json",
        "check --format gitlab",
        "plan --format json",
        "status --json",
        "retention proc7 --json",
        "retention proc7 --by-run --json",
        "explain proc7/3:1 --json",
        "runs --json",
    ],
)
@pytest.mark.parametrize("produced", [False, True])
def test_what_is_json_parses(world, call, verb, produced):
    if produced:
        world.reconcile()
    code, out, _ = call(*verb.split())
    assert code == Exit.FINE
    assert isinstance(json.loads(out), (dict, list))


@pytest.mark.parametrize("content", ["7", '"x"', "null", "[" * 100_000, '{"path": "a.root"}'])
@pytest.mark.parametrize("verb", [("files", "import", "--level", "raw"), ("runs", "import")])
def test_a_list_that_is_no_list_is_refused_in_a_sentence(tmp_path, capsys, verb, content):
    (tmp_path / "productions").mkdir()
    (tmp_path / "list.json").write_text(content)
    assert run(["--root", str(tmp_path), *verb, str(tmp_path / "list.json")]) == Exit.UNAVAILABLE
    said = capsys.readouterr().err
    assert "list.json" in said
    assert "Traceback" not in said
