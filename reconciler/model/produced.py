"""Which outputs of a campaign are produced."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from renderer.identity.fingerprint import Fingerprints


class OutputColumns(Protocol):
    """Produced outputs that are compared as columns, without their fingerprints."""

    def __len__(self) -> int: ...
    def find_absent(self, column: Fingerprints) -> Sequence[int]: ...


Produced = OutputColumns | AbstractSet[bytes]
"""Produced outputs, as columns or as a set of fingerprints."""


def find_absent(column: Fingerprints, produced: Produced) -> Sequence[int]:
    """The sorted indices of the outputs of a column that are not produced."""
    if not len(produced):
        return range(len(column))
    if isinstance(produced, AbstractSet):
        return [index for index, value in enumerate(column) if value not in produced]
    return produced.find_absent(column)
