"""Writes editions of datasets and comparisons of them, which are never changed or removed. Numbers of editions only grow."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from reconciler.ledger.reading.comparisons import read_comparison
from reconciler.ledger.reading.editions import list_editions
from reconciler.ledger.schema.decision_tables import comparisons, editions
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import GuardRefused, SourceUnavailable


@dataclass(frozen=True, slots=True)
class Frozen:
    """An edition after a freeze; `is_new` is False if the newest edition has this content already."""

    name: str
    digest: str
    is_new: bool


class EditionWriter:
    """Writes the editions that one person freezes."""

    def __init__(self, writer: Writer, who: str) -> None:
        self._writer = writer
        self._who = who

    def freeze(self, dataset: str, content: bytes, reason: str | None) -> Frozen:
        """Makes content, the canonical JSON of an edition, the next edition of a dataset, if the newest one differs.

        Raises:
            GuardRefused: another process froze the same dataset at this moment.
        """
        digest = sha256(content).hexdigest()
        with self._writer.reading() as connection:
            before = list_editions(connection, dataset)
        if before and before[-1].digest == digest:
            return Frozen(before[-1].name, digest, is_new=False)
        number = before[-1].number + 1 if before else 1
        row = {"dataset": dataset, "number": number, "digest": digest, "content": zlib.compress(content)}
        row |= {"reason": reason and reason[:500], "who": self._who, "created": self._writer.clock.show()}
        try:
            with self._writer.writing() as journal:
                journal.insert(editions, [row])
        except IntegrityError as error:
            raise GuardRefused(f"{dataset} is being frozen by another process; try again") from error
        return Frozen(f"{dataset}:{number}", digest, is_new=True)


def keep_comparison(writer: Writer, content: bytes, who: str) -> bool:
    """Keeps the canonical JSON of a comparison for a person; False if the ledger has it already.

    What was kept before and is damaged is written again, with its time.

    Raises:
        GuardRefused: another process kept the same one at this moment.
    """
    digest = sha256(content).hexdigest()
    mine = comparisons.c.digest == digest
    if writer.find(select(comparisons.c.digest).where(mine)) is not None:
        try:
            with writer.reading() as connection:
                read_comparison(connection, digest)
        except SourceUnavailable:
            with writer.writing(polling=True) as journal:
                journal.update(comparisons, mine, {"content": zlib.compress(content)})
            return True
        return False
    row = {"digest": digest, "content": zlib.compress(content), "who": who, "created": writer.clock.show()}
    try:
        with writer.writing(polling=True) as journal:
            journal.insert(comparisons, [row])
    except IntegrityError as error:
        raise GuardRefused(f"the comparison {digest} is being kept by another process; try again") from error
    return True
