"""Validations: what is histogrammed, and by which criteria two datasets are compared.

They are policy, so that no campaign writes its own pass marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.findings.finding import Finding
from schemas.json_schema.values import read_value
from schemas.skims.cut_error import CutSyntaxError
from schemas.skims.quantity import EVENT, Quantity
from schemas.yaml.document import Document

VALIDATIONS = "productions/validations"
"""The folder of the files NAME.yaml."""


@dataclass(frozen=True, slots=True)
class EventCriterion:
    """Numbers of events are equal. With fewer than `min_runs` counted runs the check is inconclusive."""

    min_runs: int


@dataclass(frozen=True, slots=True)
class BranchCriterion:
    """The verdicts on branches that the files of the new side lack, and on those that only they have: pass, warn or fail."""

    lost: str
    gained: str


@dataclass(frozen=True, slots=True)
class ChangeCriterion:
    """A relative change above `warn` warns, above `fail` fails: 0.01 is one per cent, up or down."""

    warn: float
    fail: float
    min_runs: int


@dataclass(frozen=True, slots=True)
class ShiftCriterion:
    """As `ChangeCriterion`, for changes that are significant at the false discovery rate `level`.

    A rate of which both sides together kept fewer than `min_events` events is not judged. `paired` rates are compared event by
    event, where it is known which ones both sides kept.
    """

    level: float
    warn: float
    fail: float
    min_runs: int
    min_events: int
    paired: bool = False


@dataclass(frozen=True, slots=True)
class WarnAndFail:
    """What warns and what fails: of p-values what is below, of sizes what is above."""

    warn: float
    fail: float


@dataclass(frozen=True, slots=True)
class HistogramCriterion:
    """A change of a histogram warns or fails if its p-value and its size both do.

    `difference` is that of the contents of bins, as a share of them; `shift` is that of the mean, in units of the reference's
    rms. A histogram with fewer than `min_entries` entries on a side, or of fewer than `min_runs` runs, is not judged.
    """

    p: WarnAndFail
    difference: WarnAndFail
    shift: WarnAndFail
    min_runs: int
    min_entries: int


@dataclass(frozen=True, slots=True)
class RunHistogramCriterion:
    """As `HistogramCriterion`, for the histograms of single runs: significant at the false discovery rate `level`."""

    level: float
    difference: WarnAndFail
    shift: WarnAndFail
    min_runs: int
    min_entries: int


@dataclass(frozen=True, slots=True)
class Checks:
    """What is compared, each with its criterion; None is not looked at."""

    events: EventCriterion | None = None
    retention: ShiftCriterion | None = None
    run_retention: ShiftCriterion | None = None
    stability: ShiftCriterion | None = None
    luminosity: ChangeCriterion | None = None
    event_size: ChangeCriterion | None = None
    cpu_time: ChangeCriterion | None = None
    branches: BranchCriterion | None = None
    histograms: HistogramCriterion | None = None
    run_histograms: RunHistogramCriterion | None = None

    @property
    def need_events(self) -> bool:
        """Whether rates are compared event by event."""
        return any(one is not None and one.paired for one in (self.retention, self.run_retention))

    @property
    def need_histograms(self) -> bool:
        """Whether histograms are compared."""
        return self.histograms is not None or self.run_histograms is not None


@dataclass(frozen=True, slots=True)
class Validation:
    """The criteria `checks`, and the `quantities` of which histograms are made; one of the two may be empty.

    `stated` is the JSON data of the criteria, as the file has them. `p` are the p-values of quantities that have their own.
    """

    name: str
    title: str
    checks: Checks
    stated: Mapping[str, Any]
    quantities: tuple[Quantity, ...] = ()
    p: Mapping[str, WarnAndFail] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """What a comparison is made by, as JSON data: the criteria and, if histograms are compared, the quantities."""
        if not self.checks.need_histograms:
            return {"checks": self.stated}
        quantities = {}
        for one in self.quantities:
            quantities[one.name] = {**one.describe(), "title": one.title, "shown_to": one.shown_to}
            if (p := self.p.get(one.name)) is not None:
                quantities[one.name]["p"] = {"warn": p.warn, "fail": p.fail}
        return {"checks": self.stated, "quantities": quantities}


def read_validation(name: str, document: Document) -> tuple[Validation, tuple[Finding, ...]]:
    """The validation in a document that the schema `validation/1` has accepted, and findings on its quantities.

    A quantity with a finding is left out.
    """
    findings: list[Finding] = []
    stated = document.data.get("checks", {})
    quantities = tuple(_read_quantities(document, findings))
    p = {
        one: read_value(WarnAndFail, data["p"])
        for one, data in document.data.get("quantities", {}).items()
        if "p" in data
    }
    made: dict[str, Any] = {"name": name, "checks": read_value(Checks, stated), "stated": stated}
    made |= {"quantities": quantities, "p": p}
    return read_value(Validation, document.data, **made), tuple(findings)


def _read_quantities(document: Document, findings: list[Finding]) -> Iterator[Quantity]:
    from schemas.skims.cut import parse_formula  # noqa: PLC0415 -- the parser loads slowly, and most commands read no formula

    for name, data in document.data.get("quantities", {}).items():
        path = ("quantities", name)
        before = len(findings)
        findings.extend(_check_quantity(document, path, data))
        formula = None
        if "expression" in data:
            try:
                formula = parse_formula(data["expression"])
            except CutSyntaxError as error:
                at = document.point_into((*path, "expression"), error.column - 1)
                message = (
                    f"the expression of {name} does not parse: {error.problem} (character {error.column})"
                )
                findings.append(Finding(at, "BP516", message, error.hint))
        if len(findings) == before:
            yield read_value(Quantity, data, name=name, formula=formula)


def _check_quantity(document: Document, path: tuple[str, str], data: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings on keys that do not go together, and on bins without a width."""
    name, bins = path[1], data["bins"]
    if ("expression" in data) == ("count" in data):
        given = "both" if "count" in data else "none"
        message = f"{name} needs one of `expression` and `count`, and has {given}"
        yield document.report_key(
            path, "BP207", message, "keep one of them" if given == "both" else "add one of them"
        )
    elif "count" in data and "of" in data:
        message = "`of` says of what an expression names members, and a count has none"
        yield document.report_clash((*path, "count"), (*path, "of"), message, "remove `of`")
    elif "count" in data and data["per"] != EVENT:
        message = f"{name} counts objects, which gives one number per event"
        yield document.report((*path, "per"), "BP205", message, f"write `per: {EVENT}`")
    if bins["low"] >= bins["high"]:
        message = f"the bins of {name} begin at {bins['low']:g} and end at {bins['high']:g}"
        yield document.report(
            (*path, "bins", "high"), "BP205", message, "write for `high` more than for `low`"
        )


