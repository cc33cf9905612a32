"""Leftovers: finds the folders of attempts and batches, and the kept files, that nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, and_, delete, exists, func, not_, or_, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import UNIT_ATTEMPTS, attempts, batches, intents, jobs, kept_files
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import LIVE, AttemptState, IntentState


class Leftovers:
    """Finds what one ledger has of attempts, batches and kept files that may be removed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def list_ended(self, names: Iterable[str]) -> set[str]:
        """Those of the attempts whose folders nobody needs any more: not live, not failed, not waiting to be published.

        A lost attempt that an engine took keeps its folder while its unit is open, because it may come back. Names that the
        ledger does not know are left out.
        """
        other, task = attempts.alias(), jobs.alias()
        coming = exists().where(
            task.c.intent == intents.c.id, other.c.job == task.c.id, other.c.state.in_(LIVE)
        )
        done = intents.c.state.not_in((IntentState.OPEN, IntentState.QUARANTINED))
        not_open = intents.c.state != IntentState.OPEN
        ended = (
            select(attempts.c.name)
            .select_from(UNIT_ATTEMPTS)
            .where(attempts.c.state.not_in((*LIVE, AttemptState.FAILED)))
            .where(or_(attempts.c.state != AttemptState.VERIFIED, and_(done, not_(coming))))
            .where(or_(attempts.c.state != AttemptState.LOST, attempts.c.reference.is_(None), not_open))
        )
        return {row.name for row in self._find(ended, attempts.c.name, names)}

    def list_ended_batches(self, names: Iterable[str]) -> set[str]:
        """Those of the batches that have no live attempt."""
        live = exists().where(attempts.c.batch == batches.c.id, attempts.c.state.in_(LIVE))
        resting = select(batches.c.name).where(not_(live))
        return {row.name for row in self._find(resting, batches.c.name, names)}

    def list_failed(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Name → site and time of the end, for those of the attempts that failed."""
        failed = select(attempts.c.name, attempts.c.site, attempts.c.ended)
        failed = failed.where(attempts.c.state == AttemptState.FAILED)
        found = self._find(failed, attempts.c.name, names)
        return {name: (site, ended or "") for name, site, ended in found}

    def list_known(self, names: Iterable[str], *, of_batches: bool = False) -> set[str]:
        """Those of the names that the ledger knows, of attempts or of batches."""
        column = batches.c.name if of_batches else attempts.c.name
        return {row.name for row in self._find(select(column), column, names)}

    def list_sites_of_kept(self) -> list[str]:
        """The sites whose jobs used kept files last, sorted; each costs one look into the index."""
        found: list[str] = []
        least = select(func.min(kept_files.c.site))
        while (
            site := self._writer.find(least.where(kept_files.c.site > (found[-1] if found else "")))
        ) is not None:
            found.append(site)
        return found

    def list_expired(self, site: str, before: str, most: int) -> list[str]:
        """The digests of kept files of a site that no job used since a time, the oldest first; at most `most`."""
        expired = select(kept_files.c.digest).where(kept_files.c.site == site, kept_files.c.used < before)
        return [row.digest for row in self._writer.read(expired.order_by(kept_files.c.used).limit(most))]

    def forget(self, digests: Sequence[str]) -> None:
        """Records that these files are not kept any more. What attempts say of them stays."""
        if not digests:
            return
        with self._writer.writing(polling=True) as journal:
            for part in divide(digests):
                journal.connection.execute(delete(kept_files).where(kept_files.c.digest.in_(part)))

    def _find(self, query: Select[Any], column: Any, names: Iterable[str]) -> list[Any]:
        """The rows of a query whose `column` has one of the names."""
        with self._writer.reading() as connection:
            parts = divide(sorted(names))
            return [row for part in parts for row in connection.execute(query.where(column.in_(part)))]
