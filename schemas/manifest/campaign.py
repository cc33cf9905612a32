"""Campaigns as frozen values. They are made from documents that the schema has accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.json_schema.values import read_value
from schemas.manifest.runs import RunRange, parse_ranges
from schemas.manifest.step import Step, order_steps, read_step, settle_levels
from schemas.manifest.template import Template
from schemas.manifest.variant import expand_steps
from schemas.yaml.document import Document


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
        entries = asdict(self)
        entries["from"] = entries.pop("first")
        entries |= {key: ", ".join(map(str, getattr(self, key))) for key in ("ranges", "exclude")}
        entries |= {key: sorted(entries[key]) for key in ("types", "energies", "quality")}
        return {key: value for key, value in entries.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class GlobalTag:
    """One global tag of a chain. `on_change` is what a running tag's changes mean: restate, forward or ignore.

    `role` is as which skims of basf2's registry are handed the tag: analysis or pid (`schemas.skims.global_tags`).
    """

    name: str
    mode: str
    on_change: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings; `max_restate` is for one plan."""

    max_units: int
    max_restate: int = 0
    max_attempts: int = 3
    max_in_flight: int | None = None

    def describe(self) -> dict[str, int | None]:
        """Each limit by its name in manifests; None: there is none."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Canary:
    """How many runs, the first ones, are made before all others; with `hold`, these then wait for a person."""

    runs: int
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Restate:
    """That data may be made again, why, and for how many units of one plan."""

    reason: str
    limit: int


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
    compare_with: str | None = None
    restate: Restate | None = None
    canary: Canary | None = None

    def step(self, name: str) -> Step | None:
        """The step called `name`, or None."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The names of its global tags, the first of which wins."""
        return tuple(tag.name for tag in self.global_tags)

    @property
    def skim_tags(self) -> dict[str, str]:
        """Role → name of the global tags that skims are handed."""
        return {tag.role: tag.name for tag in self.global_tags if tag.role is not None}

    def expand(self) -> tuple[Step, ...]:
        """The steps as units are made of them: each once for every variant, by the skims that it reads and its scans."""
        return expand_steps(self.steps)

    def describe_output(self, step: Step, output: str) -> dict[str, str]:
        """The fields of a layout that hold for an output of every run."""
        return {
            "campaign": self.name,
            "step": step.path,
            "release": self.release or "none",
            "tag": self.global_tags[0].name if self.global_tags else "none",
            "level": step.level_of(output),
            "stream": f"skim/{output}" if step.skims else "all",
        }

    @property
    def max_restate(self) -> int:
        """How many units one plan may produce again, by the limits and by what the last change of the data allowed."""
        allowed = self.limits.max_restate
        return allowed if self.restate is None else min(allowed, self.restate.limit)

    @property
    def scripts(self) -> tuple[str, ...]:
        """Name and version of each script that it runs, sorted."""
        return tuple(sorted({step.script for step in self.steps if step.script is not None}))

    @property
    def is_live(self) -> bool:
        """Whether the campaign is planned at all."""
        return self.state != "stopped"


def read_campaign(name: str, document: Document, templates: Mapping[str, Template] | None = None) -> Campaign:
    """The campaign that `document`, accepted by the schema `campaign/1`, declares; `templates` are those it may name."""
    data: Mapping[str, Any] = document.data
    steps = tuple(read_step(key, value, templates or {}) for key, value in data["steps"].items())
    canary = data.get("canary")
    return read_value(
        Campaign,
        data,
        name=name,
        state=data.get("state", "active"),
        selectors=tuple(map(_read_selector, data["runs"])),
        steps=settle_levels(order_steps(steps)),
        reuse=data.get("reuse") != "never",
        canary=None if canary is None else Canary(canary["runs"], canary.get("then") == "hold"),
    )


def _read_selector(data: Mapping[str, Any]) -> Selector:
    ranges = {key: parse_ranges(data.get(key, ""))[0] for key in ("ranges", "exclude")}
    return read_value(Selector, data, **ranges, first=data.get("from"))
