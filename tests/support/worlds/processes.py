"""Other processes of tests: forking, waiting, finding by working folder, killing."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path


def find_processes(folder: Path) -> list[int]:
    """The processes whose working folder is below `folder`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                here = os.readlink(f"/proc/{entry}/cwd")
            except OSError:
                continue
            if Path(here.removesuffix(" (deleted)")).is_relative_to(folder):
                found.append(int(entry))
    return found


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition that other processes fulfil.

    Raises:
        AssertionError: it was not fulfilled in time.
    """
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.005)


def run_forked(work: Callable[[], object]) -> int:
    """Runs `work` in a child process; returns the exit code: 0, 1 with a traceback on stderr, or the child's own."""
    return wait_forked(start_forked(work))


def wait_forked(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start_forked(work: Callable[[], object]) -> int:
    """Starts `work` in a child process; returns its id."""
    with warnings.catch_warnings():
        # threads of xdist, which the child does not need
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 -- nothing may leave the child but by _exit
            os.write(2, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    return child


def kill_when(work, true):
    """Runs `work` in another process, and kills that when `true` returns true."""
    child = start_forked(work)
    wait_until(true)
    os.kill(child, signal.SIGKILL)
    wait_forked(child)
