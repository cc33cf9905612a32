"""How releases of basf2 read a local database, `database.txt`: which line they use when several lines are valid for one run.

| releases | the line that is used | revisions |
|---|---|---|
| up to 03 | the last line (`LocalDatabase::getData`, file version 219617535) | whole numbers (`stoi`) |
| 04 and 05 | the highest revision (`TestingPayloadStorage::get`, file version 37013668081) | whole numbers from 1 on |
| from 06 on | the last line (the same function at commit 8e4687925 and later) | any text; basf2 writes the beginning of the md5 |

A release before 06 accepts a hash that begins with a digit: it reads `0c1baa` as 0, and so opens another file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from schemas.conditions.snapshot import LOCAL, Iov, Snapshot, rank_iov, sweep
from schemas.manifest.release import number_release

_MOST = 2**31 - 1
"""The highest revision that `stoi` reads."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How some releases read it: whether the last line is used, whether hashes are read, and the smallest valid revision."""

    releases: str
    by_line: bool
    hashes: bool
    lowest: int = 0


READINGS = (
    Reading("releases up to 03", by_line=True, hashes=False),
    Reading("releases 04 and 05", by_line=False, hashes=False, lowest=1),
    Reading("releases from 06 on", by_line=True, hashes=True),
)


@dataclass(frozen=True, slots=True)
class Misreading:
    """An IoV that a release reads wrongly, the reason, and what to do instead."""

    iov: Iov
    reason: str
    hint: str


def list_readings(release: str) -> tuple[Reading, ...]:
    """The ways in which a release may read a local database: one, or all when the release's name does not tell which."""
    number = number_release(release)
    if number is None:
        return READINGS
    return (READINGS[0 if number <= 3 else 1 if number <= 5 else 2],)


def find_misreadings(snapshot: Snapshot, release: str) -> Iterator[Misreading]:
    """At most one problem per payload of a local database: `release` cannot read it, or it is unknown which line it uses."""
    if snapshot.state != LOCAL:
        return
    readings = list_readings(release)
    for payload, iovs in _group(snapshot.iovs):
        strange = next((one for one in iovs if any(not _reads(way, one.revision) for way in readings)), None)
        if strange is not None:
            reason = f"{release} does not read the revision {strange.revision} of {payload}"
            hint = (
                f"give it a number: write `dbstore/{payload} 1 …`, call the file dbstore_{payload}_rev_1.root, and say"
                f" `b2prod gt pull {snapshot.name} --from database.txt`; or choose a release from 06 on"
            )
            yield Misreading(strange, reason, hint)
        elif any(way.by_line for way in readings) and not all(one.line for one in iovs) and _is_open(iovs):
            reason = (
                f"{release} takes the last line of {payload}, and the snapshot does not have the lines' order"
            )
            hint = f"say `b2prod gt pull {snapshot.name} --from database.txt` again, which keeps it"
            yield Misreading(iovs[0], reason, hint)
        elif len({tuple(_settle(iovs, way)) for way in readings}) > 1:
            ways = "the last line, or the highest revision"
            reason = f"it is not known which line of {payload} {release} takes where several hold: {ways}"
            yield Misreading(iovs[0], reason, "shorten the IoVs so that they do not overlap")


def settle_overlaps(snapshot: Snapshot, release: str) -> Snapshot:
    """A local database's snapshot with one payload for each run, as `release` reads it; other snapshots come back unchanged."""
    if snapshot.state != LOCAL:
        return snapshot
    reading = list_readings(release)[0]
    iovs = tuple(one for _, group in _group(snapshot.iovs) for one in _settle(group, reading))
    return replace(snapshot, iovs=iovs)


def number_lines(entries: Sequence[Iov]) -> tuple[Iov, ...]:
    """The IoVs, sorted; the line is set to 0 for payloads with one content per run, because the order does not matter there."""
    kept: list[Iov] = []
    for _, group in _group(entries):
        kept += group if _is_open(group) else [replace(one, line=0) for one in group]
    return tuple(sorted(set(kept)))


def _group(iovs: Iterable[Iov]) -> Iterator[tuple[str, list[Iov]]]:
    for payload, group in groupby(sorted(iovs), key=attrgetter("payload")):
        yield payload, list(group)


def _reads(reading: Reading, revision: str) -> bool:
    """Whether these releases find the file of a revision. With leading zeros they would look for another file."""
    if reading.hashes:
        return True
    number = int(revision) if revision.isdecimal() else -1
    return revision == str(number) and reading.lowest <= number <= _MOST


def _settle(iovs: Sequence[Iov], reading: Reading) -> list[Iov]:
    """The IoVs of one payload without overlaps, in the order of runs and without line numbers."""
    ranked = ((((-one.line,) if reading.by_line else ()) + rank_iov(one), one) for one in iovs)
    settled: list[Iov] = []
    for first, end, _, winner in sweep(ranked):
        content = winner.revision, winner.checksum
        if settled and settled[-1].end == first and (settled[-1].revision, settled[-1].checksum) == content:
            settled[-1] = replace(settled[-1], end=end)
        else:
            settled.append(replace(winner, first=first, end=end, line=0))
    return settled


def _is_open(iovs: Sequence[Iov]) -> bool:
    """Whether several contents are valid for one run."""
    ordered = sorted(iovs, key=attrgetter("first"))
    reached: list[Iov] = []
    for one in ordered:
        reached = [other for other in reached if other.end > one.first]
        if any(other.checksum != one.checksum for other in reached):
            return True
        reached.append(one)
    return False
