"""The engine `slurm` under contract: a real Slurm, and doubles of its commands for what it cannot be made to do."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import pytest

from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.ledger.writing.lease import CALL
from schemas.policy.site import BatchSettings, Site
from tests.contract import doubles
from tests.contract.rig import Rig
from tests.support.services.slurm_cluster import Room

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "sdiag", "scontrol", "sinfo")
NO_CONTACT = "fail slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
TIMED_OUT = "accept sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
LATE = {"squeue": "empty at once", "sacct": "empty at once"}
FAULTS = {
    "accept_then_fail": {"sbatch": TIMED_OUT},
    "accept_then_hang": {"sbatch": "accept hang"},
    "accept_silently": {"sbatch": "empty"},
    "noise_before": {"sbatch": "before"},
    "noise_around": {"sbatch": "around"},
    "noise_on_the_line": {"sbatch": "inline"},
    "submit_fails": {
        "sbatch": "fail sbatch: error: Batch job submission failed: Unable to contact slurm controller"
    },
    "submit_refused": {
        "sbatch": "fail sbatch: error: Batch job submission failed: Invalid account specified"
    },
    "partial_array": {"sbatch": "partial 0-3 0-1"},
    "unreachable": dict.fromkeys(COMMANDS, NO_CONTACT),
    "hang": dict.fromkeys(COMMANDS, "hang"),
    "late": LATE,
    "query_fails": {
        "squeue": NO_CONTACT,
        "sacct": "fail sacct: error: slurm_persist_conn_open_without_init: failed",
    },
    "queue_fails": {"squeue": NO_CONTACT},
    "accounting_fails": {"sacct": "fail sacct: error: Problem talking to the database: Connection refused"},
    "query_empty": {"squeue": "empty at once"},
    "query_cut": {"squeue": "cut", "sacct": "cut"},
    "query_noise": {"squeue": "around", "sacct": "around"},
    "cancel_fails": {"scancel": "fail scancel: error: Unable to contact slurm controller (connect failure)"},
}
POWERS = (
    "runtime",
    "singly",
    "environment",
    "processes",
    "hold",
    "forget",
    "foreign",
    "bundles",
    "twice",
    "restart",
    "count",
    "broken_site",
    "lists",
)


class CommandRig(Rig):
    """A rig of an engine that drives commands, on the real Slurm."""

    slow = True
    commands: tuple[str, ...]
    faults: dict[str, dict[str, str]]

    def __init__(self, folder, cluster, room, doubled):
        super().__init__(folder)
        self.cluster, self.room, self.doubled = cluster, room, doubled
        self.partition = f"w{int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]) % 8}"

    @classmethod
    @contextlib.contextmanager
    def serving(cls, request, folder, monkeypatch):
        cluster = request.getfixturevalue("slurm")
        room = Room(request.getfixturevalue("shared_tmp"))
        doubled = folder / "bin"
        doubles.install(doubled, {name: cls.find_command(name, folder) for name in cls.commands})
        monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
        monkeypatch.setenv("PATH", f"{doubled}:{os.environ['PATH']}")
        with room.entered():
            yield cls(folder, cluster, room, doubled)

    @classmethod
    def find_command(cls, name, folder):
        return shutil.which(name)

    @contextlib.contextmanager
    def fault(self, name):
        doubles.set_faults(self.doubled, self.faults[name])
        try:
            yield
        finally:
            doubles.set_faults(self.doubled, {})

    @contextlib.contextmanager
    def hold(self, batch):
        self.cluster.run("scontrol", "update", f"partitionname={self.partition}", "state=down")
        try:
            yield
        finally:
            self.cluster.run("scontrol", "update", f"partitionname={self.partition}", "state=up")

    def forget(self, batch):
        with self.room.alone():
            self.cluster.configure(min_job_age=2)
            ask = ("squeue", "-h", "-t", "all", "-n", batch.name)
            self.wait(lambda: not self.cluster.run(*ask))
            self.cluster.configure()

    def is_remembered(self, tickets):
        ask = ("sacct", "-X", "-n", "-P", "-S", "now-1hour", f"--name={tickets[0].batch}", "-o", "JobID")
        return len(self.cluster.run(*ask).splitlines()) == len(tickets)

    def restart(self, doing):
        with self.room.alone():
            self.cluster.stop("slurmctld")
            try:
                doing()
            finally:
                self.cluster.start("slurmctld")

    @contextlib.contextmanager
    def foreign(self):
        script = ("sbatch", "--parsable", "-J", "somebody-else", "-o", "/dev/null", "--wrap", "sleep 60")
        job = self.cluster.run(*script)
        ask = ("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")
        self.wait(lambda: self.cluster.run(*ask) == "RUNNING")
        yield job, lambda: self.cluster.run(*ask) == "RUNNING"
        self.cluster.run("scancel", job)

    def reference_of_nothing(self):
        return f"{40_000_000 + time.time_ns() % 10_000_000}"

    def count_calls(self):
        return len(doubles.list_calls(self.doubled))


class SlurmRig(CommandRig):
    plays = frozenset({*FAULTS, *POWERS})
    commands = COMMANDS
    faults = FAULTS

    def make_engine(self, seconds=None, **changes):
        site = {
            "name": "here",
            "engine": "slurm",
            "storage": "data",
            "queue": self.partition,
            "slots": 1000,
        } | changes
        return SlurmEngine(Site(**site), seconds or CALL - 4)

    def broken_sites(self):
        yield "nowhere", self.make_engine(queue="nowhere")
        yield "closed", self.make_engine(queue="closed")
        yield "30", self.make_engine(queue="short", batch=BatchSettings(minutes=60))
        yield "20001", self.make_engine(batch=BatchSettings(width=50_000))
        yield "not available", self.make_engine(batch=BatchSettings(memory=900_000))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", "/nowhere")
            yield "sbatch", self.make_engine()
