"""From a manifest and the run catalogue to the lock; and the wrong manifests that only the catalogue can show."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import delete

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema.tables import runs
from reconciler.ledger.store.database import opened, reading
from reconciler.planning.pinning import compare_locks
from reconciler.planning.resolution import resolve
from renderer.steering import read_templates
from schemas.manifest.runs import format_runs
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))


def resolve_now(world, *changes):
    """The lock and the findings after some edits."""
    if changes:
        world.change(*changes, lock=False)
    repository = world.repository()
    with reading(world.state) as connection:
        return resolve(connection, repository, repository.campaigns["proc7"])


def test_resolving_twice_gives_the_same_lock(world):
    lock, findings = resolve_now(world)
    assert not findings
    assert lock == world.repository().campaigns["proc7"].lock
    assert format_runs(lock.runs) == "3:1-2"


@pytest.mark.parametrize(
    ("change", "entries"),
    [
        (("title: A campaign of a test", "title: Another"), []),
        (('ranges: "1-2"', 'ranges: "1-3"'), ["runs", "selection"]),
        (("release: release-03-00-00", "release: release-03-00-01"), ["release", "steps"]),
    ],
    ids=["title", "runs", "release"],
)
def test_a_lock_moves_with_what_it_pins_and_its_generation_with_it(world, change, entries):
    before = world.repository().campaigns["proc7"].lock
    after, findings = resolve_now(world, change)
    assert not findings
    assert compare_locks(before, after) == entries
    assert after.generation == before.generation + bool(entries)


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ([('ranges: "1-2"', 'ranges: "700-800"')], "BP405", "matches no run"),
        ([('ranges: "1-2"', 'ranges: "1-2", types: [cosmic]')], "BP405", "matches no run"),
        ([('ranges: "1-2"', 'ranges: "1-3, 9"')], "BP406", "no run 9 of experiment 3"),
        ([("max_units: 100", "max_units: 1")], "BP701", "2 runs × 1 steps are 2 units"),
    ],
    ids=["W34 none", "W34 type", "W35", "W59"],
)
def test_what_the_catalogue_contradicts_is_a_finding(world, changes, code, says):
    _, findings = resolve_now(world, *changes)
    assert [finding.code for finding in findings] == [code]
    assert says in findings[0].message
    assert findings[0].place.line > 1


def test_w57_a_catalogue_that_shrank_shrinks_no_lock(world):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(delete(runs).where(runs.c.run == 2))
    _, findings = resolve_now(world)
    assert [finding.code for finding in findings] == ["BP606"]
    assert "3:2" in findings[0].message


def test_a_run_that_is_excluded_by_name_leaves_the_lock(world):
    lock, findings = resolve_now(world, ('ranges: "1-2"', 'ranges: "1-2", exclude: "2"'))
    assert not findings
    assert format_runs(lock.runs) == "3:1"


def test_w58_a_campaign_whose_folder_is_gone_is_missed_and_nothing_of_it_is_touched(world, capsys):
    world.reconcile()
    published = world.published()
    shutil.rmtree(world.root / "productions/campaigns/proc7")
    assert run(["--root", str(world.root), "plan"]) == Exit.FINDINGS
    assert "BP607" in capsys.readouterr().err
    assert run(["--root", str(world.root), "reconcile", "--once"]) == Exit.FINE
    assert world.published() == published


ONLY_THE_FIRST = snapshot("tag_a", f"CDCGeometry 1 {'0' * 32} 3,0,3,1")


def test_w39_a_run_without_a_needed_payload_is_named(world):
    world.write("productions/global-tags/tag_a.iov", ONLY_THE_FIRST)
    _, (finding,) = resolve_now(world)
    assert (finding.code, finding.message) == ("BP503", "no payload in tag_a is valid for 3:2")
    name = "templates/raw_to_mdst/1.yaml"
    described = (world.root / name).read_text()
    world.write(name, f"{described}payloads: [CDCGeometry, CDCTimeZeros]\n")
    world.templates = read_templates(world.root / "templates")
    messages = [finding.message for finding in resolve_now(world)[1]]
    assert messages == [
        "no CDCGeometry in tag_a is valid for 3:2",
        "no CDCTimeZeros in tag_a is valid for 3:1",
    ]


def test_a_run_that_comes_before_its_payloads_is_blocked_and_says_what_it_lacks(world):
    world.write("productions/global-tags/tag_a.iov", ONLY_THE_FIRST)
    world.change(('ranges: "1-2"', "from: 1, max_runs: 9"))
    assert {group[0]: (group[2], group[3]) for group in world.groups()} == {
        "submit": ("3:1", "not produced"),
        "blocked": ("3:2-3", "no payload in tag_a is valid for it"),
    }
