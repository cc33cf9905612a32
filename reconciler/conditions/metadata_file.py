"""Reads and writes the SQLite file that `b2conditionsdb download` makes and basf2 reads as local metadata.

Tables, views, application id and version are those of basf2 `framework/scripts/conditions_db/local_metadata.py`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from reconciler.conditions.source import UnknownTag, refuse_contradictions
from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.iov import FOREVER, Interval, merge_intervals, name_ends, touches_any
from schemas.conditions.snapshot import Iov, Snapshot, freeze_tag, make_iov
from schemas.manifest.spans import unite

APPLICATION_ID = 0xB2CDB
VERSION = 1
BASE_URL = "http://belle2db.sdcc.bnl.gov/"
"""Where payload files are, unless a site has them elsewhere (`BELLE2_CONDB_PAYLOADS`)."""

# `revision` has no column type: in an INTEGER column, SQLite would store 100000 for an md5 that begins with 1e5.
_SCHEMA = """
CREATE TABLE baseUrls (baseUrlId INTEGER PRIMARY KEY, baseUrl TEXT UNIQUE);
CREATE TABLE payloadNames (payloadNameId INTEGER PRIMARY KEY, payloadName TEXT UNIQUE);
CREATE TABLE payloads (
    payloadId INTEGER PRIMARY KEY,
    payloadNameId INTEGER NOT NULL REFERENCES payloadNames,
    revision NOT NULL,
    checksum TEXT NOT NULL,
    payloadUrl TEXT,
    baseUrlId INTEGER NOT NULL REFERENCES baseUrls,
    UNIQUE (payloadNameId, revision)
);
CREATE TABLE globaltags (
    globalTagId INTEGER PRIMARY KEY, globalTagName TEXT UNIQUE, globalTagStatus TEXT NOT NULL
);
CREATE TABLE iovs (
    globalTagId INTEGER NOT NULL REFERENCES globaltags,
    payloadId INTEGER NOT NULL REFERENCES payloads,
    firstExp INTEGER NOT NULL, firstRun INTEGER NOT NULL, finalExp INTEGER NOT NULL, finalRun INTEGER NOT NULL
);
CREATE UNIQUE INDEX iov_index
    ON iovs (globalTagId, firstExp, firstRun, finalExp, finalRun, payloadId);
CREATE VIEW full_payloads AS
    SELECT p.payloadId, n.payloadName, p.revision, p.checksum,
        coalesce(p.payloadUrl,
            'dbstore/' || n.payloadName || '/dbstore_' || n.payloadName || '_rev_' || p.revision || '.root'
        ) AS payloadUrl,
        u.baseUrl
    FROM payloads p JOIN payloadNames n USING (payloadNameId) JOIN baseUrls u USING (baseUrlId);
CREATE VIEW iov_payloads AS
    SELECT g.globalTagName, f.payloadId, f.payloadName, f.revision, f.checksum,
        i.firstExp, i.firstRun, i.finalExp, i.finalRun, f.payloadUrl, f.baseUrl
    FROM globaltags g JOIN iovs i USING (globalTagId) JOIN full_payloads f USING (payloadId);
