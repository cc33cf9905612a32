"""Ends this process after a signal: within a limited time, with a message, and without a traceback.

The first signal raises an exception in the running work, as Ctrl-C does in Python. If the work goes on for too long, or
at a second signal, the process ends at once. The ledger is consistent in any case, as after a kill.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

GRACE = 20.0
"""Seconds in which work that was asked to end may end by itself."""

LAST = 30.0
"""Seconds from the exception to the end of the process, in any case."""

TEXT = "the ledger is consistent, and `b2prod reconcile` goes on from there"


class EndedBySignal(KeyboardInterrupt):
    """A signal told this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


class _Course:
    """How this process reacts to a signal now, and what it has been told."""

    def __init__(self) -> None:
        self.loading = False
        self.told: int | None = None
        self.code: int | None = None
        self.softly: threading.Event | None = None
        self.pressing: threading.Timer | None = None
        self.unwinding = False

    def take(self, number: int, _frame: FrameType | None) -> None:
        """The handler; Python runs it in the main thread, between two instructions."""
        if self.code is not None:
            os._exit(self.code)
        self.told = number
        if self.loading or self.unwinding:
            leave(number)
        if self.softly is not None and not self.softly.is_set() and number != signal.SIGINT:
            self.softly.set()
            self.pressing = _later(GRACE, signal.pthread_kill, threading.main_thread().ident, number)
            return
        self.unwinding = True
        _later(LAST, leave, number)
        raise EndedBySignal(number)

    def take_swallowed(self, unraisable: Any) -> None:
        """The hook for exceptions that Python cannot raise: if it is `EndedBySignal`, the signal is sent again."""
        if not isinstance(unraisable.exc_value, EndedBySignal):
            sys.__unraisablehook__(unraisable)
            return
        self.unwinding = False
        _later(0.05, signal.pthread_kill, threading.main_thread().ident, unraisable.exc_value.number)


_COURSE = _Course()


def listen() -> None:
    """Handles the signals in `ENDING` from now on, before the imports; signals that the process ignores stay ignored."""
    _COURSE.loading = True
    sys.unraisablehook = _COURSE.take_swallowed
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _COURSE.take)


def begin() -> None:
    """Says that work begins: from now on a signal raises an exception, and does not end the process at once."""
    _COURSE.loading = False


def find_told() -> int | None:
    """The last signal that told this process to end; None if there was none."""
    return _COURSE.told


def conclude(code: int) -> None:
    """Says that the work is done: from now on a signal ends the process at once, with the exit code `code`."""
    _COURSE.code = code


@contextlib.contextmanager
def ending_softly() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGHUP set; they raise an exception only after `GRACE` seconds, or at a second signal.

    Raises:
        EndedBySignal: the event was set, and the block ended by itself.
    """
    softly = _COURSE.softly = threading.Event()
    try:
        yield softly
    finally:
        _COURSE.softly = None
        if _COURSE.pressing is not None:
            _COURSE.pressing.cancel()
    if softly.is_set():
        raise EndedBySignal(_COURSE.told or signal.SIGTERM)


def find_number(error: BaseException | None) -> int:
    """The number of the signal in an exception or in its causes; SIGINT if there is none."""
    while error is not None:
        if isinstance(error, EndedBySignal):
            return error.number
        error = error.__cause__ or error.__context__
    return signal.SIGINT


def leave(number: int) -> None:
    """Ends the process at once, as a kill would, but with a line."""
    what = "nothing was begun" if _COURSE.loading else f"jobs that were submitted run on; {TEXT}"
    with contextlib.suppress(OSError):
        os.write(2, f"b2prod: ended by {signal.Signals(number).name}; {what}\n".encode())
    os._exit(128 + number)


def _later(seconds: float, work: Any, *words: Any) -> threading.Timer:
    timer = threading.Timer(seconds, work, words)
    timer.daemon = True
    timer.start()
    return timer
