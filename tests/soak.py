"""`nox -s soak`: 2,000 units through the real Slurm, whose controller is killed hard. Not part of the suite: minutes."""

from __future__ import annotations

import os
import signal

import pytest

from tests.slurm_campaign import SlurmWorld, check_night, endure
from tests.slurm_cluster import Room

UNITS = int(os.environ.get("B2PROD_SOAK_UNITS", "2000"))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_large_campaign_ends_complete(tmp_path, database, slurm, shared_tmp, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    room = Room(shared_tmp)
    with room.entered(), room.alone():
        world = SlurmWorld(tmp_path, UNITS, width=500)
        night = endure(world, slurm, UNITS, seconds=1800, blow=signal.SIGKILL)
        print("\n".join(night.events), dict(world.attempts()))
        check_night(world, slurm, night)
