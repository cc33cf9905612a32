"""The line that matters in a job's log, and its signature: equal for the same error on other runs, files and hosts.

Pure. Forms of basf2's lines: `framework/logging/src/LogMessage.cc`, `LogSystem.cc`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from schemas.canonical import clean_text

LENGTH = 200
"""The longest a signature is, in characters."""
LINE = 1000
"""How much of a line counts, in characters: a pattern may take the square of it."""
HEADS = 20
"""Tracebacks that are followed to their end, from the last one on: each may go through all of the log."""


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


_Find = Callable[[Sequence[str]], Iterator[tuple[int, str]]]
"""The places in a log, from 0, that one pattern points to, the most telling first; each with the kind of error."""


def _last(kind: str, pattern: str) -> _Find:
    return _search(kind, pattern, backwards=True)


def _first(kind: str, pattern: str) -> _Find:
    return _search(kind, pattern, backwards=False)


def _search(kind: str, pattern: str, *, backwards: bool) -> _Find:
    form = re.compile(pattern, re.ASCII)

    def find(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
        order = range(len(lines) - 1, -1, -1) if backwards else range(len(lines))
        return ((place, kind) for place in order if form.search(lines[place]))

    return find


_HEAD = "Traceback (most recent call last):"
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: |:?$)", re.ASCII)


def _find_exception(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The last exception that was not caught: in a chain, the one that ended the program."""
    heads = (place for place in range(len(lines) - 1, -1, -1) if lines[place].strip() == _HEAD)
    for head in islice(heads, HEADS):
        margin = len(lines[head]) - len(lines[head].lstrip())
        for place in range(head + 1, len(lines)):
            line = lines[place]
            if line.strip() and not line[margin : margin + 1].isspace():
                if _RAISED.match(line[margin:]):
                    yield place, "exception"
                break


_LEVEL = r"^(?:[0-9]+\.[0-9]{3}: )?\["

_BASF2 = (
    _first("FATAL", _LEVEL + r"FATAL\]"),
    _last("crash", r"^\s*\*\*\* Break \*\*\*"),
)
_BASF2_WEAK = (
    # before the event loop any ERROR is fatal, and the first is what the others follow from
    _last("ERROR", _LEVEL + r"ERROR\](?! in total, [0-9]+ errors)"),
)
_PYTHON = (
    _find_exception,
    _last("exception", r"^(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt): "),
)
_SYSTEM = (
    _last("memory", r"(?i)std::bad_alloc|cannot allocate memory|out of memory|oom[-_ ]kill|memory limit"),
    _last(
        "limit", r"(?i)due to time limit|TERM_(?:RUNLIMIT|CPULIMIT|MEMLIMIT)|exceeded.{0,30} (?:limit|quota)"
    ),
    _last("disk", r"(?i)no space left on device|disk quota exceeded|input/output error|stale file handle"),
    _last("crash", r"(?i)segmentation (?:fault|violation)|core dumped|floating point exception|bus error"),
    _last("loader", r"error while loading shared libraries|undefined symbol: |GLIBC\w*_[0-9.]+' not found"),
    _last("command", r"(?i): command not found$|: no such file or directory$|: permission denied$"),
)

PATTERNS: Mapping[str, Sequence[_Find]] = {
    "basf2": (*_BASF2, *_PYTHON, *_SYSTEM, *_BASF2_WEAK),
    "uproot": (*_PYTHON, *_SYSTEM),
}
"""For each application what a log is searched for, the most telling first."""

_ANY = (*_BASF2, *_PYTHON, *_SYSTEM, *_BASF2_WEAK)
_SUMMARY = re.compile(r"^\[INFO\] =*Error Summary=*", re.ASCII)
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
    for find in PATTERNS.get(application or "", _ANY):
        for offset, part in parts:
            for place, kind in find(part):
                line = clean_text(part[place]).rstrip()
                return Culprit(normalise(f"{kind}: {_strip(line)}"), first + offset + place, line)
    return None


def _strip(line: str) -> str:
    """A line without its level, its clock and the number of its process."""
    return re.sub(_LEVEL + r"[A-Z]+\] (?:\([0-9]+\) )?", "", line).strip()


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
    groups: dict[Hashable, list[_Case]] = {}
    for case in cases:
        groups.setdefault((apart(case), normalise(tell(case))), []).append(case)
    return list(groups.values())


def tell_alike(texts: Iterable[str]) -> str:
    """The first of texts that are alike, and how many others there are."""
    first, *others = dict.fromkeys(texts)
    return f"{first} (and {len(others)} alike)" if others else first
