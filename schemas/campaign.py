"""Campaigns as frozen values. They are made from documents that the schema has accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.document import Document
from schemas.runs import RunRange, parse_ranges

Scalar = str | int | float | bool
Parameter = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Selector:
    """Runs of one experiment. Closed: `ranges`. Open: from `first` on, up to `until`, at most `max_runs`.

    What else is set narrows it: a run of which the catalogue does not know the property is left out.
    """

    experiment: int
    ranges: tuple[RunRange, ...] = ()
    exclude: tuple[RunRange, ...] = ()
    types: tuple[str, ...] = ()
    energies: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    min_events: int | None = None
    min_minutes: int | None = None
    first: int | None = None
    until: str | None = None
    max_runs: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether runs that appear after the review are taken in."""
        return self.first is not None

    def describe(self) -> dict[str, Any]:
        """The selector as JSON data, in a normal form; what is not set is left out."""
        entries: dict[str, Any] = {
            "experiment": self.experiment,
            "ranges": ", ".join(map(str, self.ranges)),
            "exclude": ", ".join(map(str, self.exclude)),
            "types": sorted(self.types),
            "energies": sorted(self.energies),
            "quality": sorted(self.quality),
            "min_events": self.min_events,
            "min_minutes": self.min_minutes,
            "from": self.first,
            "until": self.until,
            "max_runs": self.max_runs,
        }
        return {key: value for key, value in entries.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class GlobalTag:
    """One global tag of a chain. `on_change` is what a running tag's changes mean: restate, forward or ignore."""

    name: str
    mode: str
    on_change: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """What a step reads: `level` of the run catalogue, or an output of `step`.

    `complete`: when a run's files are all there; `declared` as many as the run catalogue says that it has, where it
    says so, `registered` as many as are registered.
    """

    level: str
    step: str | None = None
    skim: str | None = None
    complete: str = "declared"

    @property
    def output(self) -> str:
        """The name of the upstream step's output that is read."""
        return self.skim or self.level


@dataclass(frozen=True, slots=True)
class Step:
    """One transformation. `outputs` are data levels (basf2) or names of skims (uproot)."""

    name: str
    application: str
    input: Input
    outputs: tuple[str, ...]
    split: str
    template: str | None = None
    parameters: tuple[tuple[str, Parameter], ...] = ()

    def level_of(self, output: str) -> str:
        """The data level of one of the step's outputs."""
        return "skim" if self.application == "uproot" else output


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings; `max_restate` is for one plan."""

    max_units: int
    max_restate: int = 0
    max_attempts: int = 3


@dataclass(frozen=True, slots=True)
class Campaign:
    """One reviewed manifest."""

    name: str
    title: str
    kind: str
    state: str
    selectors: tuple[Selector, ...]
    steps: tuple[Step, ...]
    site: str
    layout: str
    limits: Limits
    release: str | None = None
    global_tags: tuple[GlobalTag, ...] = ()
    supersedes: tuple[str, ...] = ()
    reuse: bool = True

    def step(self, name: str) -> Step | None:
        """The step called `name`, or None."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def is_live(self) -> bool:
        """Whether the campaign is planned at all."""
        return self.state != "stopped"


def read_campaign(name: str, document: Document) -> Campaign:
    """The campaign that `document`, accepted by the schema `campaign/1`, declares."""
    data: Mapping[str, Any] = document.data
    return Campaign(
        name=name,
        title=data["title"],
        kind=data["kind"],
        state=data.get("state", "active"),
        selectors=tuple(map(_read_selector, data["runs"])),
        steps=order_steps(tuple(_read_step(key, value) for key, value in data["steps"].items())),
        site=data["site"],
        layout=data["layout"],
        limits=Limits(**data["limits"]),
        release=data.get("release"),
        global_tags=tuple(
            GlobalTag(item["name"], item["mode"], item.get("on_change"))
            for item in data.get("global_tags", ())
        ),
        supersedes=tuple(data.get("supersedes", ())),
        reuse=data.get("reuse") != "never",
    )


def order_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with every one behind the step that it reads; those of a cycle, and behind one, come last as they are."""
    placed: dict[str, Step] = {}
    names = {step.name for step in steps}
    waiting = list(steps)
    while ready := [
        s for s in waiting if s.input.step is None or s.input.step in placed or s.input.step not in names
    ]:
        placed.update((step.name, step) for step in ready)
        waiting = [step for step in waiting if step.name not in placed]
    return (*placed.values(), *waiting)


def _read_selector(data: Mapping[str, Any]) -> Selector:
    return Selector(
        experiment=data["experiment"],
        ranges=parse_ranges(data.get("ranges", ""))[0],
        exclude=parse_ranges(data.get("exclude", ""))[0],
        types=tuple(data.get("types", ())),
        energies=tuple(data.get("energies", ())),
        quality=tuple(data.get("quality", ())),
        min_events=data.get("min_events"),
        min_minutes=data.get("min_minutes"),
        first=data.get("from"),
        until=data.get("until"),
        max_runs=data.get("max_runs"),
    )


def _read_step(name: str, data: Mapping[str, Any]) -> Step:
    application = data["application"]
    source = data["input"]
    outputs = data.get("skims" if application == "uproot" else "outputs", ())
    return Step(
        name=name,
        application=application,
        input=Input(
            source.get("level", "skim"),
            source.get("step"),
            source.get("skim"),
            source.get("complete", "declared"),
        ),
        outputs=tuple(outputs),
        split=data.get("split", "run" if application == "uproot" else "file"),
        template=data.get("template"),
        parameters=tuple(
            (key, tuple(value) if isinstance(value, list) else value)
            for key, value in sorted(data.get("parameters", {}).items())
        ),
    )
