"""What differs between two campaigns, and what of each is compared: values alone; `comparison` compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from renderer.identity.units import Chains, StepUnits
from schemas.manifest.campaign import Campaign
from schemas.repository import Declared, Repository
from schemas.rules.support.intervals import Ranges, unite


@dataclass(frozen=True, slots=True)
class ComparedCampaign:
    """One of two campaigns, with the repository that its manifest refers to. `runs` are ranges of run keys, both ends included.

    `chains` are None where a tag has no snapshot, `units` where runs are not known.
    """

    repository: Repository
    declared: Declared
    runs: Ranges
    chains: Chains | None
    units: tuple[StepUnits, ...] | None

    @property
    def campaign(self) -> Campaign:
        """What the manifest declares."""
        return self.declared.campaign

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest as JSON data."""
        manifest: Mapping[str, Any] = self.declared.document.data
        return manifest


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that differs, with its value before and after; None where the manifest does not state it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class PayloadChange:
    """A payload that differs for some runs of both campaigns: its revision and checksum before and after, and those runs.

    None: the runs have no such payload.
    """

    payload: str
    before: tuple[str, str] | None
    after: tuple[str, str] | None
    runs: Ranges


@dataclass(frozen=True, slots=True)
class StepChange:
    """What differs in how a step is made. `before` and `after` are its names; None where that campaign has no such step.

    `script` is a unified diff of the steering.
    """

    before: str | None
    after: str | None
    fields: tuple[Field, ...] = ()
    parameters: tuple[Field, ...] = ()
    script: tuple[str, ...] = ()

    @property
    def is_renaming(self) -> bool:
        """Whether the step has another name, and nothing else differs."""
        alone = self.before is None or self.after is None
        return not (alone or self.fields or self.parameters or self.script)


@dataclass(frozen=True, slots=True)
class OutputChange:
    """Data levels or skims of a step that only one of the campaigns makes."""

    before: str | None
    after: str | None
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """How many units both campaigns have, and how many of these have equal fingerprints, so that the later can reuse them.

    `hindrance` is the reason why the later campaign does not reuse them all the same; None where it does.
    """

    units: int
    equal: int
    hindrance: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences between two campaigns, by group; an empty group means no difference. Ranges are of run keys.

    `payloads` is None where payloads could not be compared, `shared` where units could not. `selection` is what narrows
    the selection of runs, or leaves it open.
    """

    before: str
    after: str
    release: tuple[Field, ...]
    tags: tuple[Field, ...]
    payloads: tuple[PayloadChange, ...] | None
    steering: tuple[StepChange, ...]
    selection: tuple[Field, ...]
    only_before: Ranges
    only_after: Ranges
    both: Ranges
    outputs: tuple[OutputChange, ...]
    site: tuple[Field, ...]
    limits: tuple[Field, ...]
    names: tuple[Field, ...]
    shared: Shared | None

    @property
    def changes_data(self) -> bool:
        """Whether anything differs that decides which data are made, and of what; names of tags and steps do not."""
        tags = self.tags if self.payloads is None else self.payloads
        steering = any(not change.is_renaming for change in self.steering)
        runs = self.selection or self.only_before or self.only_after
        return bool(self.release or tags or steering or runs or self.outputs)

    @property
    def is_nominal(self) -> bool:
        """Whether nothing differs but titles, descriptions, tickets and contacts."""
        return not (self.changes_data or self.tags or self.steering or self.site or self.limits)

    def touched(self) -> Ranges:
        """The runs in both of which any payload differs."""
        return unite(item for change in self.payloads or () for item in change.runs)
