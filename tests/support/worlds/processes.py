"""Other processes of tests: started as forks, waited for, found by where they work, and killed."""

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
    """Waits for something that other processes do.

    Raises:
        AssertionError: it did not happen.
    """
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.005)


def run_forked(work: Callable[[], object]) -> int:
    """Runs something in a child process; its exit code: 0, or 1 with the traceback on stderr, or what it chose itself."""
    return wait_forked(start_forked(work))


def wait_forked(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start_forked(work: Callable[[], object]) -> int:
    """Begins something in a child process; the child's id."""
    with warnings.catch_warnings():
        # of threads: xdist's, which the child does not need
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
    """Does something in another process, and kills that when something is true."""
    child = start_forked(work)
    wait_until(true)
    os.kill(child, signal.SIGKILL)
    wait_forked(child)
