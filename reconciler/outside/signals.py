"""Signals that tell this process to end: it does so in a bounded time, says what goes on, and leaves no traceback.

The first one unwinds what is being done, as Ctrl-C does in Python; where something swallows it or takes too long, and at
another one, the process ends at once. Whatever it was in the middle of, the ledger is as after a kill: consistent.
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
"""Seconds in which what was told to end softly may come to its end by itself."""

LAST = 30.0
"""Seconds from the moment that it is unwound to the end of the process, however far it is."""

TEXT = "the ledger is consistent, and `b2prod reconcile` goes on from there"


class EndedBySignal(KeyboardInterrupt):
    """A signal told this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


class _Course:
    """How far the end of this process has come."""

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
        """The hook for exceptions that Python cannot raise: where one of ours came in a bad place, it comes again."""
        if not isinstance(unraisable.exc_value, EndedBySignal):
            sys.__unraisablehook__(unraisable)
            return
        self.unwinding = False
        _later(0.05, signal.pthread_kill, threading.main_thread().ident, unraisable.exc_value.number)


_COURSE = _Course()


def listen() -> None:
    """Takes the signals that end a process, from the first of its imports on; those that it was told to ignore stay so."""
    _COURSE.loading = True
    sys.unraisablehook = _COURSE.take_swallowed
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _COURSE.take)


def begin() -> None:
    """Ends the time in which nothing was begun, and a signal need not unwind anything."""
    _COURSE.loading = False


def find_told() -> int | None:
    """The signal that told this process to end, the last one if several did."""
    return _COURSE.told


def conclude(code: int) -> None:
    """Says that all is done but the end itself: a signal ends the process now with the exit code that it has anyway."""
    _COURSE.code = code


@contextlib.contextmanager
def ending_softly() -> Iterator[threading.Event]:
    """What is set by SIGTERM and SIGHUP; they unwind only what has not ended by itself in time, or what they tell twice.

    Raises:
        Ended: it has ended by itself.
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
    """The signal that an exception stands for, or what it was made from; SIGINT where it is Python's own."""
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
