"""Snapshots of global tags: `productions/global-tags/<name>.iov`, one interval of validity (IoV) a line.

A header of `# key: value` lines, then sorted lines `payload revision checksum firstExp,firstRun,finalExp,finalRun`;
both ends of an IoV are included, -1 means unlimited (basf2 `framework/scripts/conditions_db/iov.py`). Of a local database
` line N` follows where the order of its lines decides which payload is used (`schemas.conditions.local_database`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise

from schemas.conditions.iov import FOREVER, NUMBER_LIMIT, make_interval, name_ends
from schemas.findings.finding import MOST, Finding, Place
from schemas.manifest.runs import run_key

FIRST_LINE = "# b2prod snapshot/1"
USABLE_STATES = ("TESTING", "VALIDATED", "PUBLISHED", "RUNNING")
"""The states in which basf2 processes with a tag (`conditions.expert_settings(usable_globaltag_states=…)`)."""
LOCAL = "LOCAL"
"""The state of what comes from a `database.txt`: no tag, but payloads on disk, whose state basf2 does not ask for."""

TAG_NAME = re.compile(r"[A-Za-z0-9+_:-]{1,120}", re.ASCII)
"""The grammar of the names of global tags; `$defs/global_tag` of the schema `campaign/1`."""
PAYLOAD_NAME = re.compile(r"[A-Za-z0-9_+:.-]{1,200}", re.ASCII)
REVISION = re.compile(r"[0-9a-f]{1,32}", re.ASCII)
CHECKSUM = re.compile(r"[0-9a-f]{32}", re.ASCII)
_GRAMMARS = {"payload name": PAYLOAD_NAME, "revision": REVISION, "md5": CHECKSUM}

_LINE = re.compile(
    rf"({PAYLOAD_NAME.pattern}) ({REVISION.pattern}) ({CHECKSUM.pattern}) "
    r"([0-9]{1,9}),([0-9]{1,9}),(-1|[0-9]{1,9}),(-1|[0-9]{1,9})(?: line ([1-9][0-9]{0,8}))?",
    re.ASCII,
)


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z", re.ASCII)
"""Such times sort as texts."""


@dataclass(frozen=True, slots=True, order=True)
class Iov:
    """A payload and the run keys it holds for: `first` included, `end` not.

    `line` is its line in a local database where the order of lines counts, 0 everywhere else.
    """

    payload: str
    revision: str
    checksum: str
    first: int
    end: int
    line: int = 0

    def __str__(self) -> str:
        ends = ",".join(map(str, name_ends(self.first, self.end)))
        text = f"{self.payload} {self.revision} {self.checksum} {ends}"
        return f"{text} line {self.line}" if self.line else text


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen list of a tag's IoVs. `digest` is the sha256 of its lines.

    `id` is the tag's in the conditions database, `source` where it was read, `retrieved` when (UTC). The digest covers neither
    these nor the state; a lock pins those of them that are used. `above` counts the lines of its file above the IoVs, for findings.
    """

    name: str
    state: str
    digest: str
    iovs: tuple[Iov, ...]
    id: int | None = None
    source: str = ""
    retrieved: str = ""
    above: int = field(default=0, compare=False)


def make_iov(payload: str, revision: str, checksum: str, ends: tuple[int, int, int, int]) -> Iov:
    """The IoV of a payload; `ends` are firstExp, firstRun, finalExp, finalRun, both included, -1 unlimited.

    Raises:
        ValueError: a name, revision or md5 of another form, or ends that are not an IoV.
    """
    for (what, grammar), value in zip(_GRAMMARS.items(), (payload, revision, checksum), strict=True):
        if not grammar.fullmatch(value):
            raise ValueError(f"{value[:60]!r} is not a valid {what}")
    interval = make_interval(*ends)
    return Iov(payload, revision, checksum, interval.first, interval.end)


def name_number(tags: Sequence[str], snapshots: Mapping[str, Snapshot]) -> str | None:
    """The number of the first of `tags` as paths and requests have it, `DB00000438`; None where it is not known.

    Without tags it is `none`.
    """
    if not tags:
        return "none"
    found = snapshots.get(tags[0])
    return None if found is None or found.id is None else f"DB{found.id:08d}"


def rank_revision(revision: str) -> tuple[int, int]:
    """What sorts revisions: within a tag, the payload whose revision ranks higher is used.

    >>> rank_revision("2999") > rank_revision("914")
    True
    """
    return len(revision), int(revision, 16)


Rank = tuple[int, ...]


def rank_iov(iov: Iov, place: int = 0) -> Rank:
    """What sorts the IoVs of one payload in a chain of tags, where `place` is its tag's: the lowest is used.

    Between tags the first of the chain wins; within a tag the higher revision.
    """
    length, value = rank_revision(iov.revision)
    return place, -length, -value


