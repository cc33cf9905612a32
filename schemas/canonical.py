"""Canonical JSON and digests: the one place that decides which bytes a value is."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    r"""The canonical JSON of `value`: sorted keys, no blanks, UTF-8, no NaN or infinity.

    >>> canonical_json({"b": [1, "é"], "a": None})
    b'{"a":null,"b":[1,"\xc3\xa9"]}'

    Raises:
        ValueError: a float that JSON cannot say.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> str:
    """The sha256, 64 hexadecimal digits, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
