"""What changed between the payloads that a run was made with, one time after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from reconciler.ledger.reading.observation import read_payloads

KEPT = 500
"""How many payload sets are kept in memory; most runs share few."""
NAMED = 40
"""How many payloads of a change are named."""

Use = tuple[str, str, str]
"""When something was made (a time), of which campaign and step, and the digest of its payload set."""


class PayloadChanges:
    """Tells changes of payload sets; each set is read once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sets: dict[str, Mapping[str, str]] = {}

    def tell(self, uses: Sequence[Use]) -> list[dict[str, Any]]:
        """The payload sets of a run in the order of time, each with who was made with it and what changed since the one before.

        A set that was used again later is told where it was used first.
        """
        found: dict[str, list[str]] = {}
        for _, maker, digest in sorted(uses):
            makers = found.setdefault(digest, [])
            if maker not in makers:
                makers.append(maker)
        told: list[dict[str, Any]] = []
        before: str | None = None
        for digest, makers in found.items():
            changes = {} if before is None else self._compare(before, digest)
            told.append({"set": digest[:12], "makers": makers, **changes})
            before = digest
        return told

    def _compare(self, before: str, after: str) -> dict[str, Any]:
        one, other = self._read(before), self._read(after)
        if one is None or other is None:
            return {}
        changes = {
            "changed": [name for name, value in other.items() if name in one and one[name] != value],
            "added": [name for name in other if name not in one],
            "gone": [name for name in one if name not in other],
        }
        return {
            **{word: names[:NAMED] for word, names in changes.items() if names},
            "count": sum(map(len, changes.values())),
        }

    def _read(self, digest: str) -> Mapping[str, str] | None:
        """Payload name → checksum; None if the ledger does not have the set."""
        if digest not in self._sets:
            if len(self._sets) >= KEPT:
                self._sets.clear()
            for name, payloads in read_payloads(self._connection, [digest]).items():
                self._sets[name] = {one.name: one.checksum for one in payloads}
        return self._sets.get(digest)
