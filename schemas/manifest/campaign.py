"""Campaigns as frozen values, made from documents that the schema has accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.json_schema.values import read_value
from schemas.manifest.canary import Canary, read_canary
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunRange, parse_ranges
from schemas.manifest.step import Step, order_steps, read_step, settle_levels
from schemas.manifest.template import Template
from schemas.manifest.variant import expand_steps, find_declared
from schemas.yaml.document import Document


@dataclass(frozen=True, slots=True)
class Selector:
    """Runs of one experiment. Closed: those in `ranges`. Open: from `first` on, up to `until`, at most `max_runs`.

    All other fields narrow the selection: a run is left out when the run catalogue does not know that property of it.
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
        """Whether it takes in runs that appear after the review."""
        return self.first is not None

    def describe(self) -> dict[str, Any]:
        """The selector as JSON data in a normal form, without the fields that are not set."""
        entries = {"from" if key == "first" else key: value for key, value in asdict(self).items()}
        entries |= {key: ", ".join(map(str, getattr(self, key))) for key in ("ranges", "exclude")}
        entries |= {key: sorted(entries[key]) for key in ("types", "energies", "quality")}
        return {key: value for key, value in entries.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class GlobalTag:
    """One global tag of a chain. `on_change` says what a change of a running tag causes: restate, forward or ignore.

    `role` (analysis or pid) says for which purpose skims of basf2's registry get the tag (`schemas.skims.global_tags`).
    """

    name: str
    mode: str
    on_change: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits; `max_restate` is for one plan."""

    max_units: int
    max_restate: int = 0
    max_attempts: int = 3
    max_in_flight: int | None = None

    def describe(self) -> dict[str, int | None]:
        """The limits by their names in manifests; None means no limit."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Restate:
    """Permission to make data again: the reason, and the largest number of units in one plan."""

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
    running_jobs: str = "finish"
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
        """The names of the global tags; the first has the highest priority."""
        return tuple(tag.name for tag in self.global_tags)

    @property
    def skim_tags(self) -> dict[str, str]:
        """Role → name of the global tags that have a role for skims."""
        return {tag.role: tag.name for tag in self.global_tags if tag.role is not None}

    def expand(self) -> tuple[Step, ...]:
        """The steps with their variants: one step for each skim that is read and each point of the scans."""
        return expand_steps(self.steps)

    def describe_output(self, step: Step, output: str) -> dict[str, str]:
        """The fields of a layout that are the same for all runs of an output."""
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
        """How many units one plan may make again: the lower of `limits.max_restate` and `restate.limit`."""
        allowed = self.limits.max_restate
        return allowed if self.restate is None else min(allowed, self.restate.limit)

    @property
    def scripts(self) -> tuple[str, ...]:
        """NAME/VERSION of each script that the campaign runs, sorted."""
        return tuple(sorted({step.script for step in self.steps if step.script is not None}))

    @property
    def reference(self) -> str | None:
        """The campaign, dataset or edition with which its canary is compared, or None."""
        named = None if self.canary is None else self.canary.against
        return named or self.compare_with or next(iter(self.supersedes), None)

    @property
    def upstream(self) -> frozenset[str]:
        """The names of the campaigns whose datasets its steps follow; an edition is not followed."""
        read = (parse_dataset(step.input.dataset) for step in self.steps if step.input.dataset is not None)
        return frozenset(name.campaign for name in read if not name.is_held and name.edition is None)

    @property
    def editions(self) -> tuple[str, ...]:
        """The names of the editions that its steps read, sorted."""
        read = {step.input.dataset for step in self.steps if step.input.dataset is not None}
        return tuple(sorted(name for name in read if parse_dataset(name).edition is not None))

    def makes(self, name: DatasetName) -> bool:
        """Whether a dataset is an output of one of its steps."""
        step = self.step(find_declared(name.step))
        return step is not None and name.output in step.outputs

    @property
    def is_live(self) -> bool:
        """Whether the campaign is planned."""
        return self.state != "stopped"

    @property
    def ends_jobs(self) -> bool:
        """Whether the campaign is stopped and its jobs are to be cancelled."""
        return not self.is_live and self.running_jobs == "cancel"


def read_campaign(name: str, document: Document, templates: Mapping[str, Template] | None = None) -> Campaign:
    """The campaign in `document`, which the schema `campaign/1` has accepted; `templates` are those that it may name."""
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
        canary=None if canary is None else read_canary(canary),
    )


def _read_selector(data: Mapping[str, Any]) -> Selector:
    ranges = {key: parse_ranges(data.get(key, ""))[0] for key in ("ranges", "exclude")}
    return read_value(Selector, data, **ranges, first=data.get("from"))
