"""The note of an edition as a value: what it has, how it was made, and what is new against another edition. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reconciler.datasets.comparison import DatasetDifference
from reconciler.datasets.totals import Totals
from reconciler.planning.edition_notes.missing_runs import MissingRuns
from reconciler.planning.edition_notes.payload_changes import ChangedPayloads
from reconciler.planning.edition_notes.skim_rates import SkimRate
from reconciler.run_catalogue.luminosity import Pair, Total
from schemas.manifest.known_issue import KnownIssue
from schemas.manifest.runs import RunSet, format_runs

SCHEMA = "edition-note/1"


@dataclass(frozen=True, slots=True)
class MadeWith:
    """How some runs of an edition were made: release, application, level, skim with its cut; `runs` is their number."""

    facts: Mapping[str, Any]
    runs: int

    def describe(self) -> dict[str, Any]:
        """It as JSON data."""
        return {**self.facts, "runs": self.runs}


@dataclass(frozen=True, slots=True)
class NotedEdition:
    """An edition of which a note tells: its totals, how it was made, its skims and its luminosity.

    `frozen` is when. `global_tags` are the names in the campaign's manifest, or what was told at the import. `luminosity` is
    that of just its runs, by every method.
    """

    name: str
    digest: str
    frozen: str
    reason: str | None
    totals: Totals
    made_with: tuple[MadeWith, ...]
    global_tags: tuple[str, ...]
    skims: tuple[SkimRate, ...]
    luminosity: tuple[Total, ...]

    def describe(self) -> dict[str, Any]:
        """The edition as JSON data; sizes are in bytes, luminosities in inverse nanobarn."""
        luminosity = [{**asdict(one), "without": format_runs(one.without)} for one in self.luminosity]
        return {
            "name": self.name,
            "digest": self.digest,
            "frozen": self.frozen,
            **({} if self.reason is None else {"reason": self.reason}),
            **asdict(self.totals),
            "made_with": [one.describe() for one in self.made_with],
            "global_tags": list(self.global_tags),
            "skims": [one.describe() for one in self.skims],
            "luminosity": luminosity,
        }


@dataclass(frozen=True, slots=True)
class NotedVerdict:
    """The verdict of a kept comparison of an edition. `current` is False if the criteria of this name are others now."""

    comparison: str
    against: str
    validation: str
    verdict: str
    runs: str
    made: str
    current: bool


@dataclass(frozen=True, slots=True)
class NotedPlace:
    """Where readers find the edition, in words, and since when."""

    place: str
    where: str
    since: str


@dataclass(frozen=True, slots=True)
class EditionNote:
    """All that a note tells. `runs` are those of the edition; what compares is None or empty without another edition.

    `places` are those where it is published. `pairs` are the luminosities over the runs that both have. `issues` are the known issues, each with the runs of the edition
    that have it.
    """

    edition: NotedEdition
    runs: RunSet
    missing: MissingRuns
    verdicts: tuple[NotedVerdict, ...]
    issues: tuple[tuple[KnownIssue, RunSet], ...]
    places: tuple[NotedPlace, ...] = ()
    against: NotedEdition | None = None
    difference: DatasetDifference | None = None
    payloads: ChangedPayloads | None = None
    pairs: tuple[Pair, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The note as JSON data: the same facts give the same."""
        told: dict[str, Any] = {
            "schema": SCHEMA,
            "edition": self.edition.describe(),
            "runs": format_runs(self.runs),
            "published": [asdict(one) for one in self.places],
            "missing": self.missing.describe(),
            "validation": [asdict(one) for one in self.verdicts],
            "known_issues": [issue.describe(runs) for issue, runs in self.issues],
        }
        if self.against is None or self.difference is None or self.payloads is None:
            return told
        difference = self.difference
        return told | {
            "against": self.against.describe(),
            "gained": format_runs(difference.added),
            "lost": format_runs(difference.removed),
            "same": difference.same,
            "recounted": format_runs(difference.recounted),
            "changed": [
                {
                    "reason": one.reason,
                    "count": len(one.runs),
                    "runs": format_runs(one.runs),
                    "before": asdict(one.before),
                    "after": asdict(one.after),
                }
                for one in difference.changed
            ],
            "payloads": self.payloads.describe(),
            "common_luminosity": [_describe_pair(one) for one in self.pairs],
        }


def _describe_pair(pair: Pair) -> dict[str, Any]:
    values = {
        side: None
        if one is None
        else {name: getattr(one, name) for name in ("value", "statistical", "systematic")}
        for side, one in (("edition", pair.here), ("against", pair.there))
    }
    where = dict(zip(("method", "version", "correction"), pair.where, strict=True))
    return {**where, **values, "ratio": pair.ratio}
