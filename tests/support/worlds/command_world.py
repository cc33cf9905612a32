"""Worlds in which each command line is a process, which may be killed."""

from __future__ import annotations

import subprocess
import sys

from renderer.steering import load_templates
from tests.support.worlds.worlds import ONE_STEP, World


class RealWorld(World):
    """A world with the repository's own templates, which the command line reads."""

    entry = "from ci.command_line import main; main()"
    """The Python code of a command's process."""

    def __init__(self, root, **more):
        super().__init__(root, campaign=ONE_STEP, files=(2, 2, 2), **more)
        self.templates = load_templates()
        self.change(('ranges: "1-2"', 'ranges: "1-3"'))

    def start(self, *arguments):
        with (self.root / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", self.entry, "--root", str(self.root), *arguments],
                stdout=log,
                stderr=log,
            )

    def call(self, *arguments):
        process = self.start(*arguments)
        return process.wait(timeout=120)


def check_whole(world):
    """Checks that every unit was produced once, and that nothing remains."""
    assert world.summary() == {"done": 3}
    assert len(world.produced()) == 3
    assert len(world.published()) == 6
    assert world.attempts().keys() <= {"verified", "lost"}
    assert world.workspaces() == []
    assert world.processes() == []


class SignalledWorld(RealWorld):
    """A world whose commands start as for people."""

    entry = "from ci.entry import main; main()"

    def start(self, *arguments):
        process = super().start(*arguments)
        STARTED.append(process)
        return process


ENTRY = [sys.executable, "-c", SignalledWorld.entry]
STARTED: list[subprocess.Popen[bytes]] = []


def read_log(world):
    return (world.root / "log").read_text()
