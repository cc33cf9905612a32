"""Publishes and withdraws editions: intent, effect, what is read back, done. Each may be done again after any crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from reconciler.datasets.catalogues.port import Conflict
from reconciler.datasets.operations.records import OperationWriter
from reconciler.datasets.operations.stored import StoredOperation, list_operations
from reconciler.datasets.publishing.port import EditionPlace, EditionToPublish, WithdrawalNote
from reconciler.datasets.publishing.standing import EditionStanding, list_others, read_standings
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import Operation, OperationKind, OperationState
from reconciler.model.states import OutputState
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.canonical import digest
from schemas.manifest.dataset import DatasetName
from schemas.policy.site import PublishingPlace


@dataclass(frozen=True, slots=True)
class PublishingTarget:
    """A place where an edition is to be published: as the site declares it, and opened."""

    declared: PublishingPlace
    place: EditionPlace


def publish_edition(
    writer: Writer,
    who: str,
    edition: EditionToPublish,
    site: str,
    targets: Sequence[PublishingTarget],
    reason: str,
    approval: str | None = None,
) -> dict[str, Conflict | SourceUnavailable]:
    """Publishes an edition at places that a site declares. Returns by name what stood in the way; nothing if all is done.

    One place does not keep the others from being done. As long as one is not, the operation goes on the next time.

    Raises:
        GuardRefused: a publication of it at other places has begun and not ended, or outputs of it are being deleted.
    """
    name = str(edition.name)
    places = {
        one.declared.name: {
            "kind": one.declared.kind,
            "where": one.place.locate(edition.name),
            "name": one.place.name,
        }
        for one in targets
    }
    action = {"operation": OperationKind.PUBLISH.value, "edition": name, "digest": edition.digest}
    operation = Operation(
        kind=OperationKind.PUBLISH,
        subject=name,
        reason=reason,
        digest=digest({**action, "site": site, "places": sorted(places)}),
        outputs=len(edition.outputs),
        files=len(edition.files),
        bytes=edition.bytes,
        numbers=edition.outputs,
    )
    content = {"site": site, "places": places, "digest": edition.digest}
    records = OperationWriter(writer, who)
    number = records.begin(
        operation, approval, {**content, "runs": edition.runs, "outputs": edition.outputs_digest}
    )
    for some in divide(edition.outputs):
        records.intend(number, some)
    with writer.reading() as connection:
        standings = read_standings(connection, edition.name.dataset)
        left = _list_left(connection, edition)
    if left:  # somebody deletes them; who begins now finds the intent, and refuses
        told = f"{len(left):,} outputs of {name} were taken away while it was to be published"
        records.tell(number, told)
        raise GuardRefused(told)
    failures: dict[str, Conflict | SourceUnavailable] = {}
    for one in targets:
        others = list_others(standings, edition.name, one.declared.name)
        try:
            one.place.publish(edition, others)
        except (Conflict, SourceUnavailable) as error:
            failures[one.declared.name] = error
    if failures:
        records.tell(number, "; ".join(f"{place}: {error}" for place, error in failures.items()))
        return failures
    for some in divide(edition.outputs):
        records.finish(number, some)
    records.end(number, f"published: {', '.join(str(one['where']) for one in places.values())}")
    return {}


def withdraw_edition(
    writer: Writer,
    who: str,
    standing: EditionStanding,
    places: Mapping[str, EditionPlace],
    reason: str,
    instead: DatasetName | None,
) -> StoredOperation:
    """Takes an edition back at all places where it is published, or was about to be. Returns the operation in the ledger.

    `places` has those of its publications, by name. A withdrawal that has begun keeps its reason, and what is used instead.

    Raises:
        Conflict: something else is at a place; the operation goes on when that is settled.
        SourceUnavailable: it cannot be done now; the operation goes on the next time.
    """
    name = str(standing.edition)
    about = {"instead": None if instead is None else str(instead), "places": sorted(places)}
    operation = Operation(
        kind=OperationKind.WITHDRAW,
        subject=name,
        reason=reason,
        digest=digest({"operation": OperationKind.WITHDRAW.value, "edition": name}),
        outputs=0,
        files=0,
        bytes=0,
    )
    records = OperationWriter(writer, who)
    number = records.begin(operation, None, about)
    with writer.reading() as connection:
        stored = _find(list_operations(connection, name, OperationKind.WITHDRAW), number)
        standings = read_standings(connection, standing.edition.dataset)
    note = WithdrawalNote(name, stored.begun, stored.who, stored.reason, stored.content["instead"])
    for one in standing.publications:
        others = list_others(standings, standing.edition, one.place)
        try:
            places[one.place].withdraw(standing.edition, note, others)
        except Exception as error:
            records.tell(number, str(error))
            raise
    for one in standing.publications:
        if one.since is None:
            records.end(
                one.operation, f"withdrawn before it was done: {stored.reason}", OperationState.REFUSED
            )
    told = ", ".join(one.where for one in standing.publications)
    records.end(number, f"withdrawn: {told}")
    with writer.reading() as connection:
        return _find(list_operations(connection, name, OperationKind.WITHDRAW), number)


def _list_left(connection: Connection, edition: EditionToPublish) -> list[int]:
    """The numbers of the outputs of an edition that are not published any more."""
    gone = outputs.c.state != OutputState.PRODUCED
    query = select(outputs.c.id).where(gone)
    return [
        number
        for part in divide(edition.outputs)
        for number in connection.scalars(query.where(outputs.c.id.in_(part)))
    ]


def _find(found: list[StoredOperation], number: int) -> StoredOperation:
    return next(one for one in found if one.id == number)
