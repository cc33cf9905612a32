"""Which editions are published, where and since when, and which were withdrawn and why, as the ledger has it. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler.datasets.operations.stored import StoredOperation, list_operations
from reconciler.model.operations import OperationKind, OperationState
from schemas.manifest.dataset import DatasetName, parse_dataset


@dataclass(frozen=True, slots=True)
class StandingPublication:
    """An edition at one place, whose name is as in the site. `where` is for people, `name` the name that the edition has there.

    `since` is the time since when it is published; None if it has begun and not ended. `runs` are those of the edition, and
    `outputs` is the digest of its outputs of them, by which gates tell whether just these count.
    """

    operation: int
    edition: DatasetName
    digest: str
    site: str
    place: str
    where: str
    name: str
    since: str | None
    runs: str
    outputs: str | None


@dataclass(frozen=True, slots=True)
class EditionStanding:
    """What an edition is to readers: where it is published, and by which operation it was last withdrawn, if it was.

    `withdrawal` is not ended while the edition is being withdrawn; None if it was never withdrawn, or published again since.
    """

    edition: DatasetName
    publications: tuple[StandingPublication, ...] = ()
    withdrawal: StoredOperation | None = None

    @property
    def is_published(self) -> bool:
        """Whether readers are given it at some place, and nobody is taking it back."""
        return self.withdrawal is None and any(one.since is not None for one in self.publications)


def read_standings(connection: Connection, dataset: str | None = None) -> dict[str, EditionStanding]:
    """Edition → what it is to readers, for all editions that were ever published: of one dataset, or of all.

    Raises:
        SourceUnavailable: an operation in the ledger is damaged.
    """
    places: dict[str, dict[str, StandingPublication]] = {}
    withdrawn: dict[str, StoredOperation] = {}
    for one in list_operations(connection, None, OperationKind.PUBLISH, OperationKind.WITHDRAW):
        name = parse_dataset(one.subject)
        if dataset is not None and name.dataset != dataset:
            continue
        here = places.setdefault(one.subject, {})
        if one.kind is OperationKind.WITHDRAW and one.state is not OperationState.REFUSED:
            withdrawn[one.subject] = one
            if one.state is OperationState.DONE:
                here.clear()
        elif one.kind is OperationKind.PUBLISH and one.state is not OperationState.REFUSED:
            withdrawn.pop(one.subject, None)
            here.update(_list_places(one, name))
    return {
        text: EditionStanding(parse_dataset(text), tuple(here.values()), withdrawn.get(text))
        for text, here in places.items()
    }


def _list_places(one: StoredOperation, name: DatasetName) -> Iterator[tuple[str, StandingPublication]]:
    """Yields the places of a publication, by name."""
    told = one.content
    for place, about in told.get("places", {}).items():
        at = (told["site"], place, about["where"], about["name"])
        yield (
            place,
            StandingPublication(one.id, name, told["digest"], *at, one.ended, told["runs"], told["outputs"]),
        )


def list_others(
    standings: dict[str, EditionStanding], name: DatasetName, place: str | None = None
) -> tuple[int, ...]:
    """The numbers of the other editions of a dataset that are published, or may be: at one place, or at all of them."""
    return tuple(
        sorted(
            one.edition.edition
            for one in standings.values()
            if one.edition.edition is not None
            and one.edition.dataset == name.dataset
            and one.edition != name
            and one.withdrawal is None
            and any(place in (None, there.place) for there in one.publications)
        )
    )