"""

_FIELDS = "payloadName, revision, checksum, firstExp, firstRun, finalExp, finalRun"
_SELECT = f"SELECT {_FIELDS} FROM iov_payloads WHERE globalTagName = :name"  # noqa: S608 -- no text from outside
_COUNT = "SELECT count(*) FROM iovs JOIN globaltags USING (globalTagId) WHERE globalTagName = :name"


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """The global tags in a metadata file; it is opened for reading only."""

    path: Path

    def fetch(self, name: str) -> Snapshot:
        """The whole tag, with its id and state in the conditions database."""
        with self._reading() as connection:
            tag_id, state = self._find_tag(connection, name)
            iovs = self._read_iovs(connection, name)
            (count,) = connection.execute(_COUNT, {"name": name}).fetchone()
        if count != len(iovs):
            what = f"{count} IoVs of {name}, of which {len(iovs)} have a payload"
            raise SourceUnavailable(f"{self.path}: {what}; download it again")
        return freeze_tag(name, state, iovs, tag_id=tag_id, source=self.path.name)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            address = f"file:{quote(str(self.path.absolute()))}?mode=ro"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                application, version, pages, size = (
                    connection.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("application_id", "user_version", "page_count", "page_size")
                )
                if (application, version) != (APPLICATION_ID, VERSION):
                    raise SourceUnavailable(
                        f"{self.path} has application id {application:#x} and version {version}, not {APPLICATION_ID:#x} "
                        f"and {VERSION}: it is not a file of `b2conditionsdb download` that b2prod knows"
                    )
                # SQLite itself notices a missing page only when a query needs it
                if self.path.stat().st_size < pages * size:
                    raise SourceUnavailable(f"{self.path} is cut short; download it again")
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise SourceUnavailable(f"{self.path} cannot be read: {error}") from error

    def _find_tag(self, connection: sqlite3.Connection, name: str) -> tuple[int, str]:
        query = "SELECT globalTagId, globalTagStatus FROM globaltags WHERE globalTagName = ?"
        row = connection.execute(query, (name,)).fetchone()
        if row is None:
            tags = connection.execute("SELECT globalTagName FROM globaltags ORDER BY globalTagName")
            known = ", ".join(str(tag) for (tag,) in tags) or "none"
            raise UnknownTag(f"{self.path} has no global tag {name}; it has {known[:300]}")
        if not (isinstance(row[0], int) and isinstance(row[1], str)):
            raise SourceUnavailable(f"{self.path}: {name} has the id {row[0]!r} and the state {row[1]!r}")
        return row[0], row[1]

    def _read_iovs(self, connection: sqlite3.Connection, name: str) -> tuple[Iov, ...]:
        rows = connection.execute(_SELECT, {"name": name}).fetchall()
        if not all(isinstance(number, int) for row in rows for number in row[3:]):
            raise SourceUnavailable(f"{self.path}: an IoV has ends that are not numbers")
        try:
            iovs = [make_iov(str(name), str(rev), str(md5), tuple(ends)) for name, rev, md5, *ends in rows]
        except ValueError as error:
            raise SourceUnavailable(f"{self.path}: {error}") from error
        refuse_contradictions(str(self.path), iovs)
        return tuple(sorted(iovs))


def cut_snapshots(used: Iterable[tuple[Sequence[Snapshot], Sequence[int]]]) -> tuple[Snapshot, ...]:
    """The tags of a chain, cut to what runs use; `used` has chains of the same tags, each with the keys of its runs.

    Each run uses its own chain, also if two chains have different snapshots of a tag. An IoV covers consecutive runs,
    among all given runs, that use the payload.
    """
    parts = [(chain, runs) for chain, runs in used if runs]
    everything = sorted({run for _, runs in parts for run in runs})
    place = {run: index for index, run in enumerate(everything)}
    cut = []
    for column in zip(*(chain for chain, _ in parts), strict=True):
        valid: dict[tuple[str, str, str], set[int]] = {}
        for snapshot, (_, runs) in zip(column, parts, strict=True):
            ordered = sorted(runs)
            for iov in snapshot.iovs:
                here = ordered[bisect_left(ordered, iov.first) : bisect_left(ordered, iov.end)]
                if here:
                    name = iov.payload, iov.revision, iov.checksum
                    valid.setdefault(name, set()).update(place[run] for run in here)
        iovs = [
            Iov(*name, everything[first], everything[end - 1] + 1)
            for name, places in valid.items()
            for first, end in unite((place, place + 1) for place in places)
        ]
        cut.append(replace(column[0], iovs=tuple(sorted(iovs))))
    return tuple(cut)


def find_stretch(tags: Sequence[Snapshot], run: int) -> Interval:
    """The run keys around a run for which the same IoVs are valid, so that `write_metadata` gives the same for each of them."""
    first, end = 0, FOREVER
    for iov in (iov for tag in tags for iov in tag.iovs):
        for edge in (iov.first, iov.end):
            if edge <= run:
                first = max(first, edge)
            else:
                end = min(end, edge)
    return Interval(first, end)


def write_metadata(tags: Sequence[Snapshot], within: Sequence[Interval] | None = None) -> bytes:
    """The content of a metadata file with the tags; the same tags give the same bytes.

    With `within`, it has only IoVs that are valid for a run there, uncut. The file does not say which tag wins where
    tags overlap: the order of the tags in the job decides.

    Raises:
        ValueError: one revision of a payload has two checksums.
    """
    wanted = None if within is None else merge_intervals(within)
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("INSERT INTO baseUrls VALUES (1, ?)", (BASE_URL,))
        known = {tag.id for tag in tags}
        spare = (number for number in range(1, len(tags) * 2 + 1) if number not in known)
        chosen = [
            [iov for iov in tag.iovs if wanted is None or touches_any(iov.first, iov.end, wanted)]
            for tag in tags
        ]
        payloads = _insert_payloads(connection, [iov for iovs in chosen for iov in iovs])
        for tag, iovs in zip(tags, chosen, strict=True):
            number = next(spare) if tag.id is None else tag.id
            connection.execute("INSERT INTO globaltags VALUES (?, ?, ?)", (number, tag.name, tag.state))
            rows = sorted(
                (number, payloads[iov.payload, iov.revision], *name_ends(iov.first, iov.end))
                for iov in set(iovs)
            )
            connection.executemany("INSERT INTO iovs VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        return connection.serialize()


def _insert_payloads(connection: sqlite3.Connection, iovs: Sequence[Iov]) -> dict[tuple[str, str], int]:
    distinct = sorted({(iov.payload, iov.revision, iov.checksum) for iov in iovs})
    names = {name: number for number, name in enumerate(sorted({name for name, _, _ in distinct}), 1)}
    connection.executemany("INSERT INTO payloadNames VALUES (?, ?)", ((n, name) for name, n in names.items()))
    numbers: dict[tuple[str, str], int] = {}
    for number, (name, revision, checksum) in enumerate(distinct, 1):
        if (name, revision) in numbers:
            raise ValueError(f"{name} r{revision} has two checksums in these tags")
        numbers[name, revision] = number
        # the beginning of an md5 may look like a number: 0012 must not become 12
        is_number = revision.isdecimal() and len(revision) < 18 and str(int(revision)) == revision
        stored = int(revision) if is_number else revision
        row = (number, names[name], stored, checksum, None, 1)
        connection.execute("INSERT INTO payloads VALUES (?, ?, ?, ?, ?, ?)", row)
    return numbers
