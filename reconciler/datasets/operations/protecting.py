"""Writes protections: datasets that nobody may delete before a day."""

from __future__ import annotations

from sqlalchemy import and_

from reconciler.ledger.schema.operation_tables import protections
from reconciler.ledger.writing.transaction import Writer


class ProtectionWriter:
    """Writes the protections of one person."""

    def __init__(self, writer: Writer, who: str) -> None:
        self._writer = writer
        self._who = who

    def protect(self, dataset: str, until: str, reason: str) -> None:
        """Records that nobody may delete a dataset up to the day `until`, which is written as in 2019-12-31 and included."""
        row = {"dataset": dataset, "until": until, "reason": reason[:500], "who": self._who}
        with self._writer.writing() as journal:
            journal.insert(
                protections, [{**row, "time": self._writer.clock.show(), "ended": None, "ended_by": None}]
            )

    def end(self, dataset: str) -> int:
        """Takes all protections of a dataset back. Returns how many there were."""
        with self._writer.writing() as journal:
            here = and_(protections.c.dataset == dataset, protections.c.ended.is_(None))
            values = {"ended": self._writer.clock.show(), "ended_by": self._who}
            return len(journal.update(protections, here, values))
