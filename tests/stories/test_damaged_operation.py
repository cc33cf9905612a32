"""An operation that cannot be read stops operations, and no job."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from ci.cli.exits import Exit
from reconciler.ledger.schema.operation_tables import operations
from reconciler.ledger.store.database import opened
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import ONE_STEP


@pytest.mark.slow
def test_jobs_run_while_an_operation_cannot_be_read(tmp_path, circle, capsys):
    world = SchemeWorld(tmp_path, circle, campaign=ONE_STEP, files=(1, 1))
    world.begin()
    world.approve("proc7")
    row = {"kind": "archive", "subject": "proc7/reco/mdst", "digest": "d" * 64, "state": "intended"}
    counts = {"outputs": 0, "files": 0, "bytes": 0, "serial": 0, "revision": 0}
    times = {"reason": "", "who": "somebody", "begun": "2019-03-01T00:00:00Z", "content": b"damaged"}
    values = {name: value for name, value in {**row, **counts, **times}.items() if name in operations.c}
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(insert(operations).values(values))
    told = Told(world, capsys)
    plan, err = told.read("plan", code=Exit.PARTLY)
    assert "submit            2 units" in plan
    assert "operations on datasets is left out: " in err
    _, err = told.read("reconcile", "--once", code=Exit.PARTLY)
    assert "is damaged in the ledger" in err
    assert world.made("proc7", "reco") == [1, 2]
