"""Checks of a site before jobs are submitted: state, ledger, storage, commands, credential, orphan jobs in the queue."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, func, select

from reconciler.datasets.catalogues.registration import open_catalogue
from reconciler.datasets.markers import Standing
from reconciler.datasets.places import STATE, STORAGE, look_at_place
from reconciler.engines import ENGINES
from reconciler.execution.sites.preconditions import check_batch
from reconciler.execution.sites.readiness import find_existing, gather
from reconciler.execution.tracking.publication import try_storage
from reconciler.ledger.reading.latest_time import read_latest
from reconciler.ledger.schema.tables import attempts, batches, events, ledger
from reconciler.ledger.store.database import State, has_database, reading
from reconciler.ledger.store.privacy import is_open
from reconciler.ledger.writing.lease import PROMPT, tell_clock
from reconciler.model.engine import Complaint, Engine, EngineUnavailable, JobListing
from reconciler.model.states import LIVE
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.filesystem import NETWORKED, find_type
from reconciler.sources.records import SourceRecord, read_records
from renderer.applications import APPLICATIONS
from schemas.files.times import format_time, read_time
from schemas.policy.site import Site
from schemas.policy.sources import FileSource, RunSource

SKEW = 5.0
"""The largest difference in seconds between the clocks of this machine and of the database."""

HERE = "this machine"

TO_WRITE = "correct `storage`, mount it, or get the right to write there"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that was checked: the site, what it is, and what is wrong with it, or None."""

    site: str
    looked_at: str
    complaint: Complaint | None = None


def check_state(state: State) -> Iterator[Symptom]:
    """Checks what concerns all sites: the place of the state, and the ledger."""
    kind = find_type(state.folder)
    complaint = None
    if kind in NETWORKED and state.server is None:
        what = f"the ledger would be at {state.folder}, which is on {kind}: several hosts may write there at once"
        complaint = Complaint(what, "give --state a folder on a local disk, or --database a PostgreSQL")
    yield Symptom(HERE, "file system of the state", complaint)
    yield Symptom(HERE, "ledger", _try_ledger(state))
    yield Symptom(HERE, "who may read the state", _look_for_readers(state))
    yield Symptom(HERE, "marker of the state", _look_at_marker(state, STATE, str(state.folder)))


def _look_at_marker(state: State, kind: str, path: str) -> Complaint | None:
    """Whether a folder is the one that the ledger uses."""
    try:
        with reading(state) as connection:
            place = look_at_place(connection, kind, path)
    except SourceUnavailable:
        return None  # the check of the ledger reports it
    if place.is_right:
        return None
    what = f"{path} is not as the ledger knows it: {place.reason}"
    if place.standing is Standing.AWAY:
        return Complaint(what, "mount it; if this is the right one, `b2prod state adopt` says so")
    return Complaint(what, "find out which is right; `b2prod state restore`, `rebuild` or `adopt` go on")


def _look_for_readers(state: State) -> Complaint | None:
    ours = [state.folder, *([] if state.server else [state.database])]
    if not (others := [str(path) for path in ours if is_open(path)]):
        return None
    what = f"others than its owner may use {' and '.join(others)}, which tells nonces, paths and addresses"
    remedy = "chmod go= on them; what others are to read lies in a `storage` elsewhere"
    return Complaint(what, remedy, fatal=False)


def _try_ledger(state: State) -> Complaint | None:
    try:
        if not has_database(state):
            return Complaint("nothing was ever recorded here", "begin with `b2prod runs import`", fatal=False)
        with reading(state) as connection:
            there = float(connection.execute(select(tell_clock(connection))).scalar_one())
            latest = _read_last(connection)
    except SourceUnavailable as error:
        return Complaint(str(error), "correct what the message names, or install the b2prod that fits")
    if (skew := abs(there - time.time())) > SKEW:
        what = f"the clocks of this machine and of the database differ by {skew:.0f} s"
        return Complaint(what, "let both follow a time server", fatal=False)
    ahead = 0.0 if latest is None else latest.timestamp() - there
    if latest is not None and ahead > SKEW:
        what = f"the ledger has been written at {format_time(latest)}, {ahead:.0f} s ahead of the database's clock"
        remedy = "set the clocks right; where the ledger's was wrong, its order holds all the same, and `b2prod trust clock` tells more"
        return Complaint(what, remedy, fatal=False)
    return None


