"""What Belle II's production commands (`gb2_…`) print, as far as basf2's scripts and their users show it.

The texts have no documented form. A table's rows begin with a number and a name, and hold a state among other words;
what else is printed (banners, rules, headings) is told from rows, and an answer of which nothing can be told is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

EARLY = ("Initialized", "Registered", "ToApprove", "Approved")
"""Before it runs: its files are to be uploaded, then it is to be approved; `Approved` waits for the computing group."""

RUNNING, DONE = "Running", "Done"
CANCELLED = ("Cancelled", "Canceled", "ToCancel")
STATES = (*EARLY, RUNNING, DONE, *CANCELLED)

_ROW = re.compile(r"\s*(\d{1,12})\s+([A-Za-z0-9_.-]+)(?:\s+(.*))?")
_COUNTS = re.compile(r"(\d+)\s*/\s*(\d+)")
_WRONG = re.compile(
    r"error|exception|traceback|fail|refused|denied|expired|unavailable|timed? ?out", re.IGNORECASE
)
_NOTHING = re.compile(r"no (?:matching )?(?:productions?|datasets?|entr|files?)", re.IGNORECASE)
_LEFT = re.compile(r"timeleft\s*:\s*(\d+):(\d\d)(?::(\d\d))?", re.IGNORECASE)
_GROUP = re.compile(r"DIRAC group\s*:\s*(\S+)", re.IGNORECASE)


class Unreadable(Exception):
    """A text of which nothing can be told."""


@dataclass(frozen=True, slots=True)
class Production:
    """A row of `gb2_prod_status`. `state` is None for a word that is not known; tasks that are `done`, of `total`."""

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


def read_status(text: str) -> list[Production]:
    """The productions of a table; none where it is said, or shown by a heading, that there are none.

    Raises:
        Unreadable: it holds words of an error, or nothing at all.
    """
    rows, rest = [], []
    for line in text.replace("|", " ").splitlines():
        found = _ROW.fullmatch(line)
        if found is None:
            rest.append(line.strip(" -=+"))
            continue
        words = found[3] or ""
        known = {state.lower(): state for state in STATES}
        states = [known[word] for word in words.lower().replace("=", " ").split() if word in known]
        counts = _COUNTS.search(words)
        done, total = (int(counts[1]), int(counts[2])) if counts else (None, None)
        # `Running Done=400/402`: of two words the first one is the state
        state = states[0] if states else None
        rows.append(Production(int(found[1]), found[2], state, " ".join(words.split()), done, total))
    said = [line for line in rest if line]
    if any(_WRONG.search(line) for line in said):
        raise Unreadable(next(line for line in said if _WRONG.search(line))[:300])
    if not rows and not said:
        raise Unreadable("nothing was printed, neither rows nor a heading")
    return rows


def read_files(text: str, folder: str) -> list[str]:
    """The files below `folder` that `gb2_ds_list` shows, each once, sorted.

    Raises:
        Unreadable: it holds words of an error.
    """
    files, rest = set(), []
    for line in text.splitlines():
        words = line.split()
        paths = [word for word in words if word.startswith(f"{folder}/") and word.endswith(".root")]
        files.update(paths)
        if words and not paths:
            rest.append(line.strip())
    wrong = [line for line in rest if _WRONG.search(line) and not _NOTHING.search(line)]
    if wrong:
        raise Unreadable(wrong[0][:300])
    return sorted(files)


def read_proxy(text: str) -> tuple[timedelta, str | None]:
    """How long a proxy is still good, and its group; no time where there is no proxy."""
    left, group = _LEFT.search(text), _GROUP.search(text)
    if left is None:
        return timedelta(0), None
    hours, minutes, seconds = (int(part or 0) for part in left.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds), group[1] if group else None
