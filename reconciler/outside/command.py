"""Runs commands of batch systems with a time limit, and returns what they print."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

MISSING = 127
"""The status of a program that cannot be started."""

MOST, BLOCK = 1 << 26, 1 << 16
"""The most bytes that a command may print (about 300 for each of 200,000 jobs), and the bytes of one read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a command.

    `status` is None if the command was killed, because it did not end in time or printed too much (`flooded`); `out` is
    then what it had printed.
    """

    command: str
    status: int | None
    out: str
    error: str
    flooded: bool = False

    @property
    def missing(self) -> bool:
        """Whether the program could not be started at all, so that certainly nothing happened."""
        return self.status == MISSING and self.error.startswith("b2prod: ")

    def describe(self) -> str:
        """One line for people: how the command ended, and the first line that it printed."""
        lines = [line.strip() for line in (self.error + "\n" + self.out).splitlines() if line.strip()]
        said = f": {lines[0][:300]}" if lines else ", and said nothing"
        if self.status is None:
            what = "said too much" if self.flooded else "did not answer in time"
            return f"`{self.command}` {what}{said if lines else ''}"
        return f"`{self.command}` ended with status {self.status}{said}"


class Deadline:
    """The time limit of a call that consists of several commands."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, share: float = 1.0) -> float:
        """Seconds that the next command may take: a share of the time that is left, and always more than 0."""
        return max(0.05, (self._end - time.monotonic()) * share)


def call(
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> Reply:
    """The reply of a command. It runs without a shell and without input, with exactly `environment` (None: ours).

    It starts in `folder` (None: in our working folder). After `seconds` the command is killed, with everything that it
    started. Bytes of its answer that are not UTF-8 are replaced. Errors are replies, not exceptions.
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
    assert process.stdout is not None  # both are pipes
    assert process.stderr is not None
    said = {process.stdout: bytearray(), process.stderr: bytearray()}
    with process:
        try:
            ended = _listen(process, said, time.monotonic() + seconds)
        except BaseException:
            _kill(process)
            raise
        if not ended:
            _kill(process)
    out, wrong = (text.decode(errors="replace") for text in said.values())
    flooded = any(len(text) >= MOST for text in said.values())
    return Reply(command[0], process.returncode if ended else None, out, wrong, flooded and not ended)


def _listen(process: subprocess.Popen[bytes], said: Mapping[IO[bytes], bytearray], end: float) -> bool:
    """Reads what a process prints, until it ends; false if it does not end in time or prints too much."""
    with selectors.DefaultSelector() as pipes:
        for pipe, text in said.items():
            pipes.register(pipe, selectors.EVENT_READ, text)
        while pipes.get_map():
            left = end - time.monotonic()
            if left <= 0 or not (ready := pipes.select(left)):
                return False
            for key, _ in ready:
                part = os.read(key.fd, BLOCK)
                key.data.extend(part)
                if not part:
                    pipes.unregister(key.fileobj)
                if len(key.data) >= MOST:
                    return False
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