def _read_last(connection: Connection) -> datetime | None:
    """The latest time in the ledger, from the journal or from judged approvals."""
    written = connection.execute(select(func.max(events.c.time))).scalar()
    found = (read_latest(connection), written and read_time(written))
    return max((one for one in found if one), default=None)


def check_site(site: Site, state: State) -> Iterator[Symptom]:
    """All checks of a site. Nothing is submitted."""
    for looked_at, complaint in _check_site(site, state):
        yield Symptom(site.name, looked_at, complaint)


Looked = Iterator[tuple[str, Complaint | None]]
"""What was checked, and what is wrong with it, or None."""


def _check_site(site: Site, state: State) -> Looked:
    yield from _check_folders(site, state)
    yield "marker of the storage", _look_at_marker(state, STORAGE, str(state.storage(site.storage)))
    yield from _check_commands(site)
    yield from _check_catalogue(site)
    yield from _check_publications(site)
    yield from _check_sources(site, state)
    try:
        engine = ENGINES[site.engine](site, PROMPT)
    except KeyError:
        yield "engine", Complaint(f"nothing drives {site.engine}", f"write one of {', '.join(ENGINES)}")
        return
    complaints = engine.examine()
    yield from _tell_all(f"engine {site.engine}", complaints)
    yield from _check_readiness(site, state, engine)
    if not any(one.fatal for one in complaints):
        yield from _check_orphan_jobs(site, state, engine)


def _tell_all(looked_at: str, complaints: Sequence[Complaint]) -> Looked:
    """Each complaint, or one entry without a complaint if there is none."""
    yield from ((looked_at, one) for one in complaints or (None,))


def _check_folders(site: Site, state: State) -> Looked:
    storage = Path(state.storage(site.storage))
    complaint = None
    if not os.access(find_existing(storage), os.W_OK | os.X_OK):
        complaint = Complaint(f"{storage} cannot be written", TO_WRITE)
    yield "storage", complaint
    if complaint is None and storage.is_dir():
        yield "publishing", _try_publishing(storage)
    for looked_at, folder, remedy in (
        ("testing payloads", site.testing_payloads, "correct `testing_payloads`, or mount it"),
        ("payload files", site.payloads, "correct `payloads`, or see that it is where the jobs run"),
    ):
        if folder is not None:
            missing = Complaint(f"there is no folder {folder}", remedy, fatal=False)
            yield looked_at, None if os.path.isdir(folder) else missing


def _try_publishing(storage: Path) -> Complaint | None:
    """Tries all operations of publishing, since BeeGFS, CIFS and some NFS and FUSE mounts do not support all of them."""
    try:
        unable = try_storage(storage)
    except OSError as error:
        return Complaint(f"{storage} cannot be written: {error.strerror}", TO_WRITE)
    if unable is None:
        return None
    return Complaint(f"nothing can be published to {storage}: {unable}", "let `storage` lie elsewhere")


def _check_commands(site: Site) -> Looked:
    """Whether the programs that the site's file names can be started here."""
    named = {
        **{f"launchers.{name}": launcher for name, launcher in site.launchers.items()},
        "prestage.command": site.prestage and site.prestage.command,
        "archive.command": site.archive and site.archive.command,
        "recall.command": site.recall and site.recall.command,
        "checksum.command": site.checksum and site.checksum.command,
    }
    for key, command in named.items():
        if command:
            remedy = f"correct `{key}`, or install what it names"
            missing = Complaint(f"{command[0]} cannot be started here", remedy)
            yield key, None if shutil.which(command[0]) else missing
    for name, application in APPLICATIONS.items():
        program = application.program
        if program is not None and name not in site.launchers and shutil.which(program) is None:
            what = f"no launcher of {name} is named, and there is no {program} here: its steps need one of both on the nodes"
            remedy = f"write `launchers: {{{name}: […]}}`"
            yield f"launchers.{name}", Complaint(what, remedy, fatal=False)


