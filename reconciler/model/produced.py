"""Which outputs of a campaign are produced."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from renderer.identity.fingerprint import Fingerprints


class OutputColumns(Protocol):
    """Produced outputs that are compared as columns, without their fingerprints."""

    def __len__(self) -> int: ...
    def find_absent(self, column: Fingerprints) -> Sequence[int]: ...


KEY = 16
"""The bytes of a key."""

_ODD, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
"""A factor that keeps all bits; without one, two equal numbers could cancel each other."""

Produced = OutputColumns | AbstractSet[bytes]
"""Produced outputs, as columns or as a set of fingerprints."""


def make_key(given: str, payload_set: str | None) -> bytes:
    """The key of an output from the digests of its input and payload set, as `pack` makes it for columns.

    Raises:
        ValueError: one of them is not a digest: somebody wrote it by hand.
    """
    numbers = struct.unpack("<4Q", _read(given))
    first, second = (low + high * _ODD for low, high in zip(numbers[:2], numbers[2:], strict=True))
    if payload_set is not None:
        numbers = struct.unpack("<4Q", _read(payload_set))
        first += (numbers[0] + numbers[2] * _ODD) * _ODD
        second += (numbers[1] + numbers[3] * _ODD) * _ODD
    return struct.pack("<2Q", first & _MASK, second & _MASK)


def _read(digest: str) -> bytes:
    packed = bytes.fromhex(digest)
    if len(packed) != 2 * KEY:
        raise ValueError("a digest does not have 32 bytes")
    return packed


def find_absent(column: Fingerprints, produced: Produced) -> Sequence[int]:
    """The sorted indices of the outputs of a column that are not produced."""
    if not len(produced):
        return range(len(column))
    if isinstance(produced, AbstractSet):
        return [index for index, value in enumerate(column) if value not in produced]
    return produced.find_absent(column)
