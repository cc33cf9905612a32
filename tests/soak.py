"""`nox -s soak`: 2,000 units through the real Slurm. Not part of the suite: it takes minutes."""

from __future__ import annotations

import os

import pytest

from tests.support.services.slurm_cluster import Room
from tests.support.worlds.slurm_campaign import SlurmWorld, check_night, endure

UNITS = int(os.environ.get("B2PROD_SOAK_UNITS", "2000"))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_large_campaign_ends_complete(tmp_path, database, postgresql, slurm, shared_tmp, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    room = Room(shared_tmp)
    with room.entered(), room.alone():
        world = SlurmWorld(tmp_path, UNITS, width=500)
        night = endure(world, slurm, postgresql, UNITS, seconds=1800)
        print("\n".join(night.events), dict(world.attempts()))
        check_night(world, slurm, night)