def _check_catalogue(site: Site) -> Looked:
    """Whether outputs can be registered there."""
    if site.catalogue is None:
        return
    try:
        complaints = open_catalogue(site.catalogue).examine()
    except SourceUnavailable as error:
        complaints = [Complaint(str(error), "bring it; until then outputs are published and not registered")]
    yield from _tell_all(f"catalogue {site.catalogue.kind}", complaints)


def _check_publications(site: Site) -> Looked:
    """Whether the folders where editions are published are here, and can be written."""
    for name, place in site.publications.items():
        if not place.folder:
            continue
        complaint = None
        if not os.path.isdir(place.folder):
            what = f"{place.folder} is not there, and nothing can be published in it"
            complaint = Complaint(what, "make it, or mount it", fatal=False)
        elif not os.access(place.folder, os.W_OK | os.X_OK):
            complaint = Complaint(f"{place.folder} cannot be written", TO_WRITE, fatal=False)
        yield f"publication {name}", complaint


def _check_sources(site: Site, state: State) -> Looked:
    """How the watched sources last answered, and whether their files are here. None is asked."""
    declared = site.sources
    try:
        with reading(state) as connection:
            records = read_records(connection)
    except SourceUnavailable:
        records = {}  # the check of the ledger reports it
    imported: tuple[RunSource | FileSource, ...] = (*declared.runs, *declared.files)
    for source in imported:
        if source.path is not None and not os.access(source.path, os.R_OK):
            missing = Complaint(
                f"{source.path} cannot be read here", "correct `sources`, or mount it", fatal=False
            )
            yield source.what, missing
        else:
            yield source.what, _judge_source(records.get(f"{site.name}: {source.what}"))
    if declared.tags is not None and (record := records.get(f"{site.name}: {declared.tags.what}")):
        yield declared.tags.what, _judge_source(record)


def _judge_source(record: SourceRecord | None) -> Complaint | None:
    if record is None:
        return Complaint("it was never asked", "`b2prod reconcile --watch` asks it by itself", fatal=False)
    if record.failures:
        since = f"it last answered at {record.answered}" if record.answered else "it never answered"
        what = f"it failed {record.failures} times in a row, {since}: {record.reason}"
        return Complaint(what, "bring what the message names; it is asked again by itself", fatal=False)
    return None if record.note is None else Complaint(record.note, "correct it at the source", fatal=False)


def _check_readiness(site: Site, state: State, engine: Engine) -> Looked:
    found = gather(site, state, datetime.now(UTC), 0)
    try:
        found = replace(found, lifetime=engine.lifetime())
    except EngineUnavailable as error:
        found = replace(found, trouble=str(error))
    hindrances = [Complaint(one.what, one.remedy) for one in check_batch(site, found)]
    yield from _tell_all("before a batch", hindrances)


def _check_orphan_jobs(site: Site, state: State, engine: Engine) -> Looked:
    """Jobs with our prefix that the ledger does not know as live."""
    if not isinstance(engine, JobListing):
        return
    try:
        with reading(state) as connection:
            prefix = f"b2p-{connection.execute(select(ledger.c.id)).scalar_one()[:4]}-"
            alive = (attempts.c.site == site.name, attempts.c.state.in_(LIVE))
            known = {*connection.scalars(select(attempts.c.name).where(*alive))}
            known |= {*connection.scalars(select(batches.c.name))}
        orphans = sorted(engine.list_names(prefix).keys() - known)
    except SourceUnavailable:
        return  # without a ledger, no job can be ours
    except EngineUnavailable as error:
        what = f"which jobs bear our names cannot be told: {error}"
        yield "orphan jobs", Complaint(what, "ask again later", fatal=False)
        return
    complaint = None
    if orphans:
        shown = ", ".join(orphans[:5]) + (" …" if len(orphans) > 5 else "")
        what = f"{len(orphans)} jobs bear our names, and the ledger does not know them: {shown}"
        complaint = Complaint(what, "cancel them there, or find the ledger that they belong to", fatal=False)
    yield "orphan jobs", complaint
