"""Commands of batch systems: argument vectors with an end in time, and all that they said."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MISSING = 127
"""The status of a program that cannot be started."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command answered. `status` is None where it did not end in time, and was killed; `out` is then what came."""

    command: str
    status: int | None
    out: str
    error: str

    @property
    def missing(self) -> bool:
        """Whether the program could not be started at all: certainly nothing happened."""
        return self.status == MISSING and self.error.startswith("b2prod: ")

    def describe(self) -> str:
        """One line for people: how it ended, and the last that it said."""
        lines = [line.strip() for line in (self.error + "\n" + self.out).splitlines() if line.strip()]
        said = f": {lines[0][:300]}" if lines else ", and said nothing"
        if self.status is None:
            return f"`{self.command}` did not answer in time{said if lines else ''}"
        return f"`{self.command}` ended with status {self.status}{said}"


class Deadline:
    """The end of a call that consists of several commands."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, share: float = 1.0) -> float:
        """Seconds that the next command may take: a share of what is left, and never nothing."""
        return max(0.05, (self._end - time.monotonic()) * share)


def call(
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> Reply:
    """Runs a command without a shell and without input, with all of `environment` and nothing else (None: ours).

    It is started in `folder`, or in ours.
    At the end of its time the command is killed with whatever it started. What is no UTF-8 in its answer is replaced.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        return Reply(command[0], MISSING, "", f"b2prod: {command[0]} cannot be started: {text}")
    with process:
        status: int | None
        try:
            out, wrong = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired as late:
            status, out, wrong = None, late.stdout or b"", late.stderr or b""
            _kill(process)
        except BaseException:
            _kill(process)
            raise
    return Reply(command[0], status, out.decode(errors="replace"), wrong.decode(errors="replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
