"""Writes what is handed over to calibration and what comes back: first what is intended, then that it was read back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.exc import IntegrityError

from reconciler.ledger.schema.calibration_tables import hand_overs, payload_returns
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import GuardRefused
from schemas.conditions.snapshot import Snapshot, write_snapshot


class CalibrationWriter:
    """Writes for one person. A record is found again by its digest; only its place and its times are changed."""

    def __init__(self, writer: Writer, who: str) -> None:
        self._writer = writer
        self._who = who

    def intend_hand_over(
        self,
        about: tuple[str, str, int],
        digest: str,
        content: bytes,
        editions: Mapping[str, str],
        base: Snapshot,
        place: str,
    ) -> None:
        """Records, before its folder is written, a hand-over `about` a scheme, a stage and an iteration.

        Raises:
            GuardRefused: another process records the same one at this moment.
        """
        row = {
            "digest": digest,
            "editions": json.dumps(dict(sorted(editions.items()))),
            "content": zlib.compress(content),
            "base": zlib.compress(write_snapshot(base)),
        }
        self._intend(hand_overs, about, row, place)

    def intend_return(
        self, about: tuple[str, str, int], digest: str, hand_over: str, snapshot: Snapshot, place: str
    ) -> None:
        """Records, before their files are copied, payloads that came back for the hand-over with this digest.

        Raises:
            GuardRefused: another process records the same ones at this moment.
        """
        row = {
            "digest": digest,
            "hand_over": hand_over,
            "snapshot": snapshot.name,
            "content": zlib.compress(write_snapshot(snapshot)),
        }
        self._intend(payload_returns, about, row, place)

    def record_hand_over(self, digest: str, place: str) -> None:
        """Records that the folder of a hand-over was read back in this place."""
        self._record(hand_overs, digest, place)

    def record_return(self, digest: str, place: str) -> None:
        """Records that the folder of returned payloads was read back in this place."""
        self._record(payload_returns, digest, place)

    def record_announced(self, digest: str, address: str) -> None:
        """Records where a hand-over was announced."""
        with self._writer.writing(polling=True) as journal:
            journal.update(hand_overs, hand_overs.c.digest == digest, {"announced": address[:1000]})

    def _intend(self, table: Table, about: tuple[str, str, int], row: Mapping[str, Any], place: str) -> None:
        """Adds a row, if it is not there."""
        if self._writer.find(select(table.c.id).where(table.c.digest == row["digest"])) is not None:
            return
        scheme, stage, iteration = about
        key = {"scheme": scheme, "stage": stage, "iteration": iteration}
        told = {"place": place, "who": self._who, "created": self._writer.clock.show()}
        try:
            with self._writer.writing() as journal:
                journal.insert(table, [{**key, **row, **told}])
        except IntegrityError as error:
            message = f"{scheme}/{stage} is being recorded by another process; try again"
            raise GuardRefused(message) from error

    def _record(self, table: Table, digest: str, place: str) -> None:
        """The time when it was first read back stays."""
        mine = table.c.digest == digest
        if self._writer.find(select(table.c.id).where(mine, table.c.written.is_(None))) is not None:
            with self._writer.writing() as journal:
                journal.update(table, mine, {"place": place, "written": self._writer.clock.show()})
        elif self._writer.find(select(table.c.id).where(mine, table.c.place != place)) is not None:
            with self._writer.writing(polling=True) as journal:
                journal.update(table, mine, {"place": place})
