"""Validations: by which criteria two datasets are compared. They are policy, so that no campaign writes its own pass marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.findings.finding import Finding
from schemas.json_schema.values import read_value
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
    """The criteria `checks`; `stated` is their JSON data, as the file has them."""

    name: str
    title: str
    checks: Checks
    stated: Mapping[str, Any]


def read_validation(name: str, document: Document) -> Validation:
    """The validation in a document that the schema `validation/1` has accepted."""
    return read_value(Validation, document.data, name=name, stated=document.data["checks"])


def check_criteria(document: Document) -> Iterator[Finding]:
    """Findings on checks that fail before they warn."""
    for name, criterion in document.data["checks"].items():
        if criterion.get("warn", 0) > criterion.get("fail", 0):
            message = f"{name} fails at {criterion['fail']:g}, and would warn at {criterion['warn']:g} only"
            hint = "write for `warn` at most what `fail` has"
            yield document.report(("checks", name, "warn"), "BP710", message, hint)
