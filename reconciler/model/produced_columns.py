"""Which outputs of a campaign are produced: columns of digests, compared as a whole.

An output is determined by its recipe, its input and its payload set. Of a million runs, these are compared without computing a
fingerprint: 128 bits of each pair of digests are enough, and take 16 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from renderer.identity.fingerprint import Fingerprints

Keys = NDArray[np.uint64]
"""Two numbers for each output, as rows of an array."""

_WIDTH = 64
"""The hexadecimal digits of a digest."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""A factor that keeps all bits; without one, two equal numbers could cancel each other."""


class ProducedColumns:
    """The produced outputs of a campaign: digest of a recipe → the keys of the outputs that were made by it, in any order."""

    def __init__(self, columns: Mapping[str, Keys]) -> None:
        self._columns = columns
        self._sorted: dict[str, Keys] = {}
        self._packed: dict[tuple[int, int], tuple[Fingerprints, Keys]] = {}
        self._absent: dict[tuple[str, int, int], list[int]] = {}

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._columns.values())

    def find_absent(self, column: Fingerprints) -> list[int]:
        """The indices of the outputs of a column that are not produced. A second call costs nothing."""
        place = id(column.inputs), id(column.conditions)
        if (column.recipe, *place) not in self._absent:
            if place not in self._packed:  # outputs of a step have the same inputs
                self._packed[place] = column, pack(column.inputs, column.conditions)
            self._absent[column.recipe, *place] = self._compare(column.recipe, self._packed[place][1])
        return self._absent[column.recipe, *place]

    def count_others(self, columns: Sequence[Fingerprints]) -> int:
        """The number of the produced outputs that no column has. If columns have equal outputs, it may only be not zero."""
        there = sum(len(one) - len(self.find_absent(one)) for one in columns)
        return len(self) - there

    def _compare(self, recipe: str, keys: Keys) -> list[int]:
        made = self._columns.get(recipe)
        if made is None or not len(made):
            return list(range(len(keys)))
        if np.array_equal(made, keys):  # outputs are mostly written in the order of runs
            return []
        if recipe not in self._sorted:
            self._sorted[recipe] = sort_keys(made)
        return np.flatnonzero(~is_among(keys, self._sorted[recipe])).tolist()


def pack(inputs: Sequence[str], conditions: Sequence[str] | None = None) -> Keys:
    """The keys of outputs with these inputs and payload sets, in their order."""
    return pack_text("".join(inputs), None if conditions is None else "".join(conditions))


def pack_text(inputs: str, conditions: str | None = None) -> Keys:
    """The same, of digests that are written one behind the other."""
    keys = _read(inputs)
    if conditions is not None:
        keys = keys + _read(conditions) * _ODD
    return keys


def sort_keys(keys: Keys) -> Keys:
    """The keys, sorted by their first number."""
    return keys[np.argsort(keys[:, 0], kind="stable")]


def _read(digests: str) -> Keys:
    """Two numbers for each of the hexadecimal digests that are written one behind the other.

    Raises:
        ValueError: a digest has another length, or other characters.
    """
    if len(digests) % _WIDTH:
        raise ValueError("a digest does not have 64 hexadecimal digits")
    numbers = np.frombuffer(bytes.fromhex(digests), dtype=np.uint64).reshape(-1, 4)
    return numbers[:, :2] + numbers[:, 2:] * _ODD


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
