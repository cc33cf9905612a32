"""Places: checks that the state folder and the storages are those that the ledger works with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import Connection, delete, exists, insert, select

from reconciler.datasets.markers import BrokenMarker, Marker, Standing, judge_place, read_marker, write_marker
from reconciler.ledger.reading.event_log import has_entry, read_last_entry
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.schema.decision_tables import places
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State
from reconciler.ledger.upkeep.succession import list_formers
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import OutputState
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import GuardRefused, SourceUnavailable, foreseeing

STATE, STORAGE = "state", "storage"


class ForeignPlace(GuardRefused):
    """A folder does not belong to the ledger, or the ledger not to the folder."""


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """A folder, its standing to the ledger, and its marker."""

    kind: str
    path: str
    standing: Standing
    marker: Marker | None
    reason: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the ledger may work with the folder: it belongs to the ledger, or to nobody yet."""
        return self.standing in (Standing.OWN, Standing.NEW)


def look_at_place(connection: Connection, kind: str, path: str) -> StoragePlace:
    """The standing of a folder to the ledger; `kind` is `STATE` or `STORAGE`."""
    identity, formers = read_identity(connection), list_formers(connection)
    known = _find_known(connection, kind, path)
    try:
        found = read_marker(path)
    except BrokenMarker as error:
        return StoragePlace(kind, path, Standing.FOREIGN if known else Standing.NEW, None, str(error))
    filled = known is not None
    if (
        kind == STORAGE
    ):  # the ledger is asked only where the answer matters: it may have to look at all outputs
        filled = filled and found is None and is_filled(connection, path)
    if kind == STATE and known is None:
        other = connection.execute(select(places).where(places.c.kind == STATE)).first()
        if other is not None and (found is None or found.id != other.id):  # otherwise the folder was moved
            reason = f"the ledger works with the state folder {other.path}"
            return StoragePlace(kind, path, Standing.FOREIGN, found, reason)
    remembered = found is None or has_entry(connection, found.entry, found.digest)
    standing, reason = judge_place(
        found, known, identity.ledger, identity.serial, formers, filled=filled, remembered=remembered
    )
    if kind == STATE and standing is Standing.AWAY:
        standing, reason = Standing.FOREIGN, "it has no marker, and the ledger knows it by one"
    return StoragePlace(kind, path, standing, found, reason)


def _find_known(connection: Connection, kind: str, path: str) -> str | None:
    """The id by which the ledger knows a place, or None."""
    at = (places.c.kind == kind, places.c.path == path)
    known: str | None = connection.execute(select(places.c.id).where(*at)).scalar()
    return known


def is_filled(connection: Connection, storage: str) -> bool:
    """Whether the ledger has produced outputs in a storage."""
    there = exists().where(outputs.c.storage == storage, outputs.c.state == OutputState.PRODUCED)
    return bool(connection.execute(select(there)).scalar())


