"""Snapshots of global tags: `productions/global-tags/<name>.iov`, one interval of validity (IoV) per line.

The file has a header of `# key: value` lines, then sorted lines `payload revision checksum
firstExp,firstRun,finalExp,finalRun`. Both ends of an IoV are included, -1 means unlimited (basf2
`framework/scripts/conditions_db/iov.py`). For a local database ` line N` follows when the order of its lines decides which
payload is used (`schemas.conditions.local_database`).
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
"""The states of a tag with which basf2 processes data (`conditions.expert_settings(usable_globaltag_states=…)`)."""
LOCAL = "LOCAL"
"""The state of a snapshot that comes from a `database.txt`; such payloads are on disk, and basf2 asks for no state."""

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
"""Times of this form sort as texts."""


@dataclass(frozen=True, slots=True, order=True)
class Iov:
    """A payload and the run keys for which it is valid: `first` is included, `end` is not.

    `line` is its line in a local database when the order of lines matters; otherwise 0.
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

    `id` is the tag's number in the conditions database, `source` is where the list was read, `retrieved` is when (UTC). The
    digest covers neither these nor the state; a lock pins those that are used. `above` counts the header lines of the file,
    for findings.
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
    """The IoV of a payload; `ends` are firstExp, firstRun, finalExp, finalRun, both ends included, -1 for unlimited.

    Raises:
        ValueError: a name, revision or md5 has a wrong form, or the ends are not an IoV.
    """
    for (what, grammar), value in zip(_GRAMMARS.items(), (payload, revision, checksum), strict=True):
        if not grammar.fullmatch(value):
            raise ValueError(f"{value[:60]!r} is not a valid {what}")
    interval = make_interval(*ends)
    return Iov(payload, revision, checksum, interval.first, interval.end)


def name_number(tags: Sequence[str], snapshots: Mapping[str, Snapshot]) -> str | None:
    """The number of the first of `tags` as paths and requests write it, `DB00000438`.

    Without tags it is `none`; when the number is not known it is None.
    """
    if not tags:
        return "none"
    found = snapshots.get(tags[0])
    return None if found is None or found.id is None else f"DB{found.id:08d}"


def rank_revision(revision: str) -> tuple[int, int]:
    """A sort key for revisions: within a tag, basf2 uses the payload with the highest revision.

    >>> rank_revision("2999") > rank_revision("914")
    True
    """
    return len(revision), int(revision, 16)


Rank = tuple[int, ...]


def rank_iov(iov: Iov, place: int = 0) -> Rank:
    """A sort key for the IoVs of one payload in a chain of tags; `place` is the tag's index. The lowest key is used.

    The first tag of the chain wins; within a tag the highest revision wins.
    """
    length, value = rank_revision(iov.revision)
    return place, -length, -value


def sweep(ranked: Iterable[tuple[Rank, Iov]]) -> Iterator[tuple[int, int, Rank, Iov]]:
    """Each stretch of run keys as (first, end, rank, IoV): the IoV with the lowest rank is used there; `end` is not included.

    All IoVs must be of one payload. Stretches without an IoV are left out.
    """
    waiting = sorted(ranked, key=lambda item: item[1].first, reverse=True)
    borders = sorted({border for _, iov in waiting for border in (iov.first, iov.end)})
    valid: list[tuple[Rank, Iov]] = []  # a heap of begun IoVs; an ended one leaves when it reaches the top
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
    """The snapshot of a tag; the IoVs are sorted as in the file, without duplicates."""
    lines = dict(sorted((str(iov), iov) for iov in set(iovs)))
    return Snapshot(name, state, _digest(lines), tuple(lines.values()), tag_id, source, retrieved)


def write_snapshot(snapshot: Snapshot) -> bytes:
    """The content of NAME.iov, as `read_snapshot` reads it; `snapshot` comes from `freeze_tag`."""
    keys = ("name", "id", "state", "source", "retrieved", "digest")
    header = {key: getattr(snapshot, key) for key in keys}
    # a newline in a value would begin a new line of the file
    lines = [
        f"# {key}: {' '.join(str(value).split())}" for key, value in header.items() if value not in (None, "")
    ]
    return "\n".join((FIRST_LINE, *lines, *map(str, snapshot.iovs), "")).encode()


def read_snapshot(
    file: str, name: str, content: bytes, *, any_state: bool = False
) -> tuple[Snapshot | None, tuple[Finding, ...]]:
    """The snapshot of the tag `name`, or None with findings on the file and, unless `any_state`, on the tag's state."""
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
    # not by make_interval: its checks and messages cost half of the time for 50,000 lines
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