def sweep(ranked: Iterable[tuple[Rank, Iov]]) -> Iterator[tuple[int, int, Rank, Iov]]:
    """Each stretch of run keys, from `first` to before `end`, with rank and IoV of what is used there: the lowest rank.

    The IoVs are those of one payload; stretches without any are left out.
    """
    waiting = sorted(ranked, key=lambda item: item[1].first, reverse=True)
    borders = sorted({border for _, iov in waiting for border in (iov.first, iov.end)})
    valid: list[tuple[Rank, Iov]] = []  # a heap of what has begun; what has ended leaves when it surfaces
    for first, end in pairwise(borders):
        while waiting and waiting[-1][1].first <= first:
            heappush(valid, waiting.pop())
        while valid and valid[0][1].end <= first:
            heappop(valid)
        if valid:
            yield first, end, *valid[0]


def freeze_tag(
    name: str,
    state: str,
    iovs: Iterable[Iov],
    *,
    tag_id: int | None = None,
    source: str = "",
    retrieved: str = "",
) -> Snapshot:
    """The snapshot of a tag: IoVs in the order of their lines, each once."""
    lines = dict(sorted((str(iov), iov) for iov in set(iovs)))
    return Snapshot(name, state, _digest(lines), tuple(lines.values()), tag_id, source, retrieved)


def write_snapshot(snapshot: Snapshot) -> bytes:
    """The content of the file NAME.iov; `read_snapshot` reads it. `snapshot` is one that `freeze_tag` made."""
    keys = ("name", "id", "state", "source", "retrieved", "digest")
    header = {key: getattr(snapshot, key) for key in keys}
    # a value with a newline in it would be a line of its own
    lines = [
        f"# {key}: {' '.join(str(value).split())}" for key, value in header.items() if value not in (None, "")
    ]
    return "\n".join((FIRST_LINE, *lines, *map(str, snapshot.iovs), "")).encode()


def read_snapshot(
    file: str, name: str, content: bytes, *, any_state: bool = False
) -> tuple[Snapshot | None, tuple[Finding, ...]]:
    """The snapshot of the tag `name` in a file, or what is wrong with the file or, unless `any_state`, with the tag's state."""
    lines = content.decode("utf-8", "replace").splitlines()
    findings: list[Finding] = []

    def refuse(message: str, hint: str = "write the snapshot with the tool", line: int = 1) -> None:
        findings.append(Finding(Place(file, line), "BP502", message, hint))

    if not lines or lines[0] != FIRST_LINE:
        refuse(f"this is not a snapshot of {name}", f"its first line is `{FIRST_LINE}`")
        return None, tuple(findings)
    header = dict(line[2:].split(": ", 1) for line in lines[1:] if line.startswith("# ") and ": " in line)
    state, source, retrieved, known = (header.get(key, "") for key in ("state", "source", "retrieved", "id"))
    if header.get("name") != name:
        refuse(f"the file {name}.iov holds the tag {header.get('name')!r}", "name the file after the tag")
    listed: list[str] = []
    iovs: list[Iov] = []
    above = 0
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        above = above or number - 1
        listed.append(line)
        match = _LINE.fullmatch(line)
        iov = match and _read_iov(*match.groups())
        if iov and (not iov.line or state == LOCAL):
            iovs.append(iov)
        else:
            hint = "a line is `payload revision md5 firstExp,firstRun,finalExp,finalRun`"
            refuse(f"not an IoV: {line[:80]!r}", hint, number)
            if len(findings) > MOST:
                break
    if listed != sorted(listed):
        refuse("the IoVs are not sorted")
    digest = _digest(listed)
    if header.get("digest") != digest:
        hint = f"fetch the tag again; do not edit snapshots (the lines have digest {digest})"
        refuse("the lines do not match the header's digest", hint)
    if known and not re.fullmatch(r"[0-9]{1,18}", known, re.ASCII):
        refuse(f"the tag's id is {known[:40]!r}")
    if retrieved and not _TIME.fullmatch(retrieved):
        refuse(f"the tag was retrieved at {retrieved[:40]!r}, which is not a time")
    if not any_state and state not in (*USABLE_STATES, LOCAL):
        refuse(f"{name} is in state {state!r}, which no job may use", "freeze the tag, or choose another")
    if findings:
        return None, tuple(findings)
    tag_id = int(known) if known else None
    return Snapshot(name, state, digest, tuple(iovs), tag_id, source, retrieved, above), ()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read_iov(payload: str, revision: str, checksum: str, *numbers: str) -> Iov | None:
    # not through make_interval: its messages and checks cost half of the time that 50,000 lines take
    *ends, place = numbers
    first_exp, first_run, last_exp, last_run = map(int, ends)
    if last_exp < 0:
        end = FOREVER if last_run < 0 else -1
    elif last_run < 0:
        end = run_key(last_exp + 1, 0)
    else:
        end = run_key(last_exp, last_run) + 1
    first = run_key(first_exp, first_run)
    return Iov(payload, revision, checksum, first, end, int(place or 0)) if first < end else None


assert NUMBER_LIMIT == 10**9 - 1, "_LINE takes numbers of nine digits"
