"""Canonical JSON and digests: the only place that decides on the bytes of a value."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode  # made once: `json.dumps` makes it for each value, which takes as long as the value of a job
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def canonical_json(value: Any) -> bytes:
    r"""The canonical JSON of `value`: sorted keys, no blanks, UTF-8, no NaN or infinity.

    >>> canonical_json({"b": [1, "é"], "a": None})
    b'{"a":null,"b":[1,"\xc3\xa9"]}'

    Raises:
        ValueError: a float that JSON does not have.
    """
    return _encode(value).encode()


def clean_text(text: str) -> str:
    r"""The text with U+FFFD for each lone surrogate and NUL, which UTF-8 or a database cannot store.

    >>> clean_text("a\0b\udc80")
    'a\ufffdb\ufffd'
    """
    return _UNWRITABLE.sub("\ufffd", text)


def digest(value: Any) -> str:
    """The sha256, 64 hexadecimal digits, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
