"""Known issues: what is wrong with data that are there. They enter no fingerprint and no lock, and stop nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from schemas.files.times import is_day
from schemas.findings.finding import Finding
from schemas.json_schema.values import read_value
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RUN_LIMIT, RunSet, format_runs, parse_ranges, run_key
from schemas.manifest.spans import unite
from schemas.manifest.variant import find_declared
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show

KNOWN_ISSUES = "productions/known-issues"
"""The folder of the manifests NAME.yaml."""

SEVERITIES = ("unusable", "major", "minor")
"""How bad an issue is, the worst first."""

_CAMPAIGN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamedData:
    """Which data an issue names: of a campaign, of its step `step` or variant, its output, or one of its editions.

    `step` and `output` are empty, and `edition` is None, where all of them are meant.
    """

    campaign: str
    step: str = ""
    output: str = ""
    edition: int | None = None

    def has(self, name: DatasetName) -> bool:
        """Whether a dataset, or an edition of one, belongs to these data; of the head of a dataset, no edition is asked for."""
        if name.campaign != self.campaign or (self.output and name.output != self.output):
            return False
        step = name.step if "@" in self.step else find_declared(name.step)
        return step == self.step or not self.step

    def __str__(self) -> str:
        name = "/".join(filter(None, (self.campaign, self.step, self.output)))
        return name if self.edition is None else f"{name}:{self.edition}"


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """An issue. `runs` is None if all runs have it; `fixed_in` names data without it, and is empty if none are known."""

    name: str
    title: str
    severity: str
    since: date
    datasets: tuple[NamedData, ...]
    document: Document
    description: str | None = None
    runs: RunSet | None = None
    fixed_in: tuple[NamedData, ...] = ()
    ticket: str | None = None

    def concerns(self, name: DatasetName) -> bool:
        """Whether a dataset has it in some of the issue's runs.

        An edition has it if it is named, or if its dataset is, and it is neither among those in which it is fixed, nor later than
        one of these. The head of a dataset has it if one of its editions may have it.
        """
        if any(_is_fixed(one, name) for one in self.fixed_in):
            return False
        named = (one for one in self.datasets if one.has(name))
        return any(None in (one.edition, name.edition) or one.edition == name.edition for one in named)

    def describe(self, runs: RunSet | None = None) -> dict[str, Any]:
        """The issue as JSON data, without what is not said. `runs`, if given, replace its own."""
        mine = self.runs if runs is None else runs
        told = {
            "name": self.name,
            "severity": self.severity,
            "title": self.title,
            "description": self.description,
            "since": self.since.isoformat(),
            "runs": None if mine is None else format_runs(mine),
            "fixed_in": [str(one) for one in self.fixed_in] or None,
            "ticket": self.ticket,
        }
        return {key: value for key, value in told.items() if value is not None}


def _is_fixed(fixed: NamedData, name: DatasetName) -> bool:
    """Whether a dataset is without an issue that is fixed in these data: all of it, or from an edition on."""
    return fixed.has(name) and (fixed.edition is None or (name.edition or 0) >= fixed.edition)


def find_known_issues(issues: Iterable[KnownIssue], name: DatasetName) -> tuple[KnownIssue, ...]:
    """The issues that a dataset or an edition has, the worst first, then by day and name."""
    found = (one for one in issues if one.concerns(name))
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.since, one.name)))


def parse_named(text: str) -> NamedData:
    """The data that a text of the manifest names.

    Raises:
        ValueError: the text names neither a campaign, a step, nor a dataset; the message says what one is.
    """
    if _CAMPAIGN.fullmatch(text):
        return NamedData(text)
    name = parse_dataset(text)
    return NamedData(name.campaign, name.step, name.output, name.edition)


def read_known_issue(name: str, document: Document) -> tuple[KnownIssue | None, tuple[Finding, ...]]:
    """The issue in a document that the schema `known-issue/1` has accepted; None with findings."""
    data = document.data
    findings = [*_check_names(document), *_check_runs(document)]
    if not is_day(data["since"]):
        message = f"{show(data['since'])} is not a day of the calendar"
        hint = 'write year, month and day, as in "2019-04-30"'
        findings.append(document.report(("since",), "BP407", message, hint))
    if findings:
        return None, tuple(findings)
    named = {key: tuple(map(parse_named, data.get(key, ()))) for key in ("datasets", "fixed_in")}
    runs = _read_runs(data["runs"]) if "runs" in data else None
    return read_value(KnownIssue, data, name=name, document=document, runs=runs, **named), ()


def _check_names(document: Document) -> Iterator[Finding]:
    for key in ("datasets", "fixed_in"):
        for index, text in enumerate(document.data.get(key, ())):
            try:
                parse_named(text)
            except ValueError as error:
                yield document.report((key, index), "BP204", str(error), "write it as in proc7/reco/mdst")


def _check_runs(document: Document) -> Iterator[Finding]:
    for index, one in enumerate(document.data.get("runs", ())):
        path: Path = ("runs", index, "ranges")
        for problem in parse_ranges(one["ranges"])[1] if "ranges" in one else ():
            place = document.point_into(path, problem.column)
            yield Finding(place, problem.code, problem.message, problem.hint)


def _read_runs(listed: Iterable[Any]) -> RunSet:
    """The runs of all items; an experiment without ranges is all its runs."""
    spans = []
    for one in listed:
        ranges = [(0, RUN_LIMIT)]
        if "ranges" in one:
            ranges = [(found.first, found.last) for found in parse_ranges(one["ranges"])[0]]
        key = one["experiment"]
        spans += [(run_key(key, first), run_key(key, last) + 1) for first, last in ranges]
    return RunSet(tuple((first, end - 1) for first, end in unite(spans)))