def check_criteria(document: Document) -> Iterator[Finding]:
    """Findings on checks that fail before they warn, and on a validation that says nothing."""
    if "checks" not in document.data and "quantities" not in document.data:
        message = "the validation has neither `checks` nor `quantities`"
        hint = "add `checks`, by which datasets are compared, or `quantities`, of which histograms are made"
        yield document.report_key((), "BP207", message, hint)
    checks = document.data.get("checks", {})
    if "quantities" not in document.data:
        for name in sorted({"histograms", "run_histograms"} & checks.keys()):
            message = f"`{name}` compares histograms, and the validation has no `quantities`"
            yield document.report_key(("checks", name), "BP207", message, "add `quantities`, or remove it")
    for name, criterion in checks.items():
        yield from _check_limits(document, ("checks", name), criterion, name)
        for key in ("difference", "shift"):
            if key in criterion:
                yield from _check_limits(document, ("checks", name, key), criterion[key], f"{name}.{key}")
        if "p" in criterion:
            yield from _check_p(document, ("checks", name, "p"), criterion["p"], name)
    for name, data in document.data.get("quantities", {}).items():
        if "p" in data:
            yield from _check_p(document, ("quantities", name, "p"), data["p"], name)


def _check_limits(
    document: Document, path: tuple[str, ...], limits: Mapping[str, Any], name: str
) -> Iterator[Finding]:
    if limits.get("warn", 0) > limits.get("fail", 0):
        message = f"{name} fails at {limits['fail']:g}, and would warn at {limits['warn']:g} only"
        hint = "write for `warn` at most what `fail` has"
        yield document.report((*path, "warn"), "BP710", message, hint)


def _check_p(document: Document, path: tuple[str, ...], p: Mapping[str, Any], name: str) -> Iterator[Finding]:
    if p["warn"] < p["fail"]:
        message = f"{name} fails below the p-value {p['fail']:g}, and would warn below {p['warn']:g} only"
        yield document.report((*path, "warn"), "BP710", message, "write for `warn` at least what `fail` has")
