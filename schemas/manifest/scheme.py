"""Schemes: in which order campaigns go, and what must hold before each stage goes. They enter no fingerprint and no lock."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from graphlib import TopologicalSorter
from typing import Any

from schemas.files.times import is_day
from schemas.findings.finding import Finding
from schemas.json_schema.values import read_value
from schemas.manifest.runs import RunRange, RunSet, parse_ranges, run_key
from schemas.manifest.variant import find_declared
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show

MAKE, HAND_OVER, COMPARE, PUBLISH = "make", "hand_over", "compare", "publish"
ANNOUNCE, RETIRE = "announce", "retire"
BY_PEOPLE = (ANNOUNCE, RETIRE)
"""What a stage does that people may do elsewhere: then they sign that it is done."""
DOINGS = (MAKE, HAND_OVER, COMPARE, PUBLISH, *BY_PEOPLE)
"""What a stage can do; each has exactly one of these keys."""

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.+-]{0,39})/", re.ASCII)

_BELONG = {
    "complete": MAKE,
    "against": COMPARE,
    "by": COMPARE,
    "iterations": HAND_OVER,
    "payloads": HAND_OVER,
    "caf": HAND_OVER,
    "returns": HAND_OVER,
}
"""The keys that only stages of one kind have."""
_NEEDED = ((COMPARE, "against"), (COMPARE, "by"), (HAND_OVER, "payloads"), (HAND_OVER, "returns"))


@dataclass(frozen=True, slots=True)
class Calibration:
    """A script that the calibration team runs.

    `inputs` maps the script's names of its inputs to skims or outputs of what is handed over. `requested_iov` is first
    experiment, first run, last experiment, last run, both ends included, -1 without an end; None is that of the runs.
    """

    script: str
    inputs: Mapping[str, str]
    backend_args: Mapping[str, Any] | None = None
    expert_config: Mapping[str, Any] | None = None
    requested_iov: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunBucket:
    """A bucket: runs of an experiment that pass the gates together. `due` replaces the days of the stages."""

    name: str
    experiment: int
    ranges: tuple[RunRange, ...]
    due: date | None = None

    @property
    def runs(self) -> RunSet:
        """Its runs."""
        keys = (
            (run_key(self.experiment, one.first), run_key(self.experiment, one.last)) for one in self.ranges
        )
        return RunSet(tuple(sorted(keys)))


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. `does` is one of `DOINGS`; `names` are the steps that it makes, else the datasets that it is about.

    `after`, `sign` and `payloads` are names of stages, roles and payloads. `complete` is a share of runs, 0 excluded and 1
    included. `due` is the last day that is not late, UTC.
    """

    name: str
    does: str
    names: tuple[str, ...]
    after: tuple[str, ...] = ()
    complete: float = 1
    due: date | None = None
    sign: tuple[str, ...] = ()
    against: str | None = None
    by: str | None = None
    iterations: int = 1
    payloads: tuple[str, ...] = ()
    caf: tuple[Calibration, ...] = ()
    returns: str | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that it reads, its reference included; none for a stage that makes them."""
        if self.does == MAKE:
            return ()
        return (*self.names, *(() if self.against is None else (self.against,)))


@dataclass(frozen=True, slots=True)
class Scheme:
    """The stages in the order of the file. Without `buckets` all runs pass the gates together."""

    name: str
    title: str
    stages: tuple[Stage, ...]
    document: Document
    buckets: tuple[RunBucket, ...] = ()

    def stage(self, name: str) -> Stage | None:
        """The stage called `name`, or None."""
        return next((one for one in self.stages if one.name == name), None)

    def order_stages(self) -> tuple[Stage, ...]:
        """The stages, each after all of its `after`; otherwise in the order of the file.

        Raises:
            graphlib.CycleError: stages come after each other; a rule finds it before.
        """
        named = {one.name: one for one in self.stages}
        graph = {one.name: [name for name in one.after if name in named] for one in self.stages}
        return tuple(named[name] for name in TopologicalSorter(graph).static_order())

    def list_before(self, stage: Stage) -> frozenset[str]:
        """The names of all stages that come before, directly or through others; the stage itself only in a circle."""
        after = {one.name: one.after for one in self.stages}
        pending, before = list(stage.after), set[str]()
        while pending:
            name = pending.pop()
            if name not in before:
                before.add(name)
                pending.extend(after.get(name, ()))
        return frozenset(before)

    def list_before_campaign(self, campaign: str) -> frozenset[str]:
        """The names of all stages that come before one that makes a step of a campaign."""
        makers = (one for one in self.stages if one.does == MAKE)
        mine = (one for one in makers if any(name.startswith(f"{campaign}/") for name in one.names))
        return frozenset[str]().union(*map(self.list_before, mine))

    @property
    def campaigns(self) -> frozenset[str]:
        """The campaigns whose units it holds back: those of which a stage makes steps."""
        made = (name for one in self.stages if one.does == MAKE for name in one.names)
        return frozenset(name.partition("/")[0] for name in made)

    def find_maker(self, campaign: str, step: str) -> Stage | None:
        """The stage that makes a step, or the step of which it is a variant; None if no stage does."""
        wanted = f"{campaign}/{find_declared(step)}"
        return next((one for one in self.stages if one.does == MAKE and wanted in one.names), None)


def find_named(content: bytes) -> frozenset[str]:
    """The words that stand before a `/` in a file, as campaigns do in a scheme; for a file that cannot be read as one."""
    return frozenset(_NAMED.findall(content.decode("utf-8", "replace")))


def count_iteration(name: str, superseded: Mapping[str, Collection[str]], kinds: Mapping[str, str]) -> int:
    """Which iteration of a calibration a campaign is: 1, and one more for each campaign of its kind that it supersedes.

    `superseded` are all campaigns that each one supersedes, also through others (`Repository.follow_superseding`); `kinds` are
    the kinds of the campaigns.
    """
    return 1 + sum(kinds.get(other) == kinds.get(name) for other in superseded.get(name, ()))


def read_scheme(name: str, document: Document) -> tuple[Scheme | None, tuple[Finding, ...]]:
    """The scheme in a document that the schema `scheme/1` has accepted, and the findings on it.

    With findings it is None; but with wrong days alone it is there without them, so that rules find what else is wrong with it.
    """
    findings = tuple(_check_stages(document)) + tuple(_check_buckets(document))
    days = tuple(_check_days(document))
    if findings:
        return None, (*findings, *days)
    buckets = tuple(
        read_value(RunBucket, _drop_wrong_day(data), name=key, ranges=parse_ranges(data["ranges"])[0])
        for key, data in document.data.get("buckets", {}).items()
    )
    stages = tuple(_read_stage(key, _drop_wrong_day(data)) for key, data in document.data["stages"].items())
    return Scheme(name, document.data["title"], stages, document, buckets), days


def _drop_wrong_day(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if "due" not in data or is_day(data["due"]):
        return data
    return {key: value for key, value in data.items() if key != "due"}


def _read_stage(name: str, data: Mapping[str, Any]) -> Stage:
    does = next(one for one in DOINGS if one in data)
    names = (data[does],) if does == COMPARE else tuple(data[does])
    return read_value(Stage, data, name=name, does=does, names=names)


def _check_stages(document: Document) -> Iterator[Finding]:
    """Findings on stages that do nothing or several things, and on keys of other kinds of stages."""
    for name, data in document.data["stages"].items():
        path: Path = ("stages", name)
        does = [one for one in DOINGS if one in data]
        if not does:
            hint = f"add one of {', '.join(DOINGS)}"
            yield document.report_key(path, "BP207", f"the stage {name} does nothing", hint)
        for other in does[1:]:
            message = f"a stage does one thing, and {name} has both {show(does[0])} and {show(other)}"
            hint = "make two stages of it, one `after` the other"
            yield document.report_clash((*path, does[0]), (*path, other), message, hint)
        for key, owner in _BELONG.items():
            if key in data and len(does) == 1 and does[0] != owner:
                message = f"{show(key)} belongs to a stage with {show(owner)}"
                yield document.report_clash((*path, does[0]), (*path, key), message, "remove it")
        for owner, key in _NEEDED:
            if owner in data and key not in data:
                message = f"{name} has {show(owner)}, and no {show(key)}"
                yield document.report_key(path, "BP207", message, f"add {show(key)}")


def _check_days(document: Document) -> Iterator[Finding]:
    for key in ("stages", "buckets"):
        for name, data in document.data.get(key, {}).items():
            if "due" in data and not is_day(data["due"]):
                message = f"{show(data['due'])} is not a day of the calendar"
                hint = 'write year, month and day, as in "2019-04-30"'
                yield document.report((key, name, "due"), "BP407", message, hint)


def _check_buckets(document: Document) -> Iterator[Finding]:
    """Findings on ranges that cannot be read, and on runs of two buckets."""
    seen: list[tuple[str, int, tuple[RunRange, ...]]] = []
    for name, data in document.data.get("buckets", {}).items():
        path: Path = ("buckets", name)
        ranges, problems = parse_ranges(data["ranges"])
        for problem in problems:
            place = document.point_into((*path, "ranges"), problem.column)
            yield Finding(place, problem.code, problem.message, problem.hint)
        for other, experiment, before in seen if not problems else ():
            common = next(
                (
                    max(one.first, two.first)
                    for one in ranges
                    for two in before
                    if experiment == data["experiment"] and one.first <= two.last and two.first <= one.last
                ),
                None,
            )
            if common is not None:
                message = f"run {experiment}:{common} is in the bucket {other} too"
                yield document.report((*path, "ranges"), "BP404", message, "put every run into one bucket")
        seen.append((name, data["experiment"], ranges))
