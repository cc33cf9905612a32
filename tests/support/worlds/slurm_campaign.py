"""A campaign through the real Slurm with many faults, for the suite and the soak test."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select

from reconciler.ledger.schema.tables import UNIT_ATTEMPTS, attempts, intents
from reconciler.ledger.store.database import opened, reading
from reconciler.model.run import File
from reconciler.run_catalogue.file_register import import_files
from renderer.steering import load_templates
from tests.support.services.postgresql import Server
from tests.support.services.slurm_cluster import Cluster
from tests.support.worlds.command_world import RealWorld
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import ONE_STEP, World

CAUSES = ("geometry", "payload", "magnet", "cluster", "tracking", "trigger", "vertex", "pedestal")
"""Error words for the first attempts of some jobs; all differ, because one common cause would pause the campaign."""


class SlurmWorld(RealWorld):
    """A world whose site is the test's Slurm: one step, one file per run, as many units as runs."""

    def __init__(self, root, units: int, width: int, queue: str = "prod") -> None:
        self.width, self.queue = width, queue
        World.__init__(self, root, campaign=ONE_STEP, files=[1, 1], slots=20_000)
        self.templates = load_templates()
        self.register_runs(range(3, units + 1))
        found = []
        for run in range(3, units + 1):
            file = root / "raw" / f"raw.{run}.0.root"
            content = f"raw data of {file.name}".encode()
            checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
            file.write_bytes(content)
            found.append(File(3, run, "raw", file.name, str(file), len(content), checksum))
        with opened(self.state) as engine:
            import_files(engine, found)
        self.change(('ranges: "1-2"', f'ranges: "1-{units}"'), ("max_units: 100", f"max_units: {units}"))

    def watch(self):
        """Starts a reconciler that runs until it is killed."""
        return self.start("reconcile", "--watch", "--interval", "1")

    def _productions(self, campaign):
        made = super()._productions(campaign)
        site, roles = "productions/sites/local.yaml", "productions/roles.yaml"
        made[site] = made[site].replace(
            "engine: local", f"engine: slurm\nqueue: {self.queue}\nbatch: {{width: {self.width}}}"
        )
        made[roles] = made[roles].replace("engine: local", "engine: slurm")
        return made


@dataclass
class Night:
    """What happened to a campaign, for assertions and reports."""

    units: int
    failing: set[int]
    seconds: float = 0.0
    events: list[str] = field(default_factory=list)


def spoil(world: SlurmWorld, units: int) -> set[int]:
    """Makes the first attempt of every tenth unit fail in different ways; returns their runs."""
    failing = range(1, units + 1, 10)
    for number, run in enumerate(failing):
        if number % 10 == 3:
            behaviour = "first killed"
        elif number % 10 == 7:
            behaviour = "first nothing"
        else:
            behaviour = f"first fatal {CAUSES[number % len(CAUSES)]} of run is not there"
        world.behave(behaviour, f"reco-{run}")
    return set(failing)


def endure(world: SlurmWorld, cluster: Cluster, ledger: Server, units: int, seconds: float) -> Night:
    """Makes the whole campaign while services and the reconciler are killed.

    The controller is ended with SIGTERM: after SIGKILL it forgets what it has just started, starts it again, and drains the
    nodes that still have it ("Duplicate jobid") until an operator comes.
    """
    night, begun = Night(units, spoil(world, units)), time.monotonic()

    def note(text: str) -> None:
        night.events.append(
            f"{time.monotonic() - begun:6.1f} s  {count(world, 'verified'):5} verified: {text}"
        )

    with watching(world) as watchers:
        wait_until(lambda: len(world.starts) >= units // 10 and not count(world, "intent"), seconds)
        note("slurmctld is stopped")
        cluster.stop("slurmctld")
        wait_until(lambda: is_doubted(world), 60)
        cluster.start("slurmctld")
        note("slurmctld is back")
        wait_until(lambda: count(world, "verified") >= units // 4, seconds)
        note("the reconciler is killed")
        watchers[-1].kill()
        watchers[-1].wait()
        watchers.append(world.watch())
        wait_until(lambda: count(world, "verified") >= units // 2, seconds)
        note("slurmdbd and MariaDB are killed")
        cluster.stop("slurmdbd", signal.SIGKILL)
        cluster.stop("mariadbd", signal.SIGKILL)
        wait_until(lambda: count(world, "verified") >= units * 6 // 10, seconds)
        cluster.start("mariadbd")
        cluster.start("slurmdbd")
        note("slurmdbd and MariaDB are back")
        wait_until(lambda: count(world, "verified") >= units * 7 // 10, seconds)
        ledger.crash()
        note("the ledger's PostgreSQL crashed, and is back")
        wait_until(lambda: world.summary() == {"done": units} and is_swept(world), seconds)
        note("all is done")
    night.seconds = time.monotonic() - begun
    return night


def check_night(world: SlurmWorld, cluster: Cluster, night: Night) -> None:
    """Checks for one published output per unit, no unknown job at the site, and no remaining process."""
    assert len(world.produced()) == len({row[2] for row in world.produced()}) == night.units
    assert len(world.published()) == night.units
    started = [line.split()[2] for line in world.starts]
    assert len(started) == len(set(started)), "an attempt was started twice"
    states = world.attempts()
    assert states["verified"] == night.units
    with reading(world.state) as connection:
        ended = attempts.c.state.in_(
            ("failed", "lost")
        )  # of a job that was lost, no attempt need have failed
        query = select(intents.c.run).select_from(UNIT_ATTEMPTS).where(ended)
        assert night.failing <= set(connection.scalars(query))
    assert states.keys() <= {"verified", "failed", "lost", "discarded"}
    with reading(world.state) as connection:
        names = {row.name for row in connection.execute(select(attempts.c.name))}
    assert set(started) <= names, "what ran is what the ledger knows"
    ours = ("squeue", "-h", "-t", "PD,R,CG,S", "-o", "%j")
    assert [name for name in cluster.run(*ours).split() if name.startswith("b2p-")] == []
    assert world.processes() == []


def count(world: World, state: str) -> int:
    return world.attempts()[state]


def is_swept(world: World) -> bool:
    """Whether exactly the folders of failed attempts are kept, for their logs."""
    return len(world.workspaces()) == count(world, "failed")


def is_doubted(world: World) -> bool:
    """Whether the reconciler noticed that it cannot see the state of jobs."""
    with reading(world.state) as connection:
        return (
            connection.execute(select(attempts.c.id).where(attempts.c.unknown.is_not(None))).first()
            is not None
        )


@contextlib.contextmanager
def watching(world: SlurmWorld) -> Iterator[list]:
    """Reconcilers; the last one is running."""
    watchers = [world.watch()]
    try:
        yield watchers
    finally:
        for process in watchers:
            process.kill()
            process.wait()
