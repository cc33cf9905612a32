"""Validations: what is histogrammed, and by which criteria two datasets are compared.

They are policy, so that no campaign writes its own pass marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
class ChangeCriterion:
    """A relative change above `warn` warns, above `fail` fails: 0.01 is one per cent, up or down."""

    warn: float
    fail: float
    min_runs: int


@dataclass(frozen=True, slots=True)
class ShiftCriterion:
    """As `ChangeCriterion`, for changes that are significant at the false discovery rate `level`.

    A rate of which both sides together kept fewer than `min_events` events is not judged.
    """

    level: float
    warn: float
    fail: float
    min_runs: int
    min_events: int


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


@dataclass(frozen=True, slots=True)
class Validation:
    """The criteria `checks`, and the `quantities` of which histograms are made; one of the two may be empty.

    `stated` is the JSON data of the criteria, as the file has them.
    """

    name: str
    title: str
    checks: Checks
    stated: Mapping[str, Any]
    quantities: tuple[Quantity, ...] = ()


def read_validation(name: str, document: Document) -> tuple[Validation, tuple[Finding, ...]]:
    """The validation in a document that the schema `validation/1` has accepted, and findings on its quantities.

    A quantity with a finding is left out.
    """
    findings: list[Finding] = []
    stated = document.data.get("checks", {})
    quantities = tuple(_read_quantities(document, findings))
    made = {"name": name, "checks": read_value(Checks, stated), "stated": stated, "quantities": quantities}
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
    for name, criterion in document.data.get("checks", {}).items():
        if criterion.get("warn", 0) > criterion.get("fail", 0):
            message = f"{name} fails at {criterion['fail']:g}, and would warn at {criterion['warn']:g} only"
            hint = "write for `warn` at most what `fail` has"
            yield document.report(("checks", name, "warn"), "BP710", message, hint)
