"""Processes on this machine.

An attempt's folder has a file `lock` that is locked before the process starts and whose open descriptor the process
inherits. The kernel gives the lock back when the last holder ends, and never before: so whoever can take it knows
that the attempt has ended, also after the death of the reconciler that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from reconciler.engine import Accepted, Answer, Batch, Complaint, Observation, Refused, Sighting, Ticket
from schemas.site import Site

RUNTIME = Path(__file__).resolve().parents[2] / "renderer" / "runtime" / "job.py"
LOCK = "lock"
LOG = "log"
STARTED = "started"


class LocalEngine:
    """Starts the job runtime as a process of its own session, at most `slots` at a time."""

    shared = True
    attached = True
    visibility = timedelta(0)

    def __init__(self, site: Site) -> None:
        self.slots = site.slots or os.cpu_count() or 1
        self.width = self.slots
        self._launcher = site.basf2_launcher
        self._environment = {"PATH", "HOME", "LANG", "TMPDIR", *site.environment}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Starts one process for each attempt."""
        return [self._start(ticket) for ticket in batch.tickets]

    def find(self, tickets: Sequence[Ticket]) -> Mapping[str, Sequence[str]]:
        """The process of each attempt that was started, running or not."""
        seen = self.query(tickets)
        return {
            ticket.name: [_read_process(ticket.folder) or "starting"]
            if seen[ticket.name].sighting is not Sighting.ABSENT
            else []
            for ticket in tickets
        }

    def query(self, tickets: Sequence[Ticket]) -> Mapping[str, Observation]:
        """Running as long as the attempt's lock is held; absent where the job never came to its first instruction."""
        return {ticket.name: self._look(ticket) for ticket in tickets}

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """Sends SIGTERM to the process groups of the attempts that are running."""
        for ticket in tickets:
            process = _read_process(ticket.folder)
            if process and self._look(ticket).sighting is Sighting.RUNNING:
                with contextlib.suppress(OSError):  # ended just now
                    os.killpg(int(process), signal.SIGTERM)

    def fetch(self, ticket: Ticket) -> None:
        """Nothing: jobs write into the attempts' folders."""

    def lifetime(self) -> timedelta | None:
        """None: no credential is needed."""

    def examine(self) -> Sequence[Complaint]:
        """A launcher that is not there."""
        return tuple(self._examine())

    def _examine(self) -> Iterator[Complaint]:
        if self._launcher and shutil.which(self._launcher[0]) is None:
            yield Complaint(
                f"basf2's launcher {self._launcher[0]} is not here",
                "install it, or correct `launchers` in the site's file",
            )

    def _start(self, ticket: Ticket) -> Answer:
        try:
            lock = os.open(ticket.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            return Refused(f"the job cannot be started: {error.strerror}")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            inherited = {name: os.environ[name] for name in self._environment if name in os.environ}
            with (ticket.folder / LOG).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, RUNTIME, ticket.name, ticket.nonce],
                    cwd=ticket.folder,
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
        self._children[ticket.name] = process
        return Accepted(str(process.pid))

    def _look(self, ticket: Ticket) -> Observation:
        try:
            lock = os.open(ticket.folder / LOCK, os.O_RDONLY)
        except FileNotFoundError:
            return Observation(Sighting.ABSENT)
        except OSError as error:
            return Observation(Sighting.UNKNOWN, error.strerror)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Observation(Sighting.RUNNING)
        finally:
            os.close(lock)
        child = self._children.pop(ticket.name, None)
        if child is not None:
            child.wait()  # nothing holds its lock: it is past its last instruction, or never had a first
        return Observation(Sighting.ENDED if _read_process(ticket.folder) else Sighting.ABSENT)


def _read_process(folder: Path) -> str | None:
    """The process that began an attempt's job; None where none did."""
    try:
        words = (folder / STARTED).read_text().split()
    except OSError:
        return None
    return words[-1] if words and words[-1].isdecimal() else None
