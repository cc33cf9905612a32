"""One kill for each class of transition, on either database: what was recorded goes on, what was not is done once. (9.1)"""

from __future__ import annotations

import pytest

from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.tracking import publication
from reconciler.ledger.writing.attempts import AttemptLedger
from reconciler.ledger.writing.units import Ledger
from tests.support.worlds.processes import run_forked
from tests.support.worlds.reconciler_kills import KILLED, die_at
from tests.support.worlds.worlds import World

pytestmark = pytest.mark.usefixtures("database")
POINTS = {
    "unit's intent not committed": (Ledger, "intend", "before"),
    "unit's intent committed": (Ledger, "intend", "after"),
    "attempt's intent not committed": (AttemptLedger, "begin", "before"),
    "attempt's intent committed": (AttemptLedger, "begin", "after"),
    "submitted, not recorded": (LocalEngine, "submit", "after"),
    "submitted, recorded": (AttemptLedger, "record_submitted", "after"),
    "seen running": (AttemptLedger, "record_running", "after"),
    "not verified": (AttemptLedger, "record_verified", "before"),
    "verified": (AttemptLedger, "record_verified", "after"),
    "published, not recorded": (publication, "publish", "after"),
    "produced": (Ledger, "record_produced", "after"),
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_i11_killed_at_each_class_of_transition(tmp_path, point):
    world = World(tmp_path)
    owner, name, when = POINTS[point]

    def doomed():
        die_at(owner, name, after=when == "after")
        world.reconcile()

    assert run_forked(doomed) == KILLED
    outcome = world.reconcile()
    assert not outcome.failed
    assert world.summary() == {"done": 4}
    jobs = sorted(line.split()[:2] for line in world.starts)
    assert len(jobs) == 5, "a job ran twice, or not at all"
    assert len({tuple(job) for job in jobs}) == 5
    assert world.attempts().keys() <= {"verified", "lost"}
    assert world.attempts()["verified"] == 5
    assert world.workspaces() == []
    assert world.processes() == []
    attempts = world.attempts()
    world.reconcile()
    assert world.attempts() == attempts
