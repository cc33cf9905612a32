"""Finds the line of a job's log that tells why it failed, and its signature: the same for the same error of other jobs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from renderer.applications import APPLICATIONS
from renderer.applications.log_patterns import ANY, LEVEL
from schemas.files.canonical import clean_text

LENGTH = 200
"""The greatest length of a signature, in characters."""
LINE = 1000
"""How many characters of a line are searched: the time of a pattern may grow with their square."""


class Culprit(NamedTuple):
    """The line of a log that tells why the job failed.

    `number` counts from 1; if the beginning of the log is not known, it counts from the end, where the last line is -1.
    """

    signature: str
    number: int
    line: str

    @property
    def place(self) -> str:
        """Where the line is, in words."""
        return f"line {self.number}" if self.number >= 0 else f"line {-self.number} from the end"


_SUMMARY = re.compile(r"^\[INFO\] =*Error Summary=*", re.ASCII)
_HEAD = re.compile(LEVEL + r"[A-Z]+\] (?:\([0-9]+\) )?")
"""The beginning of a line of basf2, before its message: time, level and number of the process."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def find_signature(text: str, application: str | None = None, *, first: int = 1) -> Culprit | None:
    """The line that tells why a job failed; None if there is no such line.

    Args:
        text: the log, or its end.
        application: its patterns are searched; all patterns if it is None or unknown.
        first: the number of the text's first line; negative if it counts from the end of the log.
    """
    lines = [line[:LINE] for line in _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n")]
    # basf2 repeats messages at the end, in another order: that part is searched after the rest
    summary = next((place for place, line in enumerate(lines) if _SUMMARY.match(line)), len(lines))
    parts = ((0, lines[:summary]), (summary, lines[summary:]))
    known = APPLICATIONS.get(application or "")
    for find in ANY if known is None else known.patterns:
        for offset, part in parts:
            for place, kind in find(part):
                line = clean_text(part[place]).rstrip()
                told = _HEAD.sub("", line).strip()
                return Culprit(normalise(f"{kind}: {told}"), first + offset + place, line)
    return None


_DATA = r"(?:s?root|json|csv|txt|dat|db|sqlite|h5|parquet|iov|log|out|err|tmp|part|gz|tar)"
"""Endings of files whose names differ between jobs; names of programs stay, since they distinguish errors."""

_RULES: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern, re.ASCII), to)
    for pattern, to in (
        (r"\b[a-z][a-z0-9+.-]{0,20}://[^\s'\"<>)\],;]+", "<url>"),
        (rf"(['\"`])[^'\"`\s][^'\"`]*(\.{_DATA})(?:-\d+)?\1", r"\1<path>\2\1"),
        (rf"(?<![^\s'\"<>()\[\],;:])[^\s'\"<>()\[\],;:]+(\.{_DATA})(?:-\d+)?(?![\w-])", r"<path>\1"),
        (
            r"(?<![\w@.])(?:~|\.{1,2})?/[^\s'\"<>()\[\],;:]*?(\.[A-Za-z]\w{0,9})?(?:-\d+)?(?=[\s'\"<>()\[\],;:]|$)",
            r"<path>\1",
        ),
        (r"\bb2p-[\w@.-]+", "<attempt>"),
        (r"\b(adler32|crc32|md5|sha\d+):[0-9a-fA-F]+\b", r"\1:#"),
        (r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b", "#"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?\b", "<time>"),
        (r"\b0x[0-9a-fA-F]+\b", "#"),
        (r"\b[0-9a-fA-F]{16,}\b|\b(?=[0-9a-fA-F]{0,15}\d)(?=\d{0,15}[a-fA-F])[0-9a-fA-F]{8,15}\b", "#"),
        (r"\b(e|r|f|run|exp|evt|event)_?\d+\b", r"\1#"),
        (r"\b([A-Za-z]+[_-]?)\d{3,}\b", r"\1#"),
        (
            r"(?<![A-Za-z_])[-+]?\d+(?:,\d{3}(?!\d))*(?:\.\d+)?(?:[eE][-+]?\d+)?(?=(?:[kMGTmun]?i?B|[mun]?s)\b|(?![A-Za-z_]))",
            "#",
        ),
        (r"#(?:(?:, |[,:./-])?#)+", "#"),  # runs and ranges of runs, versions, times of day
        (r"\s+", " "),
    )
)
"""Patterns of what differs between runs, files, hosts and times, with their replacements; applied in this order.

A pattern must not start again at each character of a word: a long line that almost matches would take too long.
"""


def normalise(text: str) -> str:
    """The signature of a text, at most `LENGTH` characters.

    Texts that differ only in names of files, runs, numbers or hexadecimal identifiers have the same signature. Failures
    with the same signature are counted and shown together.
    """
    text = clean_text(text[:LINE])
    for form, to in _RULES:
        text = form.sub(to, text)
    return text.strip()[:LENGTH]


_Case = TypeVar("_Case")


def gather_alike(
    cases: Iterable[_Case], tell: Callable[[_Case], str], apart: Callable[[_Case], Hashable] = lambda _: None
) -> list[list[_Case]]:
    """Groups of cases whose texts have the same signature, in the order of the cases.

    Cases for which `apart` returns different values are never in one group.
    """
    groups: defaultdict[Hashable, list[_Case]] = defaultdict(list)
    for case in cases:
        groups[apart(case), normalise(tell(case))].append(case)
    return list(groups.values())


def tell_alike(texts: Iterable[str]) -> str:
    """The first of some similar texts, and how many other texts there are; equal texts count once."""
    first, *others = dict.fromkeys(texts)
    return f"{first} (and {len(others)} alike)" if others else first
