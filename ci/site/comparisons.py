"""Comparisons of datasets that were kept, as the site shows them: the worst first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from ci.reports.comparison import list_rows, name_sides, tell_runs
from reconciler.ledger.reading.comparisons import list_comparisons, read_comparison
from reconciler.outside.errors import SourceUnavailable
from reconciler.validation.results import ValidationVerdict
from schemas.skims.quantity import EXPERT

NEWEST = 50
"""How many of the newest comparisons are shown."""
ROWS = 25
"""How many rows of a check are shown."""


@dataclass(frozen=True, slots=True)
class ShownComparison:
    """A kept comparison; `told` are its JSON data."""

    digest: str
    created: str
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What was compared with what, in words."""
        return name_sides(self.told)

    @property
    def verdict(self) -> str:
        """The worst verdict of its checks."""
        return str(self.told["verdict"])

    def tell_runs(self) -> list[str]:
        """Which runs were compared, and which could not be."""
        return list(tell_runs(self.told))

    def list_checks(self) -> Iterator[tuple[Mapping[str, Any], Sequence[str], Sequence[Sequence[str]], int]]:
        """The checks, the worst first: each with the heading of its rows, the first rows, and how many there are."""
        for result in sorted(self.told["results"], key=lambda one: _rank(one["verdict"])):
            head, *rows = list_rows(self.told, result, EXPERT) or [()]
            yield result, head, rows[:ROWS], len(rows)

    def describe(self) -> dict[str, Any]:
        """The comparison as JSON data, without the rows of its checks."""
        sides = {name: self.told[name]["dataset"] for name in ("compared", "against")}
        checks = [
            {name: one[name] for name in ("check", "verdict", "reason")} for one in self.told["results"]
        ]
        about = {"digest": self.digest, "created": self.created, "verdict": self.verdict}
        return {**about, **sides, "runs": self.told["runs"], "checks": checks}


def _rank(verdict: str) -> int:
    return [*ValidationVerdict].index(ValidationVerdict(verdict))


def read_comparisons(connection: Connection) -> tuple[tuple[ShownComparison, ...], list[str]]:
    """The newest kept comparisons, the worst first; and what is wrong with those that cannot be read."""
    found, damaged = [], []
    for digest, created in list_comparisons(connection)[:NEWEST]:
        try:
            content = read_comparison(connection, digest)
        except SourceUnavailable as error:
            damaged.append(str(error))
            continue
        if content is not None:
            found.append(ShownComparison(digest, created, json.loads(content)))
    return tuple(sorted(found, key=lambda one: _rank(one.verdict))), damaged
