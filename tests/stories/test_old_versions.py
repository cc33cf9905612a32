"""Old versions of outputs: the retention lets them go, a retirement names them, and the data owner signs with a real key."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from reconciler.ledger.schema.tables import outputs
from tests.support.doubles.later_clock import later
from tests.support.inputs.keys import PERSON
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import ONE_STEP

RETIREMENT = """\
schema: retirement/1
title: First versions that were made again
datasets: [{campaign: proc7, step: reco, keep_versions: 1}]
reason: made again
successor: none
quarantine_days: 30
"""

RETENTION = "schema: retention/1\nrules:\n  - {site: local, versions: 1, after_days: 10}\n"


def states(world):
    return sorted(world.rows(outputs, "version", "state"))


@pytest.mark.slow
def test_old_versions_go_as_the_retention_says_once_they_are_named_and_signed(tmp_path, circle, capsys):
    world = SchemeWorld(tmp_path, circle, campaign=ONE_STEP, files=(1, 1))
    world.begin(retention=RETENTION)
    world.approve("proc7")
    assert world.turn() == Exit.FINE
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    world.commit("another mode")
    world.approve("proc7")
    assert world.turn() == Exit.FINE
    both = [(1, "produced"), (1, "produced"), (2, "produced"), (2, "produced")]
    assert states(world) == both
    told = Told(world, capsys)

    def planned():
        made = json.loads(told.read("plan", "--format", "json")[0])
        return [
            (one["kind"], one["subject"], one["outputs"], one["standing"])
            for one in made.get("operations", [])
        ]

    assert planned() == [], "the second versions are young"
    with later(11):
        assert planned() == [("trash", "retention/proc7/reco/mdst", 2, "waiting")]
        assert "`keep_versions: 1` of proc7/reco" in told.read("plan")[0]
    world.write("productions/retirements/old.yaml", RETIREMENT)
    world.commit("first versions are to go")
    assert planned() == [("trash", "retirement/old", 2, "refused")]
    assert "the retention keeps 2 of these versions" in told.read("plan")[0]
    with later(11):
        assert planned() == [("trash", "retirement/old", 2, "ready")]
        told.read("reconcile", "--once", code=Exit.REFUSED)
        assert states(world) == both, "nobody signed"
    key = world.circle.key(PERSON["data-owner"]).file
    assert world.b2prod("approve", "old", "--role", "data-owner", "--key", key, typed="old") == Exit.FINE
    world.commit("signed")
    with later(11):
        told.read("reconcile", "--once")
        assert states(world) == [(1, "trashed"), (1, "trashed"), (2, "produced"), (2, "produced")]
        assert planned() == [("purge", "retirement/old", 2, "waiting")]
    with later(42):
        told.read("reconcile", "--once")
        assert states(world) == [(1, "purged"), (1, "purged"), (2, "produced"), (2, "produced")]
        assert planned() == []
    told.read("state", "check")
