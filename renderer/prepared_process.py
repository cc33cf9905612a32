"""A process that has imported what skims need, and forks jobs of the application `uproot` from itself.

    python -P -m renderer.prepared_process NUMBER

A skim of a thousand events takes 0.07 s of CPU time, the import of uproot 0.4 s: a fork has it already. NUMBER is an open
socket of messages. Each message asks for one job, and brings five open files:

- the attempt's folder, its locked file, and its log;
- a description: a JSON object with the name of the attempt, and with the environment of its job;
- a pipe for the answer, the id of the job's process. If the pipe is closed without an answer, the job did not begin.

The job is a session of its own, with the runtime (`renderer/runtime/job.py`) and the application as two processes, which
have none of the other files. The application is forked before the description is read, so it never has the nonce. This
process ends if the socket is closed, or if nobody asks for a job during a minute; the jobs go on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy.ma  # noqa: F401 -- numpy itself imports it late

from renderer import skimming
from renderer.applications.uproot import COMMAND
from renderer.runtime import job
from schemas.skims.cut import parse_cut

IDLE = 60.0
"""Seconds without a job after which the process ends."""
_FILES = 5


class ForkedSkim:
    """A fork that waits until it is started, and then skims. If its job ends before that, it ends too."""

    def __init__(self, withheld: Sequence[int]) -> None:
        """Forks; the new process closes the files in `withheld`."""
        waiting, self._go = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            for file in (*withheld, self._go):
                os.close(file)
            _leave_with(partial(_wait_and_skim, waiting))
        os.close(waiting)
        self._is_running = True

    def start(self, command: list[str], environment: dict[str, str], kept: list[int]) -> Any:
        """Starts a job's application: this fork if the job is a skim, as another process otherwise."""
        skims = command == [sys.executable, *COMMAND[1:]]
        with open(self._go, "w", encoding="ascii") as stream:
            stream.write(json.dumps(environment) if skims else "")
        if skims:
            return self
        self.wait()
        return job.start_process(command, environment, kept)

    def wait(self) -> int:
        """Waits for its end; returns the exit status, or the signal that ended it as a negative number."""
        status = os.waitpid(self._process, 0)[1]
        self._is_running = False
        return os.waitstatus_to_exitcode(status)

    def terminate(self) -> None:
        """Sends SIGTERM, if it has not ended."""
        if self._is_running:
            os.kill(self._process, signal.SIGTERM)


def serve(control: socket.socket) -> None:
    """Forks a job for each message, until the socket is closed or nothing comes during `IDLE` seconds."""
    signal.signal(signal.SIGCHLD, lambda _number, _frame: _reap())
    control.settimeout(IDLE)
    while True:
        try:
            message, files, _, _ = socket.recv_fds(control, 16, _FILES)
        except TimeoutError:
            return
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _leave_with(partial(_run_job, *files))
        for file in files:
            os.close(file)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run_job(folder: int, lock: int, log: int, description: int, answer: int) -> int:
    """Becomes the runtime of a job; returns its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.fchdir(folder)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(folder)
    os.close(log)
    application = ForkedSkim((description, answer))
    with open(description, encoding="ascii") as text:
        described = json.load(text)
    _take_environment({**described["environment"], "B2PROD_LOCK": str(lock)})
    with contextlib.suppress(BrokenPipeError):  # who asked has died: the job runs all the same
        os.write(answer, str(os.getpid()).encode())
    os.close(answer)
    return job.main(described["attempt"], application.start)


def _wait_and_skim(waiting: int) -> int:
    """Skims when the environment has come; returns the exit status. Does nothing if the job ended before that."""
    with open(waiting, encoding="ascii") as stream:
        environment = stream.read()
    if not environment:
        return 0
    _take_environment(json.loads(environment))
    return skimming.main(list(COMMAND[3:]))


def _take_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _leave_with(work: Callable[[], int]) -> NoReturn:
    """Does the work of a fork, and ends it as Python ends a program."""
    status = 1
    try:
        status = work()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 -- as Python: a traceback, and status 1
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # the disk is full
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main(number: int) -> int:
    """Prepares, and serves; the exit status."""
    parse_cut("True")  # prepares the grammar
    if len(os.listdir("/proc/self/task")) > 1:
        return 1  # only the thread that forks is in the fork, so what others hold there is held for ever
    gc.collect()
    gc.freeze()  # otherwise collections in the forks copy all memory
    serve(socket.socket(fileno=number))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
