"""A ledger that is lost again and again while a campaign goes through the real Slurm."""

from __future__ import annotations

import time

import pytest

from tests.support.services.slurm_cluster import Room
from tests.support.worlds.lost_ledgers import check_once, lose_at_moments
from tests.support.worlds.processes import run_forked
from tests.support.worlds.slurm_campaign import SlurmWorld

UNITS, MOMENTS = 100, 10


@pytest.mark.slow
def test_ten_losses_in_a_campaign_at_slurm_and_every_output_exists_once(
    tmp_path, slurm, shared_tmp, monkeypatch
):
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    with Room(shared_tmp).entered():
        world = SlurmWorld(tmp_path, UNITS, width=4, queue="w7")
        site = tmp_path / "productions/sites/local.yaml"
        site.write_text(site.read_text().replace("slots: 20000", "slots: 8"))
        world.pin()

        def work():
            while True:
                world.reconcile()
                time.sleep(0.5)

        lose_at_moments(world, UNITS, MOMENTS, work)
        end = time.monotonic() + 400
        while time.monotonic() < end and world.summary() != {"done": UNITS}:
            run_forked(world.reconcile)
            time.sleep(1)
        check_once(world, UNITS)
        ours = ("squeue", "-h", "-t", "PD,R,S", "-o", "%j")
        deadline = time.monotonic() + 60
        while any(name.startswith("b2p-") for name in slurm.run(*ours).split()):
            run_forked(world.reconcile)
            assert time.monotonic() < deadline, "a job of a ledger that was lost still runs"
            time.sleep(1)
