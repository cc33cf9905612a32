"""What several campaigns would make is made once, and is taken over by the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.units import Ledger
from tests.support.worlds.worlds import ONE_STEP, World, make_work_item

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(("reuse", "starts"), [("", 3), ("reuse: never\n", 6)])
def test_what_two_campaigns_of_one_plan_would_make_is_made_once(tmp_path, reuse, starts):
    world = World(tmp_path, campaign=ONE_STEP)
    world.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP + reuse)
    world.lock()
    waiting = ("waiting", "reco", "3:1-2", "proc7/reco is to make the same")
    assert (waiting in world.groups()) == (not reuse)
    world.apply(world.store())
    assert len(world.starts) == starts
    taken = ("reuse", "reco", "3:1-2", "taken over from proc7/reco")
    assert world.groups() == ([] if reuse else [taken])


def test_what_another_campaign_began_is_not_made_at_the_same_time(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    item = make_work_item(world)
    world.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP)
    world.lock()
    with opened(world.state) as engine:
        writer = Writer(engine, None)
        storage = str(world.state.storage("data"))
        ledger = Ledger(writer)
        ledger.begin_plan("a plan", {})
        (begun,) = ledger.intend([replace(item, storage=storage)])
        assert world.groups("proc8") == [("submit", "reco", "3:1-2", "not produced")]
        AttemptLedger(writer).begin(begun.split())
    assert world.groups("proc8") == [
        ("submit", "reco", "3:2", "not produced"),
        ("waiting", "reco", "3:1", "proc7/reco makes the same"),
    ]
