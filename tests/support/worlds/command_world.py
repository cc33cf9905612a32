"""Worlds in which the command line works as people call it: each command is a process, and may be killed."""

from __future__ import annotations

import subprocess
import sys

from renderer.steering import load_templates
from tests.support.worlds.worlds import ONE_STEP, World

CLI = [sys.executable, "-c", "from ci.command_line import main; main()"]


class RealWorld(World):
    """A world whose templates are the repository's own, as the command line reads them."""

    def __init__(self, root, **more):
        super().__init__(root, campaign=ONE_STEP, files=(2, 2, 2), **more)
        self.templates = load_templates()
        self.change(('ranges: "1-2"', 'ranges: "1-3"'))

    def start(self, *arguments):
        with (self.root / "log").open("ab") as log:
            return subprocess.Popen([*CLI, "--root", str(self.root), *arguments], stdout=log, stderr=log)

    def call(self, *arguments):
        process = self.start(*arguments)
        return process.wait(timeout=120)


def check_whole(world):
    """Every unit was produced once, and nothing is left over."""
    assert world.summary() == {"done": 3}
    assert len(world.produced()) == 3
    assert len(world.published()) == 6
    assert world.attempts().keys() <= {"verified", "lost"}
    assert world.workspaces() == []
    assert world.processes() == []


ENTRY = [sys.executable, "-c", "from ci.entry import main; main()"]


class SignalledWorld(RealWorld):
    """A world whose commands begin as people's do."""

    def start(self, *arguments):
        with (self.root / "log").open("ab") as log:
            process = subprocess.Popen([*ENTRY, "--root", str(self.root), *arguments], stdout=log, stderr=log)
        STARTED.append(process)
        return process


STARTED: list[subprocess.Popen[bytes]] = []


def read_log(world):
    return (world.root / "log").read_text()
