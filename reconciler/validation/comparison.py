"""Compares a dataset with a reference by declared criteria. Pure: the same facts and criteria give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from reconciler.run_catalogue.luminosity import Measured
from reconciler.validation.branch_checks import BranchPairs, check_branches
from reconciler.validation.event_pairs import EventPairs
from reconciler.validation.histogram_checks import check_histograms, check_run_histograms
from reconciler.validation.histogram_contents import HistogramPairs
from reconciler.validation.production_facts import ProductionFacts
from reconciler.validation.rate_checks import (
    check_retention,
    check_run_retention,
    check_stability,
    pair_skims,
)
from reconciler.validation.ratio_checks import (
    check_events,
    check_luminosity,
    check_ratio,
    measure_event_size,
    measure_event_time,
)
from reconciler.validation.results import CheckResult, ValidationVerdict, find_worst
from schemas.files.canonical import canonical_json, digest
from schemas.manifest.runs import format_runs
from schemas.policy.validation import Validation

SCHEMA = "comparison/1"


@dataclass(frozen=True)
class Comparison:
    """The results of all checks of a validation, for the runs `common` of a dataset `one` and its reference `other`.

    `outputs` has the digest of what each of both has of these runs; None if the ledger does not tell which outputs they are.
    """

    one: ProductionFacts
    other: ProductionFacts
    validation: Validation
    common: tuple[int, ...]
    results: tuple[CheckResult, ...]
    histograms: HistogramPairs | None = None
    branches: BranchPairs | None = None
    events: EventPairs | None = None
    outputs: tuple[str | None, str | None] = (None, None)

    @property
    def verdict(self) -> ValidationVerdict:
        """The worst verdict of its checks."""
        return find_worst(result.verdict for result in self.results)

    def describe(self) -> dict[str, Any]:
        """The comparison as JSON data."""
        sides = {
            name: {"dataset": side.dataset, "edition": side.edition, "facts": side.digest}
            | {"alone": format_runs(sorted(side.runs.keys() - {*self.common}))}
            for name, side in (("compared", self.one), ("against", self.other))
        }
        for side, named in zip(sides.values(), self.outputs, strict=True):
            side.update({} if named is None else {"outputs": named})
        for name, read in (
            ("histograms", self.histograms),
            ("branches", self.branches),
            ("events", self.events),
        ):
            for side, digest_ in zip(sides.values(), read.digests if read else (), strict=False):
                side[name] = digest_
        stated = self.validation.describe()
        return {
            "schema": SCHEMA,
            **sides,
            "runs": format_runs(self.common),
            "validation": {
                "name": self.validation.name,
                "title": self.validation.title,
                "digest": digest(stated if "quantities" in stated else stated["checks"]),
                **stated,
            },
            "verdict": self.verdict.value,
            "results": [result.describe() for result in self.results],
        }

    @cached_property
    def content(self) -> bytes:
        """Its canonical JSON."""
        return canonical_json(self.describe())

    @property
    def digest(self) -> str:
        """The sha256 of its content."""
        return sha256(self.content).hexdigest()


def list_common(one: ProductionFacts, other: ProductionFacts) -> tuple[int, ...]:
    """The sorted keys of the runs that both datasets have."""
    return tuple(sorted(one.runs.keys() & other.runs.keys()))


def compare_productions(
    one: ProductionFacts,
    other: ProductionFacts,
    validation: Validation,
    measured: Measured,
    histograms: HistogramPairs | None = None,
    branches: BranchPairs | None = None,
    events: EventPairs | None = None,
    outputs: tuple[str | None, str | None] = (None, None),
) -> Comparison:
    """Compares a dataset with its reference `other`, over the runs of both; `measured` are their luminosities.

    `histograms` are what was read of the files of histograms of these runs; without them, checks of histograms are
    inconclusive, and error-flagged events are not known. `branches` are those of files of some of these runs.
    `events` tell which ones of the skims only one side kept; without them, rates are not paired. `outputs` are the digests of
    what is compared.
    """
    common = list_common(one, other)
    flagged = {} if histograms is None else histograms.flagged
    rates = _check(one, other, validation, measured, common, flagged, events or EventPairs({}))
    files = (*_check_branches(validation, branches), *_check_shapes(validation, histograms))
    results = (*rates, *files)
    return Comparison(one, other, validation, common, results, histograms, branches, events, outputs)


def _check_branches(validation: Validation, branches: BranchPairs | None) -> Iterator[CheckResult]:
    if (criterion := validation.checks.branches) is not None:
        if branches is None:
            yield CheckResult("branches", ValidationVerdict.INCONCLUSIVE, "the files were not read")
        else:
            yield check_branches(branches, criterion)


def _check_shapes(validation: Validation, histograms: HistogramPairs | None) -> Iterator[CheckResult]:
    checks = validation.checks
    if histograms is None:
        asked = {"histograms": checks.histograms, "run_histograms": checks.run_histograms}
        for name, criterion in asked.items():
            if criterion is not None:
                yield CheckResult(name, ValidationVerdict.INCONCLUSIVE, "the histograms were not read")
        return
    if checks.histograms is not None:
        yield check_histograms(histograms, checks.histograms, validation.p)
    if checks.run_histograms is not None:
        yield check_run_histograms(histograms, checks.run_histograms)


def _check(
    one: ProductionFacts,
    other: ProductionFacts,
    validation: Validation,
    measured: Measured,
    common: tuple[int, ...],
    flagged: Mapping[int, tuple[int, int]],
    events: EventPairs,
) -> Iterator[CheckResult]:
    checks = validation.checks
    pairs = [events.join(pair) for pair in pair_skims(one, other, common)]
    if checks.events is not None:
        yield check_events(one, other, common, checks.events, flagged)
    if checks.retention is not None:
        yield check_retention(pairs, checks.retention)
    if checks.run_retention is not None:
        yield check_run_retention(pairs, checks.run_retention)
    if checks.stability is not None:
        yield check_stability(pairs, checks.stability)
    if checks.luminosity is not None:
        yield check_luminosity(one, other, common, measured, checks.luminosity)
    if checks.event_size is not None:
        yield check_ratio("event_size", one, other, common, measure_event_size, checks.event_size)
    if checks.cpu_time is not None:
        yield check_ratio("cpu_time", one, other, common, measure_event_time, checks.cpu_time)
