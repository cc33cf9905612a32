"""What kept comparisons are about, and their verdicts, without their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from reconciler.ledger.reading.comparisons import read_comparison

_KEYS = ("compared", "against", "runs", "validation", "verdict")
_KNOWN: dict[str, Mapping[str, Any]] = {}
"""By digest: each plan asks for all, for each stage and bucket, and none ever changes."""
_MOST = 10_000


def read_head(connection: Connection, value: str) -> Mapping[str, Any] | None:
    """The datasets, runs, criteria and verdict of the comparison with this digest; None if it was not kept.

    Raises:
        SourceUnavailable: its content is not what was kept.
    """
    if value not in _KNOWN:
        content = read_comparison(connection, value)
        if content is None:
            return None
        told = json.loads(content)
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        _KNOWN[value] = {key: told[key] for key in _KEYS}
    return _KNOWN[value]
