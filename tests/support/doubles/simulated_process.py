"""Reconcilers in a test's process that are killed, or stopped and continued, at a numbered effect.

Effects are a commit and a call of the engine's double (each counts before and after), and creating, linking, renaming or
removing a file. A killed one makes no more effects, even in `finally` clauses; a stopped one waits in a thread.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

FILES = {"os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
PATIENCE = 60.0
_running = threading.local()


class Killed(BaseException):
    """The process was killed."""


class SimulatedProcess:
    """Work of a reconciler as a process. `name` is its name in leases."""

    _count = 0

    def __init__(self, work: Callable[[], object], *, kill: int = 0, stop: int = 0) -> None:
        type(self)._count += 1
        self.name = f"process {self._count} on a machine of a test"
        self.effects = 0
        self.outcome: object = None
        self.error: BaseException | None = None
        self.is_stopped = False
        self._work = work
        self._kill, self._stop = kill, stop
        self._dead = False
        self._moved, self._go = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def run(self) -> object:
        """The result of the work; raises `Killed` if it was killed."""
        self._run()
        return self.end()

    def start(self) -> bool:
        """Runs until it stops or ends; returns whether it stopped."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()
        return self.is_stopped

    def wake(self) -> object:
        """Lets a stopped process continue to its end; returns the result."""
        assert self._thread
        self.is_stopped = False
        self._moved.clear()
        self._go.set()
        self._wait()
        self._thread.join(PATIENCE)
        return self.end()

    def abandon(self) -> None:
        """Kills a stopped process."""
        self._dead = True
        with contextlib.suppress(BaseException):
            self.wake()

    def pass_effect(self, *, locked: bool = False) -> None:
        """Counts an effect. `locked`: a write transaction is open, in which a stop would block everybody."""
        if self._dead:
            raise Killed
        self.effects += 1
        if self.effects == self._kill:
            self._dead = True
            raise Killed
        if self._stop and self.effects >= self._stop and not locked:
            self._stop = 0
            self.is_stopped = True
            self._moved.set()
            assert self._go.wait(PATIENCE), "nobody woke it"
            if self._dead:
                raise Killed

    def _run(self) -> None:
        _running.process = self
        try:
            self.outcome = self._work()
        except BaseException as error:  # noqa: BLE001 -- raised again in `end`
            self.error = error
        finally:
            _running.process = None
            self._moved.set()

    def _wait(self) -> None:
        assert self._moved.wait(PATIENCE), "it neither ends nor stops"

    def end(self) -> object:
        """The result of work that has ended; raises its error."""
        if self.error is not None:
            raise self.error
        return self.outcome


def find_process() -> SimulatedProcess | None:
    """The simulated process of this thread."""
    return getattr(_running, "process", None)


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """For actions of others, which are not counted as effects of our process."""
    process = find_process()
    _running.process = None
    try:
        yield
    finally:
        _running.process = process


def name_process() -> str:
    """Replaces `reconciler.ledger.writing.lease.describe_process`."""
    process = find_process()
    return process.name if process else "the test itself"


def pass_effect(*, locked: bool = False) -> None:
    """Counts an effect of the process of this thread."""
    process = find_process()
    if process is not None:
        process.pass_effect(locked=locked)


_written: dict[int, tuple[Any, int]] = {}
"""id of a connection → the connection, which is kept so that the id stays unique, and its changes at its last commit."""

_commit = DefaultDialect.do_commit


def _count_commit(dialect: DefaultDialect, connection: Any) -> None:
    changes = connection.total_changes
    wrote = changes != _written.get(id(connection), (None, 0))[1]
    _written[id(connection)] = connection, changes
    if wrote:
        pass_effect(locked=True)
    _commit(dialect, connection)
    if wrote:
        pass_effect()


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    writing = (
        event == "open"
        and isinstance(arguments[2], int)
        and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )
    if (event in FILES or writing) and find_process() is not None:
        pass_effect()


def forget() -> None:
    """Forgets the connections of earlier tests."""
    _written.clear()


_heard = False


def install(patch: Any) -> None:
    """Counts effects from now on; `patch` is pytest's monkeypatch."""
    global _heard  # noqa: PLW0603 -- an audit hook is for ever
    if not _heard:
        sys.addaudithook(_hear)
        _heard = True
    patch.setattr(DefaultDialect, "do_commit", _count_commit)
