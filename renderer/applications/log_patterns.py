"""Patterns of the lines in logs that tell why a job failed: of basf2, of Python, and of the system.

Source for the lines of basf2: `framework/logging/src/LogMessage.cc`, `LogSystem.cc`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

HEADS = 20
"""How many tracebacks are read, from the last one backwards; each may be as long as the log."""

Find = Callable[[Sequence[str]], Iterator[tuple[int, str]]]
"""From the lines of a log: pairs of line number, from 0, and kind of error; the most important first."""


def find_lines(kind: str, pattern: str, *, forwards: bool = False) -> Find:
    """A search for the lines with the pattern, the last one first; with `forwards` the first one first."""
    form = re.compile(pattern, re.ASCII)

    def find(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
        places = range(len(lines))
        order = places if forwards else reversed(places)
        return ((place, kind) for place in order if form.search(lines[place]))

    return find


_HEAD = "Traceback (most recent call last):"
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: |:?$)", re.ASCII)


def _find_exception(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The exceptions at the end of tracebacks, the last one first, since that one ended the program."""
    heads = (place for place in range(len(lines) - 1, -1, -1) if lines[place].strip() == _HEAD)
    for head in islice(heads, HEADS):
        margin = len(lines[head]) - len(lines[head].lstrip())
        for place in range(head + 1, len(lines)):
            line = lines[place]
            if line.strip() and not line[margin : margin + 1].isspace():
                if _RAISED.match(line[margin:]):
                    yield place, "exception"
                break


LEVEL = r"^(?:[0-9]+\.[0-9]{3}: )?\["

BASF2 = (
    find_lines("FATAL", LEVEL + r"FATAL\]", forwards=True),
    find_lines("crash", r"^\s*\*\*\* Break \*\*\*"),
)
BASF2_WEAK = (
    # before the event loop any ERROR is fatal
    find_lines("ERROR", LEVEL + r"ERROR\](?! in total, [0-9]+ errors)"),
)
PYTHON = (
    _find_exception,
    find_lines("exception", r"^(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt): "),
)
SYSTEM = tuple(
    find_lines(kind, pattern)
    for kind, pattern in (
        ("memory", r"(?i)std::bad_alloc|cannot allocate memory|out of memory|oom[-_ ]kill|memory limit"),
        ("limit", r"(?i)due to time limit|TERM_(?:RUN|CPU|MEM)LIMIT|exceeded.{0,30} (?:limit|quota)"),
        ("disk", r"(?i)no space left on device|disk quota exceeded|input/output error|stale file handle"),
        ("crash", r"(?i)segmentation (?:fault|violation)|core dumped|floating point exception|bus error"),
        ("loader", r"error while loading shared libraries|undefined symbol: |GLIBC\w*_[0-9.]+' not found"),
        ("command", r"(?i): command not found$|: no such file or directory$|: permission denied$"),
    )
)

ANY = (*BASF2, *PYTHON, *SYSTEM, *BASF2_WEAK)
"""All patterns, for logs of an unknown application, the most important first."""
