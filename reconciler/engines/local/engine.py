"""Processes on this machine.

An attempt's folder has a file `lock`. It is locked before the process starts, and the process inherits its open descriptor.
The kernel releases the lock when the last holder ends, and never before. So the attempt has ended if the lock is free, also
after the reconciler that started it has died. Because a job can remove the file, the engine also looks for a process that
was started for the attempt and works in its folder. What a job wrote itself (its mark, its lock) never decides alone which
process gets a signal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from reconciler.engines.attempt_folders import start_process, take_lock
from reconciler.engines.local.prepared_jobs import PreparedJobs, Undecided
from reconciler.engines.shared_folders import VARIABLES, SharedFolders
from reconciler.model.engine import (
    Accepted,
    Answer,
    Batch,
    Complaint,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    Uncertain,
)
from reconciler.outside.plain_files import NotPlain, read_plain
from schemas.policy.site import Site

RUNTIME = Path(__file__).resolve().parents[3] / "renderer" / "runtime" / "job.py"
LOCK = "lock"
LOG = "log"
STARTED = "started"
_PROCESS = re.compile(rb"[1-9][0-9]{0,9}")


class LocalEngine(SharedFolders):
    """Starts the job runtime as a process of its own session, at most `slots` at a time; that of a skim as a fork, if possible."""

    attached = True
    visibility = timedelta(0)

    def __init__(self, site: Site) -> None:
        self.slots = site.slots or os.cpu_count() or 1
        self.width = self.slots
        self._launchers = site.launchers
        self._environment = {*VARIABLES, *site.environment}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._prepared = PreparedJobs(self._list_inherited())

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Starts one process for each attempt."""
        return [self._start(handle) for handle in batch.handles]

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """The process of each attempt that was started, running or not."""
        seen = self.query(handles)
        return {
            handle.name: [_read_process(handle.folder) or "starting"]
            if seen[handle.name].sighting is not Sighting.ABSENT
            else []
            for handle in handles
        }

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """Running as long as somebody holds the attempt's lock; absent if the job never reached its first instruction."""
        return {handle.name: self._look(handle) for handle in handles}

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Sends SIGTERM to the process groups of the attempts that are running."""
        for handle in handles:
            if self._look(handle).sighting is Sighting.RUNNING:
                for group in _find_groups(handle):
                    with contextlib.suppress(OSError):  # it ended just now
                        os.killpg(group, signal.SIGTERM)

    def examine(self) -> Sequence[Complaint]:
        """The launchers that are missing."""
        remedy = "install it, or correct `launchers` in the site's file"
        return [
            Complaint(f"{application}'s launcher {launcher[0]} is not here", remedy)
            for application, launcher in self._launchers.items()
            if shutil.which(launcher[0]) is None
        ]

    def _start(self, handle: JobHandle) -> Answer:
        environment = {**self._list_inherited(), "B2PROD_NONCE": handle.nonce}
        command = [sys.executable, str(RUNTIME), handle.name]
        log = handle.folder / LOG
        try:
            lock = take_lock(handle.folder / LOCK)
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, lock)
                if forked := self._prepared.start(handle, log, environment, lock):
                    return Accepted(forked)
                stack.pop_all()
            environment["B2PROD_LOCK"] = str(lock)
            process = start_process(command, handle.folder, log, environment, lock)
        except Undecided:
            return Uncertain("its process was asked for, and did not answer")
        except OSError as error:
            return Refused(f"the job cannot be started: {error.strerror}")
        self._children[handle.name] = process
        return Accepted(str(process.pid))

    def _list_inherited(self) -> dict[str, str]:
        return {name: os.environ[name] for name in self._environment if name in os.environ}

    def _look(self, handle: JobHandle) -> Observation:
        try:
            locked = _is_locked(handle.folder / LOCK)
        except OSError as error:
            return Observation(Sighting.UNKNOWN, error.strerror)
        if locked or _find_groups(handle):
            return Observation(Sighting.RUNNING)
        child = self._children.pop(handle.name, None)
        if child is not None:
            child.wait()  # no process holds its lock or works in its folder: it is ending, or never began
        return Observation(Sighting.ENDED if _read_process(handle.folder) else Sighting.ABSENT)


def _is_locked(file: Path) -> bool:
    """Whether somebody holds the lock; false if the file does not exist."""
    try:
        lock = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _read_process(folder: Path) -> str | None:
    """The id of the process in the mark that an attempt's job wrote when it began; None if there is no valid mark."""
    try:
        words = read_plain(folder / STARTED, 4096).split()
    except (OSError, NotPlain):
        return None
    return words[-1].decode() if words and _PROCESS.fullmatch(words[-1]) else None


def _find_groups(handle: JobHandle) -> list[int]:
    """The process groups that reference or mark name, if one of their processes works in the attempt's folder.

    The folder is known by its name, which is unique, also after it was removed. The system uses process numbers again,
    and a job can write any number into its mark, so neither reference nor mark is trusted alone.
    """
    told = {handle.reference, _read_process(handle.folder)}
    wanted = {int(one) for one in told if one and _PROCESS.fullmatch(one.encode())} - {1, os.getpgrp()}
    return sorted(group for group in wanted if _works_in(handle.folder.name, group))


def _works_in(name: str, group: int) -> bool:
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it ended just now, or is another user's
            if os.getpgid(int(entry)) == group:
                here = os.readlink(f"/proc/{entry}/cwd").removesuffix(" (deleted)")
                if os.path.basename(here) == name:
                    return True
    return False
