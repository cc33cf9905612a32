"""Skims are forked from one process that has imported uproot (`renderer/prepared_process.py`), not each started afresh.

Who starts a job holds the attempt's lock until the job has it. A message on its way holds it, too, and lets it go if nobody can
receive the message any more. So also here the lock is free only if the job has ended, or will never begin.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path

from reconciler.ledger.writing.lease import CALL
from reconciler.model.engine import JobHandle
from reconciler.outside.plain_files import NotPlain, read_plain
from renderer.applications.uproot import COMMAND

MODULE = "renderer.prepared_process"
PATIENCE = 0.3 * CALL
"""Seconds for the prepared process to start and to answer. A call of the engine waits for it three times at most."""
_LARGEST = 1 << 26


class Undecided(Exception):
    """A job may begin or not; it holds its lock until that is decided."""


class PreparedProcess:
    """The prepared process, which gets `environment`: what all jobs may have. It ends with this object."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Starts it.

        Raises:
            OSError: it cannot be started.
        """
        self._control, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = given.fileno()
        command = [sys.executable, "-P", "-m", MODULE, str(number)]
        # a process with threads must not fork
        own = {**environment, "OPENBLAS_NUM_THREADS": "1"}
        nothing = subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                command,
                cwd="/",
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                env=own,
                pass_fds=(number,),
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            raise
        finally:
            given.close()
        self.id = process.pid
        self.end = weakref.finalize(self, _end, self._control, process, os.getpid())

    def start(self, folder: int, lock: int, log: int, description: int) -> str | None:
        """Starts a job with open files; returns the id of its process. None: it did not begin, and never will.

        Raises:
            Undecided: it may begin or not. The prepared process was ended.
            OSError: the job cannot be sent.
        """
        told, answer = os.pipe()
        with open(told, "rb", buffering=0) as stream:
            with open(answer, "wb"):  # closed when it was sent: the job has the last copy, if there is a job
                socket.send_fds(self._control, [b"job"], [folder, lock, log, description, answer])
            if not _is_told(told):
                self.end()  # what it did not do by now, it never does
                if not _is_told(told):
                    raise Undecided
            return stream.read(32).decode() or None


def _is_told(told: int) -> bool:
    """Whether the answer comes in time, or it is certain that none comes."""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    return bool(poll.poll(1000 * PATIENCE))


def _end(control: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    control.close()
    if os.getpid() == owner:  # and not a fork of it
        process.kill()
        process.wait()


class PreparedJobs:
    """Starts those jobs of an engine that are skims; `environment` is what they all get, and perhaps more."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.process: PreparedProcess | None = None
        """None before the first skim, and when it was of no use."""
        self._environment = environment
        self._is_useless = False

    def start(self, handle: JobHandle, log: Path, environment: Mapping[str, str], lock: int) -> str | None:
        """Starts a job; returns the id of its process. None: it did not begin, and must be started in another way.

        Raises:
            Undecided: it may begin or not.
            OSError: the folder cannot be used.
        """
        if self._is_useless or not self.is_prepared(handle):
            return None
        described = json.dumps({"attempt": handle.name, "environment": dict(environment)})
        with contextlib.ExitStack() as files:
            folder = os.open(handle.folder, os.O_RDONLY | os.O_DIRECTORY)
            files.callback(os.close, folder)
            written = files.enter_context(log.open("ab"))
            description = files.enter_context(open(os.memfd_create("job"), "w+b"))
            description.write(described.encode())
            description.seek(0)
            return self._start(folder, lock, written.fileno(), description.fileno())

    def _start(self, *files: int) -> str | None:
        """Starts a job with open files. A process that ended is replaced, but not one that could start no job at all."""
        while not self._is_useless:
            is_new = self.process is None
            try:
                self.process = self.process or PreparedProcess(self._environment)
                if started := self.process.start(*files):
                    return started
            except OSError:
                pass
            except Undecided:
                self._is_useless = True
                raise
            self._is_useless = is_new
            if self.process is not None:
                self.process.end()
                self.process = None
        return None

    def is_prepared(self, handle: JobHandle) -> bool:
        """Whether a job is a skim without a launcher."""
        try:
            job = json.loads(read_plain(handle.folder / "job.json", _LARGEST))
        except (OSError, NotPlain, ValueError, RecursionError):
            return False
        return isinstance(job, dict) and job.get("command") == list(COMMAND)