def list_storages(connection: Connection, campaign: str) -> list[str]:
    """The storages in which a campaign has produced outputs, sorted."""
    there = (outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    return sorted(connection.scalars(select(outputs.c.storage).where(*there).distinct()))


def tell_wrong(place: StoragePlace) -> str:
    """Why a place is not used, and what a person can do."""
    if place.standing is Standing.AWAY:
        return f"the storage {place.path} is away: {place.reason}; what it holds cannot be told"
    what = "the state folder" if place.kind == STATE else "the storage"
    ways = (
        "`b2prod state restore FILE` puts a backup back, `b2prod state rebuild` takes over what is published, and"
        f" `b2prod state adopt {place.path}` says that this is right"
    )
    return f"{what} {place.path} is not as the ledger knows it: {place.reason}; {ways}"


def check_storage_here(connection: Connection, storage: str) -> None:
    """Checks that a storage can be asked for the ledger's outputs.

    Raises:
        SourceUnavailable: the storage is away, or belongs to another ledger.
    """
    place = look_at_place(connection, STORAGE, storage)
    if place.standing in (Standing.AWAY, Standing.FOREIGN):
        raise SourceUnavailable(tell_wrong(place))


class Places:
    """The places of one ledger, in one turn. The marker of each storage is read once."""

    def __init__(self, state: State, writer: Writer) -> None:
        self._state = state
        self._writer = writer
        self._seen: dict[str, StoragePlace] = {}
        self._marker: Marker | None = None

    def check_state(self) -> None:
        """Checks that the state folder belongs to the ledger, and marks it.

        Raises:
            ForeignPlace: it does not; a person must first say which one is right.
            SourceUnavailable: it cannot be written.
        """
        with self._writer.reading() as connection:
            place = look_at_place(connection, STATE, str(self._state.folder))
        if not place.is_right:
            raise ForeignPlace(tell_wrong(place))
        with foreseeing(f"{place.path} cannot be written"):
            self._marker = mark_place(self._writer, STATE, place.path)

    def check_storage(self, storage: str) -> None:
        """Checks that a storage belongs to the ledger, or to nobody yet.

        Raises:
            ForeignPlace: it belongs to another ledger, or a newer copy of this ledger has written to it.
            SourceUnavailable: it is away.
        """
        if storage not in self._seen:
            with self._writer.reading() as connection:
                self._seen[storage] = look_at_place(connection, STORAGE, storage)
        place = self._seen[storage]
        if not place.is_right:
            away = place.standing is Standing.AWAY
            raise (SourceUnavailable if away else ForeignPlace)(tell_wrong(place))

    def is_filled(self, storage: str) -> bool:
        """Whether the ledger has produced outputs in a storage."""
        with self._writer.reading() as connection:
            return is_filled(connection, storage)

    def mark_state(self) -> None:
        """Writes the ledger's present serial into the marker of the state folder. This is done before a batch is submitted.

        Raises:
            SourceUnavailable: it cannot be written.
        """
        with self._writer.reading() as connection:
            identity, last = read_identity(connection), read_last_entry(connection)
        if self._marker is None or self._marker.serial == identity.serial:
            return
        marker = Marker(self._marker.id, identity.ledger, identity.serial, *last)
        with foreseeing(f"{self._state.folder} cannot be written"):
            write_marker(self._state.folder, marker)
        self._marker = marker

    def mark_storages(self) -> None:
        """Writes the ledger's serial into the markers of the storages that were checked in this turn and hold outputs."""
        with self._writer.reading() as connection:
            identity, last = read_identity(connection), read_last_entry(connection)
        for storage, place in self._seen.items():
            found = place.marker
            if found is not None and found == Marker(found.id, identity.ledger, identity.serial, *last):
                continue  # nothing was written since
            if place.is_right and self.is_filled(storage):
                with contextlib.suppress(OSError):  # publishing reports a storage that cannot be written
                    mark_place(self._writer, STORAGE, storage)


def mark_place(writer: Writer, kind: str, path: str, *, anew: bool = False) -> Marker:
    """Writes a folder's marker and records the place in the ledger; with `anew`, as a new place. Returns the marker.

    The marker is written first. If the process ends then, the next one accepts the marker, because it has the ledger's id. In
    the other order, the ledger would know a place that has no marker, and refuse it.

    Raises:
        OSError: the marker cannot be written.
    """
    with writer.reading() as connection:
        identity, last = read_identity(connection), read_last_entry(connection)
        known = _find_known(connection, kind, path)
    found = None
    if not anew:
        with contextlib.suppress(BrokenMarker):
            found = read_marker(path)
    number = uuid4().hex if anew else known or (found.id if found else uuid4().hex)
    marker = Marker(number, identity.ledger, identity.serial, *last)
    if found != marker:
        write_marker(path, marker)
    if number != known:
        with writer.writing(polling=True) as journal:
            # a ledger has one state folder, so a new one replaces the old one
            at = () if anew and kind == STATE else (places.c.path == path,)
            journal.connection.execute(delete(places).where(places.c.kind == kind, *at))
            journal.connection.execute(delete(places).where(places.c.id == number))  # the folder was moved
            row = {"id": number, "kind": kind, "path": path, "since": CLOCK.show()}
            journal.connection.execute(insert(places).values(**row))
    return marker


def list_places(connection: Connection, state: State, storages: Collection[str]) -> Iterator[StoragePlace]:
    """Yields the state folder and those storages that exist, each with its standing to the ledger."""
    yield look_at_place(connection, STATE, str(state.folder))
    for storage in sorted(set(storages)):
        if os.path.lexists(storage):
            yield look_at_place(connection, STORAGE, storage)


def tell_strange(connection: Connection, state: State) -> list[str]:
    """What is wrong with the places that a ledger knows; empty if nothing is wrong, or if the state is an export."""
    if state.copy is not None:
        return []
    known = connection.scalars(select(places.c.path).where(places.c.kind == STORAGE)).all()
    found = [look_at_place(connection, STATE, str(state.folder))]
    found += [look_at_place(connection, STORAGE, path) for path in sorted(known)]
    return [tell_wrong(place) for place in found if not place.is_right]
