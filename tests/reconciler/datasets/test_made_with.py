"""What a run was made with: the ledger has every payload, each set once, and jobs see what was fingerprinted."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.conditions.metadata_file import MetadataFile
from reconciler.ledger.reading.observation import read_payloads, read_used
from reconciler.ledger.schema.tables import payload_buckets, payload_sets
from reconciler.ledger.store.database import reading
from renderer.identity.payloads import Payload, collect_payloads, digest_runs
from renderer.steering import load_templates
from schemas.conditions.snapshot import make_iov
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import ONE_STEP, World

pytestmark = pytest.mark.usefixtures("database")

OLD, NEW, GEOMETRY = "a" * 32, "b" * 32, "c" * 32
ALWAYS = f"CDCGeometry 1 {GEOMETRY} 0,0,-1,-1"


def lines(*found: str) -> str:
    return snapshot("tag_a", ALWAYS, *found)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, ('"1-2"', '"1-3"'), campaign=ONE_STEP, files=(1, 1, 1))
    made.write("productions/global-tags/tag_a.iov", lines(f"CDCTimeZeros 1 {OLD} 0,0,-1,-1"))
    made.lock()
    return made


def used(world):
    """Run → name, revision and checksum of its payloads."""
    with reading(world.state) as connection:
        found = read_used(connection, "proc7")
        sets = read_payloads(connection, found)
    return {run & 0xFFFFFFFF: sets[digest] for digest, runs in found.items() for run in runs}


def test_the_ledger_has_the_payloads_of_every_run_and_each_set_once(world):
    world.reconcile()
    expected = (Payload("CDCGeometry", "1", GEOMETRY), Payload("CDCTimeZeros", "1", OLD))
    assert used(world) == dict.fromkeys((1, 2, 3), expected)
    with reading(world.state) as connection:
        assert len(connection.execute(payload_sets.select()).all()) == 1
        stored = connection.execute(payload_buckets.select()).all()
    assert len(stored) == 3  # two with a payload, and the empty one


def test_a_payload_that_changes_restates_its_run_and_both_stay_on_record(world):
    world.reconcile()
    changed = lines(f"CDCTimeZeros 1 {OLD} 0,0,-1,-1", f"CDCTimeZeros 2 {NEW} 3,2,3,2")
    world.write("productions/global-tags/tag_a.iov", changed)
    world.lock()
    assert world.groups() == [("restate", "reco", "3:2", "payload CDCTimeZeros changed")]
    world.reconcile()
    assert world.state_view().plan.is_empty
    revisions = {
        run: {one.name: one.revision for one in found}["CDCTimeZeros"] for run, found in used(world).items()
    }
    assert revisions == {1: "1", 2: "2", 3: "1"}


def test_a_job_finds_the_payloads_of_its_run_and_no_others(world):
    found = (f"CDCTimeZeros 1 {OLD} 0,0,3,1", f"CDCTimeZeros 2 {NEW} 3,2,-1,-1")
    world.write("productions/global-tags/tag_a.iov", lines(*found))
    world.lock()
    world.behave("environment", "reco-2")
    world.reconcile()
    environment = json.loads((world.root / "environment").read_text())
    assert environment["BELLE2_CONDB_METADATA"] == "conditions.sqlite", (
        "of a path, what is behind a blank is another"
    )
    tag = MetadataFile(world.root / "conditions.sqlite").fetch("tag_a")
    assert tag.state == "PUBLISHED"
    assert set(tag.iovs) == {
        make_iov("CDCGeometry", "1", GEOMETRY, (0, 0, -1, -1)),
        make_iov("CDCTimeZeros", "2", NEW, (3, 2, -1, -1)),
    }
    digest = collect_payloads((tag,), run_key(3, 2)).digest
    assert [digest] == digest_runs((tag,), [run_key(3, 2)])
    with reading(world.state) as connection:
        assert run_key(3, 2) in read_used(connection, "proc7")[digest]


CHANGED = lines(f"CDCTimeZeros 1 {OLD} 0,0,-1,-1", f"CDCTimeZeros 2 {NEW} 3,2,3,2")


@pytest.fixture
def command(world):
    """Calls `b2prod` in the world's checkout, with the tool's own templates."""
    world.templates = load_templates()
    world.lock()
    return lambda *arguments: run(["--root", str(world.root), *map(str, arguments)])


def test_used_lists_what_was_really_used_by_run(world, command, capsys):
    world.reconcile()
    world.write("productions/global-tags/tag_a.iov", CHANGED)
    world.lock()
    world.reconcile()
    assert command("gt", "used", "proc7", "--payload", "CDCTimeZeros", "--json") == Exit.FINE
    assert [(row["revision"], row["runs"]) for row in json.loads(capsys.readouterr().out)] == [
        ("1", "3:1,3"),
        ("2", "3:2"),
    ]
    assert command("gt", "used", "proc7") == Exit.FINE
    table = capsys.readouterr().out
    assert "CDCGeometry" in table
    assert "3:1-3" in table
    assert max(map(len, table.splitlines())) <= 100


def test_explain_tells_what_a_run_was_made_with_though_the_tag_went_on(world, command, capsys):
    assert command("explain", "proc7/3:2", "--json") == Exit.FINE
    (unit,) = json.loads(capsys.readouterr().out)
    assert unit["to_make_with"]["CDCTimeZeros"]["revision"] == "1"
    world.reconcile()
    world.write("productions/global-tags/tag_a.iov", CHANGED)
    world.lock()
    assert command("explain", "proc7/3:2", "--json") == Exit.FINE
    (unit,) = json.loads(capsys.readouterr().out)
    assert unit["made_with"]["CDCTimeZeros"]["revision"] == "1"
    assert unit["state"] == "restate (mdst): payload CDCTimeZeros changed"


def test_impact_counts_what_would_be_restated_and_changes_nothing(world, command, capsys):
    world.reconcile()
    world.write("tag_a.iov", CHANGED)
    world.change(("max_restate: 10", "max_restate: 0"))
    before = world.store()
    assert command("gt", "impact", "tag_a", world.root / "tag_a.iov", "--json") == Exit.FINE
    (found,) = json.loads(capsys.readouterr().out)
    assert found.pop("hours") >= 0
    assert found == {
        "campaign": "proc7",
        "step": "reco",
        "outputs": ["mdst"],
        "reason": "payload CDCTimeZeros changed",
        "units": 1,
        "events": 1,
        "runs": "3:2",
    }
    assert command("gt", "impact", "tag_a", world.root / "tag_a.iov") == Exit.FINE
    shown = capsys.readouterr()
    assert "1 unit of 1 campaign would be restated" in shown.err
    assert max(map(len, shown.out.splitlines())) <= 100
    assert world.store()["digest"] == before["digest"]
    assert command("gt", "impact", "tag_a", "tag_a", "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out) == []


def test_impact_of_a_tag_that_nobody_has_is_a_slip(command, capsys):
    assert command("gt", "impact", "tag_b", "tag_a") == Exit.USAGE
    assert "there are: tag_a" in capsys.readouterr().err
