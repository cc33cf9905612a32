"""Reads what Belle II's production commands (`gb2_…`) print, as far as basf2's scripts and their users show it.

The texts have no documented form. A table has a heading that begins with an id and a name; its rows begin with a number
and a name, and contain a state. A production is absent only if a whole table does not list it, or if the text says that
there is nothing. A notice, another format, or a text that was cut short proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

EARLY = ("Initialized", "Registered", "ToApprove", "Approved")
"""Before it runs: its files must be uploaded, then it must be approved; `Approved` waits for the computing group."""

RUNNING, DONE = "Running", "Done"
CANCELLED = ("Cancelled", "Canceled", "ToCancel")
STATES = {state.lower(): state for state in (*EARLY, RUNNING, DONE, *CANCELLED)}

_ROW = re.compile(r"\s*(\d{1,12})\s+([A-Za-z0-9_.-]+)(?:\s+(.*))?")
_COUNTS = re.compile(r"(?<!\d)(\d{1,9})\s{0,9}/\s{0,9}(\d{1,9})(?!\d)")
_HEADING = re.compile(r"\W*\w{0,20}id\W+(?:production)?name\b.*", re.IGNORECASE)
_NUMBER = re.compile(r"\d{4}")
_WRONG = re.compile(
    r"error|exception|traceback|fail|refused|denied|expired|unavailable|timed? ?out", re.IGNORECASE
)
_NOTHING = re.compile(
    r"\W*no (?:matching )?(?:productions?|datasets?|entr(?:y|ies)|files?)\b(?:[^.:;]{0,80}\bfound\b[^.:;]{0,80})?\W*",
    re.IGNORECASE,
)
"""A whole line that only says that there is nothing; longer notices may contain such words, too."""
_LEFT = re.compile(r"timeleft\s{0,99}:\s{0,99}(\d{1,6}):(\d\d)(?::(\d\d))?", re.IGNORECASE)
_GROUP = re.compile(r"DIRAC group\s*:\s*(\S+)", re.IGNORECASE)


class UnreadableReply(Exception):
    """The answer of a command has no known form, and proves nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Production:
    """A row of `gb2_prod_status`. `state` is None if it is not known; `done` of `total` tasks are finished."""

    number: int
    name: str
    state: str | None
    text: str
    done: int | None = None
    total: int | None = None

    @property
    def is_short(self) -> bool:
        """Whether it counts fewer tasks done than it has."""
        return self.done is not None and self.total is not None and self.done < self.total


def read_status(out: str, error: str = "", due: Iterable[str] = ()) -> list[Production]:
    """The productions of a table; empty if the text says that there are none, or has a heading without rows.

    Raises:
        UnreadableReply: the text has words of an error, or no such table; a line with a number is not a known row; or a
            name of `due` is in the text, but in no row.
    """
    text = _join(out, error)
    rows, rest, headed = [], [], False
    for line in text.replace("|", " ").splitlines():
        if _HEADING.fullmatch(line):
            headed = True
            continue
        found = _ROW.fullmatch(line) if headed else None
        if found is None:
            rest.append(line.strip(" -=+"))
            continue
        words = found[3] or ""
        states = [STATES[word] for word in words.lower().replace("=", " ").split() if word in STATES]
        counts = _COUNTS.search(words)
        done, total = (int(counts[1]), int(counts[2])) if counts else (None, None)
        # `Running Done=400/402`: of two words the first one is the state
        state = states[0] if states else None
        row = Production(int(found[1]), found[2], state, " ".join(words.split()), done, total)
        if row not in rows:  # a table may be printed twice
            rows.append(row)
    said = [line for line in rest if line]
    if wrong := [line for line in said if _WRONG.search(line)]:
        raise UnreadableReply(wrong[0][:300])
    if not headed and not any(_NOTHING.fullmatch(line) for line in said):
        shown = said[0][:300] if said else "an empty text"
        raise UnreadableReply(f"neither a table nor a word of nothing: {shown}")
    if strange := [line for line in said if _NUMBER.search(line)]:
        raise UnreadableReply(f"a line with a number is not a row: {strange[0][:300]}")
    if lost := {name for name in due if name.lower() in text.lower()} - {row.name for row in rows}:
        raise UnreadableReply(f"{min(lost)} is in it, and in no row of its own")
    return rows


def read_files(out: str, folder: str, error: str = "") -> list[str]:
    """The files below `folder` that `gb2_ds_list` shows, each once, sorted; empty if it says that there are none.

    Raises:
        UnreadableReply: the text has words of an error, or neither files nor the words for "no files".
    """
    text = _join(out, error)
    files, rest = set(), []
    for line in text.splitlines():
        words = line.split()
        paths = [word for word in words if word.startswith(f"{folder}/") and word.endswith(".root")]
        files.update(paths)
        if words and not paths:
            rest.append(line.strip())
    wrong = [line for line in rest if _WRONG.search(line) and not _NOTHING.fullmatch(line)]
    if wrong:
        raise UnreadableReply(wrong[0][:300])
    if not files and not any(_NOTHING.fullmatch(line) for line in rest):
        shown = rest[0][:300] if rest else "an empty text"
        raise UnreadableReply(f"neither files nor a word of nothing: {shown}")
    return sorted(files)


def _join(out: str, error: str) -> str:
    """All that a command printed; a text without a newline at its end was cut short, and is refused."""
    if out and not out.endswith("\n"):
        raise UnreadableReply(f"the text was cut short: …{out[-100:]}")
    return out + error


def read_proxy(text: str) -> tuple[timedelta, str | None]:
    """How long a proxy is still valid (0 without a proxy), and its group (None if the text names none)."""
    left, group = _LEFT.search(text), _GROUP.search(text)
    if left is None:
        return timedelta(0), None
    hours, minutes, seconds = (int(part or 0) for part in left.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds), group[1] if group else None
