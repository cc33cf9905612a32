"""Runs one job of a batch: the member in the folder of its attempt, or one after the other those of a bundle.

    python3 member.py INDEX

The folder of this file holds members.json, which lists folder, name and nonce of each member, and job.py. INDEX is a
number from 0: of the member, or where members have a fourth word, the one of those that have it. A member of a bundle that
is asked to end, by a file `end` in its folder, is ended alone; a signal ends the bundle, and none begins after it. Needs
nothing but Python 3.6 or newer.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Tuple

END = "end"
PATIENCE = 1.0
"""Seconds between two looks at a member of a bundle."""


def open_log() -> int:
    return os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def describe(here: str, name: str, nonce: str) -> Tuple[List[str], Dict[str, str]]:
    """The command of a member and its environment: not with the nonce as an argument, which everybody on the node can read."""
    return [sys.executable, os.path.join(here, "job.py"), name], dict(os.environ, B2PROD_NONCE=nonce)


def become(here: str, folder: str, name: str, nonce: str) -> None:
    os.chdir(folder)
    log = open_log()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    command, environment = describe(here, name, nonce)
    os.execve(sys.executable, command, environment)  # noqa: S606 -- the job takes over this process; there is no shell


class SharedJob:
    """Members that share a job. `ended`: a signal asked for its end."""

    def __init__(self) -> None:
        self.ended = False
        self._process: Any = None

    def end(self, _number: int, _frame: Any) -> None:
        self.ended = True
        if self._process is not None:
            self._process.terminate()

    def run(self, here: str, folder: str, name: str, nonce: str) -> int:
        """Runs one member to its end; returns its exit status."""
        command, environment = describe(here, name, nonce)
        try:
            os.chdir(folder)
            log = open_log()
        except OSError as error:  # it has no result then; the others are not its business
            print("{}: {}".format(folder, error.strerror), file=sys.stderr)
            return 1
        # a session of its own would survive the signals by which batch systems end a job
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        os.close(log)
        if self.ended:  # between two members
            self._process.terminate()
        asked = False
        while True:
            try:
                return int(self._process.wait(PATIENCE))
            except subprocess.TimeoutExpired:
                if not asked and os.path.exists(END):
                    self._process.terminate()
                    asked = True


def main(index: int) -> int:
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "members.json"), encoding="utf-8") as stream:
        members = json.load(stream)
    if len(members[0]) == 3:
        become(here, *members[index])
    bundle, status = SharedJob(), 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, bundle.end)
    for folder, name, nonce, place in members:
        if place == index and not bundle.ended:
            status = max(status, abs(bundle.run(here, folder, name, nonce)))
    return min(status, 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
