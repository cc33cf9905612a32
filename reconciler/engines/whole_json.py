"""JSON of which nothing was lost: an object that says one thing twice is two objects of which the middle is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def read_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; for `object_pairs_hook`.

    Raises:
        ValueError: a key comes twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice in an object")
    return found
