"""Processes on this machine.

An attempt's folder has a file `lock` that is locked before the process starts and whose open descriptor the process
inherits. The kernel gives the lock back when the last holder ends, and never before: so whoever can take it knows
that the attempt has ended, also after the death of the reconciler that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.engine import Accepted, Refused, Sighting, Submission
from schemas.site import Site

RUNTIME = Path(__file__).resolve().parents[2] / "renderer" / "runtime" / "job.py"
LOCK = "lock"
LOG = "log"
STARTED = "started"


class LocalEngine:
    """Starts the job runtime as a process of its own session, at most `slots` at a time."""

    def __init__(self, site: Site) -> None:
        self.slots = site.slots or os.cpu_count() or 1
        self._environment = {"PATH", "HOME", "LANG", "TMPDIR", *site.environment}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Accepted | Refused]:
        """Starts one process for each submission."""
        return [self._start(submission) for submission in submissions]

    def query(self, submissions: Sequence[Submission]) -> Mapping[str, Sighting]:
        """Running as long as the attempt's lock is held; an attempt without a lock file was never started."""
        return {submission.name: self._look(submission) for submission in submissions}

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """Sends SIGTERM to the process groups of the attempts that are running."""
        for submission in submissions:
            if self._look(submission) is Sighting.RUNNING:
                with contextlib.suppress(OSError, ValueError):  # not begun yet, or ended just now: ask again
                    os.killpg(int((submission.folder / STARTED).read_text().split()[-1]), signal.SIGTERM)

    def _start(self, submission: Submission) -> Accepted | Refused:
        try:
            lock = os.open(submission.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            return Refused(f"the job cannot be started: {error.strerror}")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            inherited = {name: os.environ[name] for name in self._environment if name in os.environ}
            with (submission.folder / LOG).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, RUNTIME, submission.name, submission.nonce],
                    cwd=submission.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**inherited, "B2PROD_LOCK": str(lock)},
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        except OSError as error:
            return Refused(f"the job cannot be started: {error.strerror}")
        finally:
            os.close(lock)
        self._children[submission.name] = process
        return Accepted(str(process.pid))

    def _look(self, submission: Submission) -> Sighting:
        try:
            lock = os.open(submission.folder / LOCK, os.O_RDONLY)
        except FileNotFoundError:
            return Sighting.ENDED
        except OSError:
            return Sighting.UNKNOWN
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Sighting.RUNNING
        finally:
            os.close(lock)
        child = self._children.pop(submission.name, None)
        if child is not None:
            child.wait()  # nothing holds its lock: it is past its last instruction, or never had a first
        return Sighting.ENDED
