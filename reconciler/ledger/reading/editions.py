"""Editions in the ledger, and the outputs of which they are made. Only reads."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, select

from reconciler.ledger.schema.decision_tables import editions
from reconciler.ledger.schema.tables import outputs, products
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import run_key

_LISTED = 10
"""The largest number of editions that a message lists."""


@dataclass(frozen=True, slots=True)
class StoredEdition:
    """An edition without its content. `who` froze it, `created` is when; in an export `who` is empty."""

    dataset: str
    number: int
    digest: str
    reason: str | None
    who: str
    created: str

    @property
    def name(self) -> str:
        """Its name, as in `proc8/reco/mdst:2`."""
        return f"{self.dataset}:{self.number}"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an output. `path` is below the storage; `events` is None if they were not counted."""

    path: str
    size: int
    checksum: str
    events: int | None


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """One version of an output of a run, with its files sorted by path."""

    dataset: DatasetName
    run: int
    version: int
    fingerprint: bytes
    events: int | None
    files: tuple[StoredFile, ...]


def list_editions(connection: Connection, dataset: str | None = None) -> list[StoredEdition]:
    """The editions of a dataset, or of all datasets, by dataset and number."""
    columns = (editions.c[name] for name in ("dataset", "number", "digest", "reason", "who", "created"))
    query = select(*columns).order_by(editions.c.dataset, editions.c.number)
    if dataset is not None:
        query = query.where(editions.c.dataset == dataset)
    return [StoredEdition(*row) for row in connection.execute(query)]


def find_edition(connection: Connection, name: DatasetName) -> StoredEdition:
    """The edition with a name as in `proc8/reco/mdst:2`.

    Raises:
        LookupError: there is none; the message lists the editions that the dataset has.
    """
    there = list_editions(connection, name.dataset)
    for one in there:
        if one.number == name.edition:
            return one
    if not there:
        first = f"`b2prod dataset freeze {name.dataset}` makes the first one"
        raise LookupError(f"there is no edition {name}: {name.dataset} has none; {first}")
    listed = ", ".join(f":{one.number} of {one.created[:10]}" for one in there[-_LISTED:])
    more = f"{len(there)} editions, the last ones are " if len(there) > _LISTED else ""
    raise LookupError(f"there is no edition {name}: {name.dataset} has {more}{listed}")


def find_digests(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """The digests of editions by their names, as in `proc8/reco/mdst:2`; editions that do not exist are left out."""
    found = {}
    for text in names:
        name = parse_dataset(text)
        at = (editions.c.dataset == name.dataset, editions.c.number == name.edition)
        digest: str | None = connection.execute(select(editions.c.digest).where(*at)).scalar()
        if digest is not None:
            found[text] = digest
    return found


def list_digests(connection: Connection) -> set[str]:
    """The digests of all editions."""
    return {*connection.scalars(select(editions.c.digest))}


def read_content(connection: Connection, digest: str) -> bytes:
    """The canonical JSON of the edition with this digest.

    Raises:
        SourceUnavailable: there is no such edition, or its content is not what was frozen.
    """
    stored = connection.execute(select(editions.c.content).where(editions.c.digest == digest)).scalar()
    if stored is None:
        raise SourceUnavailable(f"the ledger has no edition with the digest {digest}")
    try:
        content = zlib.decompress(stored)
    except zlib.error as error:
        raise SourceUnavailable(f"the edition {digest} cannot be read: {error}") from error
    if sha256(content).hexdigest() != digest:
        raise SourceUnavailable(f"the content of the edition {digest} is not what was frozen")
    return content


def belongs_to(name: DatasetName) -> ColumnElement[bool]:
    """A condition: outputs are those of a dataset, in any state and version."""
    dataset = (outputs.c.campaign == name.campaign) & (outputs.c.step == name.step)
    return dataset & (outputs.c.output == name.output)


def read_outputs(connection: Connection, *conditions: ColumnElement[bool]) -> Iterator[StoredOutput]:
    """Yields the outputs that fulfil conditions, the oldest first. Outputs without files are left out."""
    unit = (
        "id",
        "campaign",
        "step",
        "output",
        "experiment",
        "run",
        "version",
        "fingerprint",
        "events",
        "folder",
    )
    files = (products.c.path, products.c.size, products.c.checksum, products.c.events)
    query = select(*(outputs.c[name] for name in unit), *files).join(
        products, products.c.output == outputs.c.id
    )
    rows = connection.execute(query.where(*conditions).order_by(outputs.c.id))
    for _, group in groupby(rows, key=lambda row: row.id):
        some = list(group)
        found = (StoredFile(f"{row.folder}/{row.path}", *row[-3:]) for row in some)
        one = some[0]
        yield StoredOutput(
            DatasetName(one.campaign, one.step, one.output),
            run_key(one.experiment, one.run),
            one.version,
            one.fingerprint,
            one[len(unit) - 2],
            tuple(sorted(found, key=lambda file: file.path)),  # databases order texts by rules of their own
        )
