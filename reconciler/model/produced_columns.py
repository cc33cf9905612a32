"""Which outputs of a campaign are produced: columns of digests, compared as a whole.

An output is determined by its recipe, its input and its payload set. Of a million runs, these are compared without computing a
fingerprint: 128 bits of each pair of digests are enough, and take 16 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from renderer.identity.digest_columns import WIDTH, DigestColumn
from renderer.identity.fingerprint import Fingerprints

Keys = NDArray[np.uint64]
"""Two numbers for each output, as rows of an array."""

_SIZE = WIDTH // 2
"""The bytes of a digest."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""A factor that keeps all bits; without one, two equal numbers could cancel each other."""


class ProducedColumns:
    """The produced outputs of a campaign: digest of a recipe → the keys of the outputs that were made by it, in any order.

    Outputs of a step are mostly made together: columns with equal keys are kept and compared once.
    """

    def __init__(self, columns: Mapping[str, Keys]) -> None:
        self._columns: dict[str, Keys] = {}
        for recipe, keys in columns.items():
            alike = (one for one in self._columns.values() if np.array_equal(one, keys))
            self._columns[recipe] = next(alike, keys)
        self._packed: dict[tuple[int, int], tuple[Fingerprints, Keys]] = {}
        self._absent: dict[tuple[int, int, int], Sequence[int]] = {}

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._columns.values())

    def find_absent(self, column: Fingerprints) -> Sequence[int]:
        """The sorted indices of the outputs of a column that are not produced. A second call costs nothing."""
        made = self._columns.get(column.recipe)
        if made is None or not len(made):
            return range(len(column))
        place = id(column.inputs), id(column.conditions)
        asked = (id(made), *place)
        if asked not in self._absent:
            if place not in self._packed:  # outputs of a step have the same inputs
                self._packed[place] = column, pack(column.inputs, column.conditions)
            self._absent[asked] = _compare(self._packed[place][1], made)
        return self._absent[asked]

    def has_others(self, columns: Sequence[Fingerprints]) -> bool:
        """Whether a produced output may be in no column. If columns have the same recipe, it is not looked up."""
        if len({one.recipe for one in columns}) < len(columns):
            return True
        return len(self) > sum(len(one) - len(self.find_absent(one)) for one in columns)


def _compare(keys: Keys, made: Keys) -> Sequence[int]:
    if np.array_equal(made, keys):  # both are mostly in the order of runs
        return ()
    found: list[int] = np.flatnonzero(~is_among(keys, sort_keys(made))).tolist()
    return found


def pack(inputs: Sequence[str], conditions: Sequence[str] | None = None) -> Keys:
    """The keys of outputs with these inputs and payload sets, in their order."""
    given = inputs.packed if isinstance(inputs, DigestColumn) else bytes.fromhex("".join(inputs))
    return pack_bytes(given, None if conditions is None else bytes.fromhex("".join(conditions)))


def pack_bytes(inputs: bytes, conditions: bytes | None = None) -> Keys:
    """The same, of digests that are written one behind the other; 32 bytes without a bit say that there is no payload set."""
    keys = _read(inputs)
    if conditions is not None:
        keys += _read(conditions) * _ODD
    return keys


def read_keys(packed: bytes) -> Keys:
    """Keys that are written one behind the other, as `make_key` makes them."""
    return np.frombuffer(packed, dtype="<u8").astype(np.uint64, copy=False).reshape(-1, 2)


def sort_keys(keys: Keys) -> Keys:
    """The keys, sorted by their first number."""
    return keys[np.argsort(keys[:, 0], kind="stable")]


def _read(digests: bytes) -> Keys:
    """Two numbers for each digest of 32 bytes.

    Raises:
        ValueError: a digest has another length.
    """
    if len(digests) % _SIZE:
        raise ValueError("a digest does not have 32 bytes")
    numbers = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 4)
    keys = numbers[:, 2:] * _ODD
    keys += numbers[:, :2]
    return keys


def is_among(keys: Keys, made: Keys) -> NDArray[np.bool_]:
    """Which of the keys are among `made`, which are sorted."""
    place = np.searchsorted(made[:, 0], keys[:, 0])
    found = np.zeros(len(keys), dtype=bool)
    left = np.flatnonzero(place < len(made))
    while len(left := left[made[place[left], 0] == keys[left, 0]]):
        found[left] |= made[place[left], 1] == keys[left, 1]
        place[left] += 1  # others may have the same first number
        left = left[~found[left] & (place[left] < len(made))]
    return found
