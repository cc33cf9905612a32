"""What kept comparisons are about, and their verdicts, without their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from reconciler.ledger.reading.comparisons import read_comparison
from schemas.manifest.runs import RunSet, parse_runs


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """One side of a comparison: the dataset as it was named, the digest of its edition, and its runs that the other side lacks.

    `outputs` is the digest of the outputs that were compared; None if the comparison was made before they were told.
    """

    dataset: str
    edition: str
    alone: RunSet
    outputs: str | None


@dataclass(frozen=True, slots=True)
class ComparisonHead:
    """What a comparison is about: both sides, the runs of both, and the name and the digest of the criteria."""

    compared: ComparedSide
    against: ComparedSide
    runs: RunSet
    criteria: str
    criteria_digest: str
    verdict: str


_KNOWN: dict[str, ComparisonHead] = {}
"""By digest: each plan asks for all, for each stage and bucket, and none ever changes."""
_MOST = 10_000


def read_head(connection: Connection, value: str) -> ComparisonHead | None:
    """What the comparison with this digest is about; None if it was not kept.

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
        one, other = (_parse_side(told[key]) for key in ("compared", "against"))
        by = told["validation"]
        _KNOWN[value] = ComparisonHead(
            one, other, parse_runs(told["runs"]), by["name"], by["digest"], told["verdict"]
        )
    return _KNOWN[value]


def _parse_side(told: Mapping[str, Any]) -> ComparedSide:
    return ComparedSide(told["dataset"], told["edition"], parse_runs(told["alone"]), told.get("outputs"))
