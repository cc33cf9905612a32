"""Announces editions: intent, effect, what is read back, done. An edition is announced once in each place, whatever happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import Connection

from reconciler.datasets.operations.records import OperationWriter
from reconciler.datasets.operations.stored import StoredOperation, list_operations
from reconciler.ledger.reading.editions import StoredEdition
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import Operation, OperationKind, OperationState
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.canonical import digest

AGAIN, ARRIVED = "again", "arrived"
"""What a person decides of an announcement of which nobody knows whether it arrived: it is sent again, or it did arrive."""


class Listeners(Protocol):
    """A place where readers are told: a project of a forge, or a circle of people."""

    @property
    def name(self) -> str:
        """Its name in the ledger, where no secret may be."""

    @property
    def answers(self) -> bool:
        """Whether it can be asked what it was told."""

    def find(self) -> str | None:
        """Where the announcement of the edition is, in words for people; None if it is not there.

        Raises:
            GuardRefused: something else is in its place, or nobody may ask.
            SourceUnavailable: it does not answer now.
        """

    def tell(self) -> str:
        """Announces the edition. Returns where, in words for people.

        Raises:
            GuardRefused: nothing was announced, and nothing will be as it is.
            SourceUnavailable: it may have been announced, or not.
        """


def list_announced(connection: Connection, edition: StoredEdition) -> dict[str, StoredOperation]:
    """Name of a place → the announcement of this edition there: done, or begun and not ended.

    An announcement counts for the digest of the edition: after a ledger was restored, its number may be another edition's.
    """
    found = list_operations(connection, edition.name, OperationKind.ANNOUNCE)
    return {
        one.content["place"]: one
        for one in found
        if one.state is not OperationState.REFUSED and one.content["digest"] == edition.digest
    }


def announce_edition(
    writer: Writer,
    who: str,
    edition: StoredEdition,
    note: Mapping[str, Any],
    listeners: Listeners,
    reason: str = "",
    unsure: str | None = None,
) -> StoredOperation:
    """Announces an edition in one place, unless it was. Returns the operation in the ledger. `note` is what is told, as JSON data.

    An announcement that has begun and not ended is looked for first. Where nobody can look, `unsure` is a person's decision.

    Raises:
        GuardRefused: it cannot be announced so, or nobody knows whether it was; or one in another place has not ended.
        SourceUnavailable: the place does not answer now; the next time it goes on.
    """
    with writer.reading() as connection:
        known = list_announced(connection, edition).get(listeners.name)
    if known is not None and known.state is OperationState.DONE:
        return known
    records = OperationWriter(writer, who)
    number = records.begin(
        _describe(edition, listeners.name, reason),
        content={"digest": edition.digest, "place": listeners.name, "note": dict(note)},
    )
    try:
        if known is not None and not listeners.answers:
            where = _decide(listeners, known, unsure, who)
        else:
            where = listeners.find() or _tell(listeners)
    except GuardRefused as refusal:
        if known is None:  # nothing was done
            records.end(number, str(refusal), OperationState.REFUSED)
        else:
            records.tell(number, str(refusal))
        raise
    except SourceUnavailable as error:
        records.tell(number, str(error))
        raise
    records.end(number, f"announced: {where}")
    with writer.reading() as connection:
        return list_announced(connection, edition)[listeners.name]


def _describe(edition: StoredEdition, place: str, reason: str) -> Operation:
    about = {"edition": edition.name, "digest": edition.digest, "place": place}
    return Operation(
        kind=OperationKind.ANNOUNCE,
        subject=edition.name,
        reason=reason,
        digest=digest({"operation": OperationKind.ANNOUNCE.value, **about}),
        outputs=0,
        files=0,
        bytes=0,
    )


def _tell(listeners: Listeners) -> str:
    """Announces an edition, and reads back where if the place answers."""
    where = listeners.tell()
    if listeners.answers and listeners.find() is None:
        raise SourceUnavailable(f"{listeners.name} took it, and does not show it")
    return where


def _decide(listeners: Listeners, known: StoredOperation, unsure: str | None, who: str) -> str:
    """Ends an announcement of which nobody knows whether it arrived, as a person decides."""
    if unsure == ARRIVED:
        return f"{listeners.name}, as {who} says"
    if unsure == AGAIN:
        return listeners.tell()
    raise GuardRefused(
        f"the announcement of {known.subject} to {listeners.name} began at {known.begun}, and nobody knows whether it"
        f" arrived: ask there, then say `--unsure {ARRIVED}`, or `--unsure {AGAIN}` to send it again"
    )
