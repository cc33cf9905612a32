"""A campaign of 200 units through the real Slurm, and through all that goes wrong on the way."""

from __future__ import annotations

import pytest

from tests.support.services.slurm_cluster import Room
from tests.support.worlds.slurm_campaign import SlurmWorld, check_night, endure

UNITS = 200


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_b11_b18_a_campaign_ends_complete_whatever_dies_on_the_way(
    tmp_path, database, postgresql, slurm, shared_tmp, monkeypatch
):
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    room = Room(shared_tmp)
    with room.entered(), room.alone():
        world = SlurmWorld(tmp_path, UNITS, width=50)
        night = endure(world, slurm, postgresql, UNITS, seconds=480)
        print("\n".join(night.events), dict(world.attempts()))
        check_night(world, slurm, night)
