"""The line that matters in a job's log, and its signature: equal for the same error on other runs, files and hosts.

Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from renderer.applications import APPLICATIONS
from renderer.applications.log_patterns import ANY, LEVEL
from schemas.files.canonical import clean_text

LENGTH = 200
"""The longest a signature is, in characters."""
LINE = 1000
"""How much of a line counts, in characters: a pattern may take the square of it."""


class Culprit(NamedTuple):
    """The line of a log that tells why the job failed.

    `number` counts lines from 1; where nobody knows how many lines are before, from the end, where the last one is -1.
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
"""What a line of basf2 has before its message: clock, level and the number of its process."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def find_signature(text: str, application: str | None = None, *, first: int = 1) -> Culprit | None:
    """Signature, number and text of the line that tells why a job failed, or None when no line does.

    Args:
        text: the log, or its end.
        application: whose patterns are looked for; all when it is None or unknown.
        first: the number of the text's first line; negative where it counts from the end of the log.
    """
    lines = [line[:LINE] for line in _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n")]
    # what basf2 repeats at its end would be found a second time, out of its order
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
"""Endings of files whose names differ between jobs; those of programs tell errors apart."""

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
        (r"#(?:(?:, |[,:./-])?#)+", "#"),  # runs and their ranges, versions, times of the day
        (r"\s+", " "),
    )
)
"""What differs between runs, files, hosts and times, and what stands for it, in this order.

Each is tried once for a run of like characters: a line may be made of what nearly fits at each of its places.
"""


def normalise(text: str) -> str:
    """The text without all that tells one occurrence of an error from another; at most `LENGTH` characters.

    Texts that differ only in names of files, runs, numbers or identifiers in hexadecimal have the same. What breakers
    count and what is shown together is decided here alone.
    """
    text = clean_text(text[:LINE])
    for form, to in _RULES:
        text = form.sub(to, text)
    return text.strip()[:LENGTH]


_Case = TypeVar("_Case")


def gather_alike(
    cases: Iterable[_Case], tell: Callable[[_Case], str], apart: Callable[[_Case], Hashable] = lambda _: None
) -> list[list[_Case]]:
    """The cases whose texts are alike together, each group and the groups in the order of the cases.

    What `apart` says differs keeps cases apart, whatever their texts are.
    """
    groups: defaultdict[Hashable, list[_Case]] = defaultdict(list)
    for case in cases:
        groups[apart(case), normalise(tell(case))].append(case)
    return list(groups.values())


def tell_alike(texts: Iterable[str]) -> str:
    """The first of texts that are alike, and how many others there are."""
    first, *others = dict.fromkeys(texts)
    return f"{first} (and {len(others)} alike)" if others else first
